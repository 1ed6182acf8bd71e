package chaos

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// About says what a run was of, for the report.
type About struct {
	Seed    uint64
	Command string
	Version string
	Shaping string // how links were emulated
	Machine string
}

// Result is what a run showed.
type Result struct {
	About
	Plant    Plant
	Began    time.Time
	Took     time.Duration
	Control  *Verdict // of the round in which nothing went wrong
	Verdicts []*Verdict
	Asked    int // rounds; more than there are verdicts where the run was cut short
	Soak     bool
	Trends   []Trend // of a soak test

	usage []Usage
}

// Summary is a run in figures, as summary.json has it.
type Summary struct {
	Rounds         int     `json:"rounds"`
	Failures       int     `json:"failures"` // rounds in which an invariant did not hold, the control included
	RecoveryP50    float64 `json:"recovery_s_p50"`
	RecoveryMax    float64 `json:"recovery_s_max"`
	LostWorkflows  int     `json:"lost_workflows"`
	DuplicateTasks int     `json:"duplicate_tasks"`
	// Further figures.
	Seed         uint64            `json:"seed"`
	Asked        int               `json:"asked,omitempty"` // rounds, but of a soak test
	Grows        []string          `json:"grows,omitempty"` // of a soak test: what does
	WholeP50     float64           `json:"whole_s_p50"`
	WholeMax     float64           `json:"whole_s_max"`
	ControlGap   float64           `json:"control_gap_s"`
	GapByKind    map[Kind]float64  `json:"gap_s_max_by_fault,omitempty"` // of rounds with one fault
	RecoveryMaxs map[Kind]float64  `json:"recovery_s_max_by_fault,omitempty"`
	LeaderMax    float64           `json:"leader_s_max"`
	Began        time.Time         `json:"began"`
	TookSeconds  float64           `json:"took_s"`
	Captured     uint64            `json:"frames_captured"`
	Delivered    uint64            `json:"frames_delivered"`
	Commits      int               `json:"commits"` // tried while faults lasted
	Acknowledged int               `json:"commits_acknowledged"`
	Violated     map[Invariant]int `json:"violations,omitempty"` // rounds, by invariant
}

func (r *Result) failures() int {
	n := 0
	for _, v := range r.Verdicts {
		if v.Failed() {
			n++
		}
	}
	if r.Control != nil && r.Control.Failed() {
		n++
	}
	return n
}

// grow lists what a soak test saw grow, in words.
func (r *Result) grow() (out []string) {
	for _, t := range r.Trends {
		if t.Verdict == Grows {
			out = append(out, fmt.Sprintf("%s of %s grows by %.1f an hour, at %.1f", t.Resource, t.Node, t.PerHour, t.Median))
		}
	}
	return out
}

// Summary sums the rounds up. A round that never recovered counts with the time
// that was waited.
func (r *Result) Summary() Summary {
	s := Summary{
		Rounds: len(r.Verdicts), Failures: r.failures(), Seed: r.Seed, Began: r.Began, TookSeconds: r.Took.Seconds(),
		GapByKind: map[Kind]float64{}, RecoveryMaxs: map[Kind]float64{}, Violated: map[Invariant]int{}, Grows: r.grow(),
	}
	if !r.Soak {
		s.Asked = r.Asked
	}
	var recovery, whole []float64
	for _, v := range r.Verdicts {
		took := cmp.Or(v.Recovery, &v.Waited).Seconds()
		recovery = append(recovery, took)
		whole = append(whole, cmp.Or(v.Whole, &v.Waited).Seconds())
		if v.Leader != nil {
			s.LeaderMax = max(s.LeaderMax, v.Leader.Seconds())
		}
		if len(v.Round.Faults) == 1 {
			k := v.Round.Faults[0].Kind
			s.GapByKind[k] = max(s.GapByKind[k], v.Gap.Seconds())
			s.RecoveryMaxs[k] = max(s.RecoveryMaxs[k], took)
		}
		s.LostWorkflows += len(v.Lost)
		s.DuplicateTasks += len(v.Duplicates)
		s.Commits += v.Commits
		s.Acknowledged += v.Acknowledged
		s.Captured += v.Frames.Captured
		s.Delivered += v.Frames.Delivered
		seen := map[Invariant]bool{}
		for _, x := range v.Violations {
			if !seen[x.Invariant] {
				s.Violated[x.Invariant]++
			}
			seen[x.Invariant] = true
		}
	}
	s.RecoveryP50, s.RecoveryMax = median(recovery), most(recovery)
	s.WholeP50, s.WholeMax = median(whole), most(whole)
	if r.Control != nil {
		s.ControlGap = r.Control.Gap.Seconds()
	}
	return s
}

// median of nothing is 0.
func median(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	x = slices.Sorted(slices.Values(x))
	if n := len(x); n%2 == 0 {
		return (x[n/2-1] + x[n/2]) / 2
	}
	return x[len(x)/2]
}

func most(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	return slices.Max(x)
}

// write writes the summary, the report and the plots.
func (r *Result) write(dir string) error {
	b, err := json.MarshalIndent(r.Summary(), "", "  ")
	if err != nil {
		return fmt.Errorf("sum up the rounds: %w", err)
	}
	plots, err := r.plots()
	errs := []error{err}
	files := map[string][]byte{"summary.json": append(b, '\n'), "report.md": []byte(r.report(sortedKeys(plots)))}
	for name, data := range plots {
		files[name] = data
	}
	for _, name := range sortedKeys(files) {
		if err := os.WriteFile(filepath.Join(dir, name), files[name], 0o644); err != nil {
			errs = append(errs, fmt.Errorf("write the result: %w", err))
		}
	}
	return errors.Join(errs...)
}
