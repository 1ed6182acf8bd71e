package experiment

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/weft-mesh/weft/adaptation/survey"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// The kinds of arms to which something happens, and what they are about.
const (
	ArmFloor   ArmKind = "floor"   // more accuracy is asked for than all the sources can have
	ArmSqueeze ArmKind = "squeeze" // the sources' uplink loses most of its bandwidth for a while
)

// squeezed is by what the bandwidth is divided.
const squeezed = 10

// Trials returns the arms of a scenario to which something happens. In the floor
// arm two thirds of its sources come one by one, until with the next one the
// accuracy asked for is out of reach. In the squeeze arm the bandwidth of the sources' uplinks is
// divided by ten for a third of the time, with all knobs.
func Trials(s *testbed.Scenario) ([]Arm, error) {
	w, err := s.WorkflowSpec(nil)
	if err != nil {
		return nil, err
	}
	floor, err := floorArm(s, w)
	if err != nil {
		return nil, err
	}
	squeeze, err := squeezeArm(s, w)
	return []Arm{floor, squeeze}, err
}

// floorArm asks for nine tenths of the way from the accuracy of the second best
// resolution to that of the best: nine tenths of the sources must have the best,
// which cannot serve so many. The rule is Algorithm 1, for which that
// holds in every period, and not in the long run only. A newcomer is decided
// about within a period.
func floorArm(s *testbed.Scenario, w *tiering.Workflow) (Arm, error) {
	resolutions, err := upTo(w, s.Sources[0].Resolution)
	if err != nil {
		return Arm{}, err
	}
	if len(resolutions) < 2 || len(s.Sources) < 2 {
		return Arm{}, fmt.Errorf("%w: an accuracy out of reach wants two sources and two resolutions at least", ErrArms)
	}
	var reached []float64
	for _, r := range resolutions[:2] {
		i := slices.IndexFunc(w.Tasks, func(t tiering.Task) bool { return t.Model != nil && t.Model.Resolution == r })
		f1, err := accuracyOf(w.Tasks[i].Model)
		if err != nil {
			return Arm{}, err
		}
		reached = append(reached, f1)
	}
	x, err := s.Adapting(s.Sources, tiering.AdaptFastest, []tiering.Knob{tiering.KnobResolution})
	if err != nil {
		return Arm{}, err
	}
	if x, err = x.Asking(round(survey.FilterKeeps(w)*(0.9*reached[0]+0.1*reached[1]), 4)); err != nil {
		return Arm{}, err
	}
	first := (len(s.Sources) + 2) / 3
	x.Sources, x.Reserve, x.Timeline = s.Sources[:first], s.Sources[first:], nil
	step := 2 * periodOf(w)
	for i := range x.Reserve {
		x.Timeline = append(x.Timeline, testbed.Event{At: time.Duration(i+1) * step, Action: testbed.Sources, Count: 1})
	}
	x.Measure.Duration = time.Duration(len(x.Reserve)+3) * step
	return Arm{Name: "floor", Kind: ArmFloor, Rule: tiering.AdaptFastest, Scenario: x}, nil
}

// periodOf is the time between two decisions.
func periodOf(w *tiering.Workflow) time.Duration {
	if w.Adapting != nil {
		return w.Adapting.Period
	}
	return tiering.DefaultAdapting().Period
}

func squeezeArm(s *testbed.Scenario, w *tiering.Workflow) (Arm, error) {
	knobs := append([]tiering.Knob{tiering.KnobResolution}, furtherKnobs(w, s.Sources[0].Resolution)...)
	x, err := s.Adapting(s.Sources, tiering.AdaptUtility, knobs)
	if err != nil {
		return Arm{}, err
	}
	at := slices.IndexFunc(s.Nodes, func(n testbed.Node) bool { return n.Name == s.Sources[0].Node })
	if at < 0 {
		return Arm{}, fmt.Errorf("%w: source %s is on no node, so that nobody knows its uplink", ErrArms, s.Sources[0].Name)
	}
	tier := s.Nodes[at].Tier
	i := slices.IndexFunc(s.Network.Tiers, func(l testbed.TierLink) bool { return l.A == tier && l.B != tier && l.Link.Rate > 0 })
	if i < 0 {
		return Arm{}, fmt.Errorf("%w: no link between the tiers leads up from the %s, or it has no rate to be squeezed", ErrArms, tier)
	}
	l := s.Network.Tiers[i]
	rate := l.Link.Rate / squeezed
	ends := testbed.Ends{A: testbed.End{Tier: l.A}, B: testbed.End{Tier: l.B}}
	third := max(s.Measure.Duration/3, 4*periodOf(w)).Truncate(time.Second)
	x.Timeline = []testbed.Event{
		{At: third, Action: testbed.Change, Ends: ends, Link: testbed.LinkChange{Rate: &rate}},
		{At: 2 * third, Action: testbed.Restore, Ends: ends},
	}
	x.Measure.Duration, x.Measure.Every = 3*third, time.Second // the decisions are to be seen
	return Arm{Name: "squeeze", Kind: ArmSqueeze, Rule: tiering.AdaptUtility, Scenario: x}, nil
}

