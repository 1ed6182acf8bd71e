package experiment

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/weft-mesh/weft/testbed"
)

// ErrSummary reports a folder whose summary can't be read.
var ErrSummary = errors.New("no summary of a result")

// summaryFormat is the version of summary.json that is written and read.
const summaryFormat = 1

// Summary is summary.json: the figures of a result folder, for scripts. No
// list or map in it is null, and no figure that does not exist is in it.
//
// Metrics are by name; what is before a first point ends in the unit:
//
//	captured_frames, delivered_frames         in the measured time
//	dropped_frames.REASON
//	delivered_fraction                        delivered of captured, less filtered
//	filtered_frames                           if there are any
//	throughput_fps                            delivered a second
//	latency_ms.mean, .p50, .p95, .p99         capture to result, of delivered frames
//	f1_estimated                              of analysed frames, from what is known of the models
//	cpu_cores.node.NODE, cpu_cores.tier.TIER  used on average
//	stage.TASK.processed_frames, .dropped_frames
//	stage.TASK.queue_ms.p50, .p95             and transfer_ms, work_ms
//	event.N.gap_s, .recovered_after_s, .lost_frames, .before_fps, .after_fps
//	event.N.recovered_fraction                1 where it recovered, 0 where not
//
// An event's figures are defined at [Recovery].
type Summary struct {
	Format   int     `json:"format"` // 1
	Scenario string  `json:"scenario"`
	SHA256   string  `json:"scenario_sha256"` // of scenario.yaml
	Version  string  `json:"version"`
	Command  string  `json:"command"`
	Machine  Machine `json:"machine"`
	CPUScale float64 `json:"cpu_scale"`
	Nodes    int     `json:"nodes"`
	Warmup   float64 `json:"warmup_s"`
	Duration float64 `json:"duration_s"` // without the warm-up

	Methods map[testbed.Method]*MethodSummary `json:"methods"`
	// Ratios are simulated over emulated, of the metrics that both have and
	// whose emulated mean is not 0.
	Ratios map[string]Ratio `json:"simulated_over_emulated"`
}

// MethodSummary is the runs of one method.
type MethodSummary struct {
	Runs    []RunSummary        `json:"runs"`
	Metrics map[string]Estimate `json:"metrics"`
	Events  []EventSummary      `json:"events"`
}

// RunSummary is one run.
type RunSummary struct {
	Run       int         `json:"run"`
	Seed      uint64      `json:"seed"`
	Began     string      `json:"began,omitempty"` // RFC 3339
	Took      float64     `json:"took_s"`          // of real time
	Measured  float64     `json:"measured_s"`      // of the experiment's
	Shaping   string      `json:"shaping,omitempty"`
	Links     LinkSummary `json:"links"`
	Simulated uint64      `json:"simulated_events,omitempty"`
	Balanced  bool        `json:"balanced"` // captured = delivered + dropped + in flight
}

// LinkSummary counts the links of a run.
type LinkSummary struct {
	Checked  int `json:"checked"`
	Failed   int `json:"failed"`
	Unshaped int `json:"unshaped"` // without a rate that was imposed and checked
}

// EventSummary is what happened at one time of the timeline.
type EventSummary struct {
	Number int        `json:"number"` // from 1, as in the names of metrics
	At     float64    `json:"at_s"`   // as the scenario says
	What   []string   `json:"what"`
	Takes  bool       `json:"takes"` // something away; else it gives
	Runs   []Recovery `json:"runs"`  // that came to it
}

// Ratio compares two estimates of a metric.
type Ratio struct {
	Ratio   float64 `json:"ratio"`
	Overlap *bool   `json:"ci95_overlap,omitempty"` // of the confidence intervals, where both have one
}

// Summarize computes the figures of a result.
func Summarize(r *Result) *Summary {
	digest := sha256.Sum256(r.ScenarioText)
	s := &Summary{
		Format: summaryFormat, Scenario: r.Scenario.Name, SHA256: hex.EncodeToString(digest[:]),
		Version: r.Version, Command: r.Command, Machine: r.Machine, CPUScale: r.scale(), Nodes: len(r.Scenario.Nodes),
		Warmup: r.Scenario.Measure.Warmup.Seconds(), Duration: r.Scenario.Measure.Duration.Seconds(),
		Methods: map[testbed.Method]*MethodSummary{}, Ratios: map[string]Ratio{},
	}
	all := incidents(r.Scenario.Timeline)
	dropped := droppedReasons(r.Recordings)
	for _, m := range []testbed.Method{testbed.Emulated, testbed.Simulated} {
		recs := r.of(m)
		if len(recs) == 0 {
			continue
		}
		s.Methods[m] = summarizeMethod(r.Scenario, recs, all, dropped)
	}
	emulated, simulated := s.Methods[testbed.Emulated], s.Methods[testbed.Simulated]
	if emulated != nil && simulated != nil {
		for name, e := range emulated.Metrics {
			x, both := simulated.Metrics[name]
			if q := ratio(x.Mean, e.Mean); both && q != nil {
				s.Ratios[name] = Ratio{*q, overlap(x, e)}
			}
		}
	}
	return s
}

