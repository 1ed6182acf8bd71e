package experiment

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
	"gonum.org/v1/plot/vg"
	"pgregory.net/rapid"
)

// bigResult is twenty minutes on fourteen nodes, with an event each minute.
func bigResult() *Result {
	r := synthResult(0, 0)
	s := r.Scenario
	s.Nodes = nil
	for i := range 11 {
		s.Nodes = append(s.Nodes, testbed.Node{Name: fmt.Sprintf("edge-%d", i+1), Tier: tiering.Edge, Cores: 1000, Memory: 1 << 30})
	}
	s.Nodes = append(s.Nodes,
		testbed.Node{Name: "fog-1", Tier: tiering.Fog, Cores: 2000}, testbed.Node{Name: "fog-2", Tier: tiering.Fog, Cores: 2000},
		testbed.Node{Name: "cloud-1", Tier: tiering.Cloud, Cores: 8000, Coordinator: true})
	s.Measure.Duration = 20 * time.Minute
	for i := range 15 {
		at := 150*time.Second + time.Duration(i)*time.Minute
		s.Timeline = append(s.Timeline, testbed.Event{At: at, Action: testbed.Sources, Count: 5 - i})
	}
	r.Recordings = []testbed.Recording{synthesize(s, testbed.Emulated, 1), synthesize(s, testbed.Simulated, 1)}
	return r
}