// FloorRun is what one run of the floor arm came to.
type FloorRun struct {
	Run     int
	Seed    uint64
	Least   float64 // accuracy asked for
	Sources int     // that have come
	// Admitted is how many of them are served, and Newest says that those are
	// the ones that came first.
	Admitted int
	Newest   bool
	Why      string  // the first that was not
	Others   float64 // the share of their frames that was delivered of those that are
	F1       float64
}

// MeasureFloor computes what a run of the floor arm came to.
func (a *Arm) MeasureFloor(rec *testbed.Recording) (FloorRun, error) {
	w, err := a.Scenario.WorkflowSpec(nil)
	if err != nil {
		return FloorRun{}, err
	}
	out := FloorRun{Run: rec.Run, Seed: rec.Seed, Least: w.Objectives.MinAccuracy, Newest: true}
	came := map[string]time.Duration{}
	order := slices.Concat(a.Scenario.Sources, a.Scenario.Reserve)
	for i, s := range order {
		if i >= len(a.Scenario.Sources) {
			came[s.Name] = a.Scenario.Timeline[i-len(a.Scenario.Sources)].At
		}
	}
	var captured, delivered uint64
	for _, s := range order {
		i := slices.IndexFunc(rec.Totals.Sources, func(x testbed.SourceTotals) bool { return x.Source == s.Name })
		if i < 0 {
			continue // it has not come yet
		}
		x := rec.Totals.Sources[i]
		// One that is refused may have run until that was decided.
		served := float64(x.Captured) >= s.FPS*(rec.Totals.Duration-came[s.Name]).Seconds()/2
		out.Sources++
		if !served {
			continue
		}
		out.Newest = out.Newest && out.Admitted == out.Sources-1
		out.Admitted++
		captured += x.Captured
		delivered += x.Delivered
	}
	if captured > 0 {
		out.Others = min(1, float64(delivered)/float64(captured))
	}
	for _, m := range adapted(rec) {
		if m.Type == string(state.SourceHeld) {
			out.Why = m.Message
			break
		}
	}
	m, err := mixOf(a.Scenario, w, rec)
	if err == nil {
		out.F1, err = f1(a.Scenario, w, &rec.Totals, m)
	}
	return out, err
}

// SqueezeRun is what one run of the squeeze arm came to.
type SqueezeRun struct {
	Run    int
	Seed   uint64
	Period time.Duration
	// Before, Squeezed and After is the mean F1 that the sources' qualities
	// promise: before the squeeze, when it ends, and at the end. A source that is
	// held has none.
	Before, Squeezed, After float64
	// Down and Up is how long after the squeeze and its end the qualities changed
	// for the first time, and Settled how long until they were as they are at the end of the
	// phase; negative: they never were.
	Down, Up, DownSettled, UpSettled time.Duration
}

// settled is how near F1 must be to what it comes to in the end.
const settled = 0.01