func summarizeMethod(sc *testbed.Scenario, recs []*testbed.Recording, all []incident, dropped []string) *MethodSummary {
	out := &MethodSummary{Runs: []RunSummary{}, Metrics: map[string]Estimate{}, Events: []EventSummary{}}
	for _, in := range all {
		out.Events = append(out.Events, EventSummary{in.number, in.at.Seconds(), in.what(), in.takes(), []Recovery{}})
	}
	values := map[string][]Value{}
	for _, rec := range recs {
		out.Runs = append(out.Runs, summarizeRun(rec))
		found := recoveries(all, rec)
		for i := range out.Events {
			if x, ok := found[out.Events[i].Number]; ok {
				out.Events[i].Runs = append(out.Events[i].Runs, x)
			}
		}
		for name, x := range metrics(sc, rec, found, dropped) {
			if finite(x) {
				values[name] = append(values[name], Value{rec.Run, x})
			}
		}
	}
	for name, v := range values {
		out.Metrics[name] = estimate(v)
	}
	return out
}

func summarizeRun(rec *testbed.Recording) RunSummary {
	out := RunSummary{
		Run: rec.Run, Seed: rec.Seed, Took: rec.Took.Seconds(), Measured: rec.Totals.Duration.Seconds(),
		Shaping: rec.Shaping, Simulated: rec.Simulated, Balanced: rec.Totals.Frames.Balanced(),
	}
	if !rec.Began.IsZero() {
		out.Began = rec.Began.UTC().Format(time.RFC3339)
	}
	for i := range rec.Links {
		l := &rec.Links[i]
		if len(l.Verdicts) > 0 {
			out.Links.Checked++
		}
		if !l.OK() {
			out.Links.Failed++
		}
		if unshaped(l) {
			out.Links.Unshaped++
		}
	}
	return out
}

// unshaped reports whether a link was left without the rate that it should
// have, or should have none.
func unshaped(l *testbed.LinkCheck) bool {
	for _, v := range l.Verdicts {
		if v.What == "throughput" {
			return false
		}
	}
	return true
}

// Read reads the summary of a result folder.
func Read(dir string) (*Summary, error) {
	path := filepath.Join(dir, summaryFile)
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, marked := os.Stat(filepath.Join(dir, markerFile)); marked == nil {
			return nil, fmt.Errorf("%s: %w: the run did not end; run it again", dir, ErrSummary)
		}
		return nil, fmt.Errorf("%s: %w: it has no %s; name a folder that weft wrote with --out", dir, ErrSummary, summaryFile)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrSummary, err)
	}
	s, err := decodeSummary(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrSummary, err)
	}
	return s, nil
}

func encodeSummary(s *Summary) ([]byte, error) { return encodeJSON(s) }

func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // it is for scripts and eyes
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return b.Bytes(), nil
}

// decodeSummary reads what encodeSummary wrote, by whatever hand since: lists
// and maps that lack are empty.
func decodeSummary(data []byte) (*Summary, error) {
	var s Summary
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, err
	}
	if s.Format != summaryFormat {
		return nil, fmt.Errorf("its format is %d; this weft reads format %d", s.Format, summaryFormat)
	}
	s.Methods = orEmpty(s.Methods)
	s.Ratios = orEmpty(s.Ratios)
	for name, m := range s.Methods {
		if m == nil {
			delete(s.Methods, name)
			continue
		}
		m.Runs, m.Events, m.Metrics = append([]RunSummary{}, m.Runs...), append([]EventSummary{}, m.Events...), orEmpty(m.Metrics)
		for key, e := range m.Metrics {
			e.Values = append([]Value{}, e.Values...)
			m.Metrics[key] = e
		}
		for i := range m.Events {
			e := &m.Events[i]
			e.What, e.Runs = append([]string{}, e.What...), append([]Recovery{}, e.Runs...)
			for k := range e.Runs {
				x := &e.Runs[k]
				x.Errors, x.Decisions, x.Lost = append([]string{}, x.Errors...), append([]Decided{}, x.Decisions...), orEmpty(x.Lost)
			}
		}
	}
	return &s, nil
}

func orEmpty[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return map[K]V{}
	}
	return m
}