func BenchmarkPlots(b *testing.B) {
	r := bigResult()
	b.ResetTimer()
	for b.Loop() {
		for _, p := range plots(r) {
			if _, err := p.chart.png(); err != nil {
				b.Fatal(err)
			}
			if _, err := p.chart.svg(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func TestPlotsAreTheSameEveryTime(t *testing.T) {
	r := synthResult(2, 2)
	var names []string
	for i, p := range plots(r) {
		q := plots(r)[i]
		names = append(names, p.name)
		for kind, draw := range map[string]func(c *chart) ([]byte, error){"svg": (*chart).svg, "png": (*chart).png} {
			if kind == "png" && i > 0 {
				continue // it takes the race detector a second
			}
			a, err := draw(p.chart)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := draw(q.chart)
			if !bytes.Equal(a, b) {
				t.Errorf("%s.%s is not the same twice", p.name, kind)
			}
			if kind == "png" {
				if _, err := png.Decode(bytes.NewReader(a)); err != nil {
					t.Errorf("%s: %v", p.name, err)
				}
				continue
			}
			for d := xml.NewDecoder(bytes.NewReader(a)); ; {
				if _, err := d.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Errorf("%s: %v", p.name, err)
					break
				}
			}
		}
	}
	want := []string{"latency", "throughput", "drops", "cpu-tiers", "cpu-nodes", "latency-distribution", "placements-emulated", "placements-simulated"}
	if !slices.Equal(names, want) {
		t.Errorf("drawn: %v, want %v", names, want)
	}
}

// The events of the timeline are on every plot over time, by name.
func TestPlotsShowEvents(t *testing.T) {
	for _, p := range plots(synthResult(1, 0)) {
		svg, err := p.chart.svg()
		if err != nil {
			t.Fatal(err)
		}
		overTime := p.name != "cpu-nodes" && p.name != "latency-distribution"
		for _, text := range []string{"kill fog-1", "start fog-1", "link fog–cloud 3 Mbit/s", "restore fog–cloud"} {
			if bytes.Contains(svg, []byte(text)) != overTime {
				t.Errorf("%s: %q is on it: %v", p.name, text, !overTime)
			}
		}
	}
}

func TestPlotsWithoutData(t *testing.T) {
	r := synthResult(0, 0)
	if got := plots(r); len(got) != 0 {
		t.Errorf("drew %d plots of nothing", len(got))
	}
	// A run that ended at once, a node of no size, names that nobody checked.
	r.Scenario.Measure = testbed.Measure{}
	r.Scenario.Nodes[0].Cores = 0
	r.Recordings = []testbed.Recording{{
		Method: testbed.Emulated, Run: 1,
		Samples: []testbed.Sample{{At: 0}, {At: 0}, {At: time.Second, Latency: testbed.Latency{Frames: 1, P50: time.Second}, Nodes: []testbed.NodeSample{{Node: "edge-1"}}}},
	}}
	for _, p := range plots(r) {
		if _, err := p.chart.svg(); err != nil {
			t.Error(err)
		}
	}
}

func TestBannersDoNotOverlap(t *testing.T) {
	sty := style(bannerSize, false, ink)
	rapid.Check(t, func(t *rapid.T) {
		const right = vg.Length(600)
		var all []banner
		for i := range rapid.IntRange(0, 40).Draw(t, "banners") {
			all = append(all, banner{
				at: rapid.Float64Range(0, 600).Draw(t, "at"), number: i + 1,
				text: rapid.StringMatching(`[a-z]{1,12}( [a-z]{1,12}){0,2}`).Draw(t, "text"),
			})
		}
		sortBy(all, func(b banner) float64 { return b.at })
		placed, levels, _ := layout(all, func(b banner) vg.Length { return vg.Length(b.at) }, 0, right)
		if levels > maxLevels || len(placed) != len(all) {
			t.Fatalf("%d levels, %d of %d placed", levels, len(placed), len(all))
		}
		for i, a := range placed {
			end := a.left + sty.Width(a.text)
			if a.level < 0 {
				continue
			}
			if a.left < 0 || end > right {
				t.Fatalf("%q sticks out: %v to %v", a.text, a.left, end)
			}
			for k, b := range placed {
				if b.level < 0 {
					continue
				}
				if i == k {
					if a.left > 0 && a.left < a.x && a.x < end {
						t.Fatalf("%q lies on its own line", a.text)
					}
					continue
				}
				if a.level == b.level && a.left < b.left+sty.Width(b.text) && b.left < end {
					t.Fatalf("%q lies over %q", a.text, b.text)
				}
				if b.level > a.level && a.left < b.x && b.x < end {
					t.Fatalf("the line of %q goes through %q", b.text, a.text)
				}
			}
		}
	})
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		least, most float64
		want        []string
	}{
		{0, 1, []string{"0", "0.2", "0.4", "0.6", "0.8", "1"}},
		{0, 730, []string{"0", "200", "400", "600"}},
		{0, 26, []string{"0", "5", "10", "15", "20", "25"}},
		{0, 0.031, []string{"0", "0.005", "0.01", "0.015", "0.02", "0.025", "0.03"}},
		{0, 0, nil},
	} {
		var got []string
		for _, k := range ticks(c.least, c.most) {
			got = append(got, k.Label)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v to %v: %v, want %v", c.least, c.most, got, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.Float64Range(1e-6, 1e9).Draw(t, "most")
		n := len(ticks(0, most))
		if n < 4 || n > 9 {
			t.Fatalf("%d ticks from 0 to %v", n, most)
		}
		least := -rapid.Float64Range(0, 1e5).Draw(t, "least")
		if n := len(timeTicks(least, most)); n > 20 {
			t.Fatalf("%d ticks from %v to %v s", n, least, most)
		}
	})
}

func TestStints(t *testing.T) {
	s := synthScenario()
	mark := func(at int, kind, id, message string) testbed.Mark {
		return testbed.Mark{At: time.Duration(at) * time.Second, Kind: testbed.Decision, Type: kind, Subject: id, Message: message}
	}
	rec := &testbed.Recording{
		Samples: []testbed.Sample{{At: -10 * time.Second}, {At: 100 * time.Second}},
		Marks: []testbed.Mark{
			mark(-12, "task-placed", "w/a#0", "w/a#0 placed on n1: why"),
			mark(-12, "task-placed", "w/camera-1#0", "w/camera-1#0 placed on n1: why"),
			mark(20, "task-placed", "w/a#0", "w/a#0 placed on n1: less reserved"),
			mark(50, "task-moved", "w/a#0", "w/a#0 moved from n1 to n2: n1 moved from here to there"),
			mark(30, "task-moved", "w/b#0", "w/b#0 moved from n1 to n3: why"),
			mark(60, "task-removed", "w/b#0", "w/b#0 removed from n3"),
			mark(70, "task-removed", "w/c#0", "w/c#0 removed from n4"),
			mark(70, "task-moved", "w/d#0", "no message that we know"),
			mark(80, "node-failed", "n1", "edge node n1 stopped answering"),
		},
		Totals: testbed.Totals{
			Stages:     []testbed.StageTotals{{Task: "b"}, {Task: "a"}},
			Placements: []tiering.Placement{{ID: "w/d#0", Node: "n5"}, {ID: "w/a#0", Node: "n2"}, {ID: "w/camera-1#0", Node: "n1", Source: true}},
		},
	}
	sec := func(n int) time.Duration { return time.Duration(n) * time.Second }
	want := []stint{
		{"b#0", "n1", sec(-10), sec(30)}, {"b#0", "n3", sec(30), sec(60)},
		{"a#0", "n1", sec(-10), sec(50)}, {"a#0", "n2", sec(50), sec(100)},
		{"c#0", "n4", sec(-10), sec(70)},
		{"d#0", "n5", sec(-10), sec(100)},
	}
	if got := stints(s, rec); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// Runs are lined up although their samples are not at the same moment.
func TestOverRuns(t *testing.T) {
	run := func(first time.Duration, counts ...uint64) *testbed.Recording {
		rec := &testbed.Recording{}
		for i, n := range counts {
			rec.Samples = append(rec.Samples, testbed.Sample{At: first + time.Duration(i)*time.Second, Frames: pipeline.Counts{Delivered: n}})
		}
		return rec
	}
	got := overRuns([]*testbed.Recording{run(0, 0, 10, 30), run(30*time.Millisecond, 5, 25, 25, 65)}, time.Second,
		growth(func(s *testbed.Sample) uint64 { return s.Frames.Delivered }))
	want := []point{{1, 15, 10, 20, 2}, {2, 10, 0, 20, 2}, {3, 40, 40, 40, 1}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