// MeasureSqueeze computes what a run of the squeeze arm came to.
func (a *Arm) MeasureSqueeze(rec *testbed.Recording) (SqueezeRun, error) {
	w, err := a.Scenario.WorkflowSpec(nil)
	if err != nil {
		return SqueezeRun{}, err
	}
	out := SqueezeRun{Run: rec.Run, Seed: rec.Seed, Period: periodOf(w)}
	start, end := a.Scenario.Timeline[0].At, a.Scenario.Timeline[1].At
	type promise struct {
		at time.Duration
		f1 float64
	}
	var all []promise
	for i := range rec.Samples {
		x := &rec.Samples[i]
		if x.At < 0 {
			continue
		}
		one := testbed.Recording{Samples: []testbed.Sample{*x}}
		m, err := mixOf(a.Scenario, w, &one)
		if err != nil {
			return out, err
		}
		f1, err := m.promises(w)
		if err != nil {
			return out, err
		}
		f1 *= filterKeeps(a.Scenario, w)
		all = append(all, promise{x.At, f1 * m.all.shown / float64(max(1, len(a.Scenario.Sources)))})
	}
	// Sources that take turns do not change at the same moment: what one sample has,
	// and neither of its neighbours, is a hand-over unless something was decided.
	decided := adapted(rec)
	seen := slices.Clone(all)
	for i := 1; i < len(all); i++ {
		from, next := i-1, min(i+1, len(all)-1)
		if next == i {
			from = max(0, i-2)
		}
		if seen[from].f1 == seen[i-1].f1 && (next == i || seen[next].f1 == seen[i-1].f1) &&
			!slices.ContainsFunc(decided, func(m testbed.Mark) bool { return m.At > seen[from].at && m.At <= seen[next].at }) {
			all[i].f1 = seen[i-1].f1
		}
	}
	at := func(t time.Duration) float64 { // as it was then
		i, found := slices.BinarySearchFunc(all, t, func(p promise, t time.Duration) int { return cmp.Compare(p.at, t) })
		if !found {
			i--
		}
		if i < 0 {
			return 0
		}
		return all[i].f1
	}
	follow := func(from, to time.Duration) (first, last time.Duration) {
		first, last = -1, -1
		was, becomes := at(from), at(to)
		for _, p := range all {
			if p.at <= from || p.at > to {
				continue
			}
			if first < 0 && abs(p.f1-was) > settled/10 {
				first = p.at - from
			}
			switch near := abs(p.f1-becomes) <= settled; {
			case near && last < 0:
				last = p.at - from
			case !near:
				last = -1
			}
		}
		return first, last
	}
	out.Before, out.Squeezed, out.After = at(start), at(end), at(rec.Totals.Duration)
	out.Down, out.DownSettled = follow(start, end)
	out.Up, out.UpSettled = follow(end, rec.Totals.Duration)
	return out, nil
}

func abs(x float64) float64 { return max(x, -x) }

// promises is the mean F1 of what is seen of the sources that take frames in.
func (m *mix) promises(w *tiering.Workflow) (float64, error) {
	var sum float64
	for i := range w.Tasks {
		x := m.tasks[w.Tasks[i].Name]
		if x == nil {
			continue
		}
		f1, err := accuracyOf(w.Tasks[i].Model)
		if err != nil {
			return 0, err
		}
		sum += x.kept * f1
	}
	return sum / max(1, m.all.shown), nil
}

// TrialRuns are the runs of the arms to which something happens.
type TrialRuns struct {
	Arms       []Arm
	Floor      []FloorRun
	Squeeze    []SqueezeRun
	Recordings map[ArmKind][]*testbed.Recording
}

// RunTrials runs each once for each seed, as RunArms does.
func RunTrials(ctx context.Context, arms []Arm, seeds int, run func(ctx context.Context, a *Arm, number int) (*testbed.Recording, error)) (*TrialRuns, error) {
	out := &TrialRuns{Arms: arms, Recordings: map[ArmKind][]*testbed.Recording{}}
	for i := range arms {
		a := &arms[i]
		for number := 1; number <= seeds; number++ {
			rec, err := run(ctx, a, number)
			if err != nil {
				return nil, fmt.Errorf("arm %s, run %d: %w", a.Name, number, err)
			}
			out.Recordings[a.Kind] = append(out.Recordings[a.Kind], rec)
			switch a.Kind {
			case ArmFloor:
				var x FloorRun
				x, err = a.MeasureFloor(rec)
				out.Floor = append(out.Floor, x)
			case ArmSqueeze:
				var x SqueezeRun
				x, err = a.MeasureSqueeze(rec)
				out.Squeeze = append(out.Squeeze, x)
			}
			if err != nil {
				return nil, fmt.Errorf("arm %s, run %d: %w", a.Name, number, err)
			}
		}
	}
	return out, nil
}
