package experiment

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
)

// The same result is the same folder, byte for byte; see
// TestPlotsAreTheSameEveryTime for its plots.
func TestWriteIsDeterministic(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	for _, dir := range []string{a, b} {
		if err := noPlots(dir, synthResult(2, 1)); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	err := filepath.WalkDir(a, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(a, path)
		names = append(names, name)
		if !bytes.Equal(read(t, path), read(t, b, name)) {
			t.Errorf("%s is not the same twice", name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"scenario.yaml", "costs.yaml", "costs.json", "summary.json", "report.md", "emulated-2/series.csv", "simulated-1/nodes.csv"} {
		if !slices.Contains(names, filepath.FromSlash(want)) {
			t.Errorf("there is no %s among %v", want, names)
		}
	}
	if got := string(read(t, a, "scenario.yaml")); got != synthText {
		t.Errorf("scenario.yaml is %q", got)
	}
}

// A short run without latencies, as Write writes it: one plot.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	r := synthResult(0, 0)
	r.Recordings = []testbed.Recording{{Method: testbed.Simulated, Run: 1, Samples: flow(0, times(3, 5, 0)...)}}
	if err := Write(dir, r); err != nil {
		t.Fatal(err)
	}
	s, err := Read(dir)
	if err != nil || s.Scenario != "small" || len(s.Methods) != 1 {
		t.Errorf("read back: %+v, %v", s, err)
	}
	for _, name := range []string{"throughput.png", "throughput.svg"} {
		if len(read(t, dir, plotsFolder, name)) == 0 {
			t.Errorf("%s is empty", name)
		}
	}
}

func TestReport(t *testing.T) {
	for name, r := range map[string]*Result{"report.md": synthResult(3, 3), "report-one.md": synthResult(1, 0)} {
		if name == "report-one.md" {
			// What can go wrong does.
			rec := &r.Recordings[0]
			rec.Links[1].Verdicts[0].OK = false
			rec.Totals.Frames.Captured++
			rec.Totals.Duration -= 5 * time.Second
			rec.Marks = append(rec.Marks, testbed.Mark{At: 81 * time.Second, Kind: testbed.Decision, Type: "a|b", Message: "<script> *not* `code`\nnext | line"})
			for i := range rec.Marks {
				if rec.Marks[i].Type == "kill" {
					rec.Marks[i].Error = "no such process"
				}
			}
			r.Scenario.Timeline = append(r.Scenario.Timeline, testbed.Event{At: 130 * time.Second, Action: testbed.Stop, Node: "edge-1"})
		}
		golden(t, name, report(r, Summarize(r), plots(r)))
	}
	empty := synthResult(0, 0)
	if got := string(report(empty, Summarize(empty), nil)); !strings.Contains(got, "Nothing was recorded") {
		t.Errorf("report of nothing: %s", got)
	}
}

// What a report links to is there.
func TestReportLinks(t *testing.T) {
	dir := t.TempDir()
	r := synthResult(1, 1)
	rec, err := Create(dir, r.ScenarioText)
	if err != nil {
		t.Fatal(err)
	}
	if err := rec.finish(r, plots(r)[:1]); err != nil { // more would take the race detector seconds
		t.Fatal(err)
	}
	links := regexp.MustCompile(`\]\(([^)]+)\)`).FindAllSubmatch(read(t, dir, reportFile), -1)
	if len(links) < 5 {
		t.Fatalf("only %d links", len(links))
	}
	for _, l := range links {
		if _, err := os.Stat(filepath.Join(dir, string(l[1]))); err != nil {
			t.Error(err)
		}
	}
}

func TestTables(t *testing.T) {
	dir := t.TempDir()
	rec, err := Create(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	run, err := rec.Begin(testbed.Emulated, 1)
	if err != nil {
		t.Fatal(err)
	}
	node := func(cpu time.Duration) []testbed.NodeSample {
		return []testbed.NodeSample{{Node: "n", Up: true, CPU: cpu, Memory: 7}}
	}
	err = errors.Join(
		run.Sample(testbed.Sample{At: -500 * time.Millisecond, Sources: 2, Nodes: node(time.Second), Frames: pipeline.Counts{Captured: 3, InFlight: 3}}),
		run.Sample(testbed.Sample{
			At: 1500 * time.Millisecond, Sources: 2, Nodes: node(1500 * time.Millisecond),
			Frames:  pipeline.Counts{Captured: 14, Delivered: 5, Filtered: 4, InFlight: 1, Dropped: map[pipeline.Reason]uint64{"link": 2, "new": 1, "newer": 1}},
			Latency: testbed.Latency{Frames: 5, Mean: 1500 * time.Microsecond, P50: time.Millisecond, P95: 2 * time.Millisecond, P99: 2345678 * time.Nanosecond},
			Stages:  []testbed.StageSample{{Task: "a,b", Received: 9, Processed: 8, Dropped: map[pipeline.Reason]uint64{"stage": 1}}},
		}),
		run.Mark(testbed.Mark{At: time.Second, Kind: testbed.Timeline, Type: "kill", Subject: "n", Message: `said "no"`, Error: "two\nlines"}),
		run.Links([]testbed.LinkCheck{
			{From: "a", To: "b", Asked: testbed.Link{Delay: time.Millisecond, Rate: 5, Loss: 0.01, Queue: 9}, RoundTrip: 2 * time.Millisecond, Verdicts: []testbed.Verdict{
				{What: "round trip", OK: true, Asked: "2ms", Found: "2ms"}, {What: "loss", Asked: "1 %", Found: "3 %"}}},
			{From: "b", To: "c"},
		}),
	)
	if err != nil {
		t.Fatal(err)
	}
	// Rows are there before the tables are closed.
	for name, want := range map[string]string{
		"series.csv": "t_s,sources,captured,delivered,filtered,in_flight,dropped_queue_full,dropped_deadline,dropped_link,dropped_no_route,dropped_stage,dropped_oversized,dropped_malformed,dropped_shutdown,dropped_lost,dropped_other,throughput_fps,latency_frames,latency_mean_ms,latency_p50_ms,latency_p95_ms,latency_p99_ms\n" +
			"-0.5,2,3,0,0,3,0,0,0,0,0,0,0,0,0,0,,0,,,,\n" +
			"1.5,2,14,5,4,1,0,0,2,0,0,0,0,0,0,2,2.5,5,1.5,1,2,2.346\n",
		"stages.csv": "t_s,task,received,processed,dropped_queue_full,dropped_deadline,dropped_link,dropped_no_route,dropped_stage,dropped_oversized,dropped_malformed,dropped_shutdown,dropped_lost,dropped_other\n" +
			"1.5,\"a,b\",9,8,0,0,0,0,1,0,0,0,0,0\n",
		"nodes.csv":  "t_s,node,up,cpu_cores,memory_bytes\n-0.5,n,true,,7\n1.5,n,true,0.25,7\n",
		"events.csv": "t_s,kind,type,subject,message,error\n1,timeline,kill,n,\"said \"\"no\"\"\",\"two\nlines\"\n",
		"links.csv": "from,to,asked_delay_ms,asked_jitter_ms,asked_rate_bps,asked_loss,asked_queue,round_trip_ms,throughput_bps,sent,lost,check,ok,asked,found\n" +
			"a,b,1,0,5,0.01,9,2,0,0,0,round trip,true,2ms,2ms\na,b,1,0,5,0.01,9,2,0,0,0,loss,false,1 %,3 %\nb,c,0,0,0,0,0,0,0,0,0,,,,\n",
	} {
		if got := string(read(t, dir, "emulated-1", name)); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	if err := run.Mark(testbed.Mark{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a mark after the end: %v", err)
	}
	if err := run.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

// Samples and marks may come from several goroutines at once.
func TestRunIsSafeForConcurrentUse(t *testing.T) {
	dir := t.TempDir()
	rec, err := Create(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	run, err := rec.Begin(testbed.Simulated, 1)
	if err != nil {
		t.Fatal(err)
	}
	const each = 200
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range each {
				if err := run.Mark(testbed.Mark{At: time.Duration(i), Type: strings.Repeat("x", g+1)}); err != nil {
					t.Error(err)
				}
				if err := run.Sample(testbed.Sample{At: time.Duration(i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"events.csv", "series.csv"} {
		rows, err := csv.NewReader(bytes.NewReader(read(t, dir, "simulated-1", name))).ReadAll()
		if err != nil || len(rows) != 4*each+1 {
			t.Errorf("%s has %d rows, %v", name, len(rows), err)
		}
	}
}

// What was recorded while it ran is not written anew, what was not is.
func TestFinishAfterRecording(t *testing.T) {
	dir := t.TempDir()
	r := synthResult(1, 1)
	rec, err := Create(dir, r.ScenarioText)
	if err != nil {
		t.Fatal(err)
	}
	run, err := rec.Begin(testbed.Emulated, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.Recordings[0].Samples[:7] {
		if err := run.Sample(s); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Read(dir); !errors.Is(err, ErrSummary) || !strings.Contains(err.Error(), "the run did not end") {
		t.Errorf("reading while it runs: %v", err)
	}
	if err := rec.finish(r, nil); err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(read(t, dir, "emulated-1", "series.csv"), []byte("\n")); n != 8 {
		t.Errorf("the recorded table has %d lines", n)
	}
	if n := bytes.Count(read(t, dir, "simulated-1", "series.csv"), []byte("\n")); n != 132 {
		t.Errorf("the other table has %d lines", n)
	}
	if _, err := Read(dir); err != nil {
		t.Error(err)
	}
}

func TestBeginMistakes(t *testing.T) {
	rec, err := Create(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rec.Begin(testbed.Emulated, 1); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method testbed.Method
		run    int
		want   string
	}{
		{testbed.Emulated, 1, "can't begin the run emulated-1: it has begun already"},
		{testbed.Emulated, 0, `can't begin the run "emulated" 0: want emulated or simulated, and a number from 1`},
		{"../up", 1, `can't begin the run "../up" 1: want emulated or simulated, and a number from 1`},
	} {
		if _, err := rec.Begin(c.method, c.run); !errors.Is(err, ErrRun) || err.Error() != c.want {
			t.Errorf("%s %d: %v, want %s", c.method, c.run, err, c.want)
		}
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCreateRefusesWhatIsNotItsOwn(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	full := filepath.Join(dir, "full")
	for path, data := range map[string]string{file: "x", filepath.Join(full, "notes.txt"): "mine", filepath.Join(full, "summary.json"): "mine"} {
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		file: file + ": not a result folder but a file; name another folder",
		full: full + ": not a result folder: it holds notes.txt and 1 more; name another folder, or empty this one",
	} {
		if _, err := Create(path, nil); !errors.Is(err, ErrForeign) || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if got := string(read(t, full, "summary.json")); got != "mine" {
		t.Errorf("it was touched: %q", got)
	}
	if _, err := Create("", nil); err == nil {
		t.Error("no folder was accepted")
	}
}

// A second run into a folder replaces the first's results, and nothing else.
func TestCreateReplacesResults(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	if err := noPlots(dir, synthResult(2, 1)); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{"notes.txt": "mine", "report.md.new": "half"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Create(dir, []byte("other")); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{".weft-result", "notes.txt", "scenario.yaml"}; !slices.Equal(names, want) {
		t.Errorf("left: %v, want %v", names, want)
	}
}

func TestDescribeMachine(t *testing.T) {
	m := DescribeMachine(t.Context())
	if m.Cores < 1 || m.Memory == 0 || m.OS == "" || m.Go == "" || m.Arch == "" {
		t.Errorf("%+v", m)
	}
	data, err := json.Marshal(m)
	if err != nil || bytes.Contains(data, []byte("null")) {
		t.Errorf("%s, %v", data, err)
	}
}
