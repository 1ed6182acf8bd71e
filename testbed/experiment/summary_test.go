package experiment

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/testbed"
	"pgregory.net/rapid"
)

func TestSummary(t *testing.T) {
	r := synthResult(3, 3)
	data, err := encodeSummary(Summarize(r))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "summary.json", data)
	if bytes.Contains(data, []byte("null")) {
		t.Error("something is null")
	}
	back, err := decodeSummary(data)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, Summarize(r)) {
		t.Error("it is not the same read back")
	}
}

// Empty recordings make no figure that is none, and no list or map null.
func TestSummaryOfLittle(t *testing.T) {
	for _, r := range []*Result{
		synthResult(0, 0),
		{Scenario: &testbed.Scenario{}},
		{Scenario: synthScenario(), Recordings: []testbed.Recording{{Method: testbed.Emulated, Run: 1}, {Method: testbed.Simulated, Run: 1, Links: make([]testbed.LinkCheck, 1)}}},
		{Scenario: synthScenario(), Recordings: []testbed.Recording{{Method: testbed.Simulated, Run: 1, Totals: testbed.Totals{Throughput: math.NaN()}}}},
	} {
		data, err := encodeSummary(Summarize(r))
		if err != nil || bytes.Contains(data, []byte("null")) {
			t.Errorf("%s, %v", data, err)
		}
	}
}

func TestMetrics(t *testing.T) {
	m := Summarize(synthResult(3, 0)).Methods[testbed.Emulated].Metrics
	for name, want := range map[string]float64{ // what the synthesis was told, and by how much it may err
		"captured_frames": 3000, "cpu_cores.tier.edge": 0.44, "event.1.before_fps": 25, "event.1.recovered_fraction": 1,
		"event.1.recovered_after_s": 3.6, "event.3.recovered_fraction": 0, "latency_ms.p50": 87,
	} {
		if got := m[name].Mean; math.Abs(got-want) > 0.12*want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if _, ok := m["event.3.recovered_after_s"]; ok {
		t.Error("a run that did not recover did so after a time")
	}
	if e := m["latency_ms.p95"]; len(e.Values) != 3 || e.SD == nil || e.CI95 == nil {
		t.Errorf("p95 over three runs: %+v", e)
	}
}

// Against a table of Student's t, two-sided, 95 %.
func TestEstimate(t *testing.T) {
	for n, want := range map[int]float64{2: 12.706, 3: 4.303, 5: 2.776, 10: 2.262, 30: 2.045} {
		var values []Value
		for i := range n {
			values = append(values, Value{i + 1, float64(i % 2)})
		}
		e := estimate(values)
		if got := *e.CI95 / *e.SD * math.Sqrt(float64(n)); math.Abs(got-want) > 0.001 {
			t.Errorf("t for %d runs is %v, want %v", n, got, want)
		}
	}
	e := estimate([]Value{{1, 2}, {2, 4}, {3, 6}})
	if e.Mean != 4 || *e.SD != 2 {
		t.Errorf("of 2, 4, 6: mean %v, SD %v", e.Mean, *e.SD)
	}
	if e := estimate([]Value{{1, 7}}); e.Mean != 7 || e.SD != nil || e.CI95 != nil {
		t.Errorf("a single run: %+v", e)
	}
}

func TestUnits(t *testing.T) {
	for name, want := range map[string]string{
		"latency_ms.p95": "ms", "throughput_fps": "frames/s", "delivered_fraction": "", "dropped_frames.no_route": "frames", "captured_frames": "frames",
		"cpu_cores.node.edge_ms": "cores", "stage.count_s.queue_ms.p50": "ms", "stage.a_ms.processed_frames": "frames", "event.1.gap_s": "s",
		"event.2.recovered_fraction": "", "event.2.before_fps": "frames/s",
	} {
		if got := unitOf(name); got != want {
			t.Errorf("unit of %s is %q, want %q", name, got, want)
		}
	}
}

func TestNaturalOrder(t *testing.T) {
	got := []string{"event.10.gap_s", "stage.b", "event.2.gap_s", "cpu_cores.tier.cloud", "cpu_cores.tier.edge", "latency_ms.p50", "captured_frames", "event.02.gap_s"}
	slices.SortFunc(got, byImportance)
	want := []string{"captured_frames", "latency_ms.p50", "cpu_cores.tier.edge", "cpu_cores.tier.cloud", "stage.b", "event.2.gap_s", "event.02.gap_s", "event.10.gap_s"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a.]{0,2}[0-9]{0,3}[a.]{0,2}[0-9]{0,3}`)
		a, b, c := text.Draw(t, "a"), text.Draw(t, "b"), text.Draw(t, "c")
		if natural(a, b) != -natural(b, a) || (natural(a, b) == 0) != (a == b) {
			t.Fatalf("%q and %q: %d, %d", a, b, natural(a, b), natural(b, a))
		}
		if natural(a, b) < 0 && natural(b, c) < 0 && natural(a, c) >= 0 {
			t.Fatalf("%q < %q < %q, but not the first and the last", a, b, c)
		}
	})
}

func TestReadMistakes(t *testing.T) {
	dir := t.TempDir()
	_, err := Read(dir)
	if want := dir + ": no summary of a result: it has no summary.json; name a folder that weft wrote with --out"; !errors.Is(err, ErrSummary) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	path := filepath.Join(dir, "summary.json")
	for text, want := range map[string]string{
		`{"format": 2}`: path + ": no summary of a result: its format is 2; this weft reads format 1",
		`{"format": 1`:  path + ": no summary of a result: unexpected end of JSON input",
	} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(dir); !errors.Is(err, ErrSummary) || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	data, err := encodeSummary(Summarize(synthResult(2, 1)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"format":1,"methods":{"emulated":null,"x":{}}}`))
	f.Add([]byte(`{"format":1,"methods":{"emulated":{"metrics":{"a":{"mean":1e308,"ci95":-1}},"events":[{"runs":[{}]}]}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decodeSummary(data)
		if err != nil {
			return
		}
		out, err := json.Marshal(Compare(s, s, 0.1))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(out), ":null") {
			t.Fatalf("null in %s", out)
		}
		again, err := encodeSummary(s)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decodeSummary(again); err != nil || !reflect.DeepEqual(back, s) {
			t.Fatalf("not the same again: %v", err)
		}
	})
}
