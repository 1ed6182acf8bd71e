package adapter

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/weft-mesh/weft/adaptation/quality"
	"github.com/weft-mesh/weft/adaptation/survey"
	"github.com/weft-mesh/weft/coordinator/kpi"
	"github.com/weft-mesh/weft/coordinator/planner"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// State is the replicated state as its leader has it.
type State interface {
	Snapshot() *state.Snapshot
	// Apply commits a command and carries it out.
	Apply(state.Command) (state.Result, error)
}

// Leader is what a leader keeps in mind of adaptation for one term. It is for
// one caller at a time.
type Leader struct {
	state     State
	reports   *kpi.Reports
	rtt       tiering.RoundTrips
	log       *slog.Logger
	workflows map[string]*workflow
}

// New returns the leader of a new term. rtt may be nil.
func New(s State, reports *kpi.Reports, rtt tiering.RoundTrips, log *slog.Logger) *Leader {
	return &Leader{state: s, reports: reports, rtt: rtt, log: log, workflows: map[string]*workflow{}}
}

// workflow is what is kept in mind of one.
type workflow struct {
	version  uint64
	meter    *meter
	corrects *quality.Corrections
	looked   time.Time     // when the reports were looked at last
	measured time.Time     // when the meter was read for a period last
	worked   time.Time     // when frames were seen to be analysed last
	analysed time.Duration // for how long they were since the last decision
	due      time.Time     // of the next decision
	rates    map[string]float64
	ran      map[string]time.Time // when a source ran last
	settled  map[string]bool      // sources that say more only in a period: they have ended, or their rate is not known
	joined   map[string]time.Time // since when the document has a source
	running  []string             // sources and tasks that had an instance at the last decision
	state    quality.State
	status   Status
	// forecast is the decision that the period since the meter was read is held
	// against; nil: the qualities have changed in it.
	forecast *quality.Decision
}

// memory is what is kept in the state for the next decision.
type memory struct {
	State quality.State      `json:"state"`
	Rates map[string]float64 `json:"rates"` // frames a second, by source
	// Joined says since when the document has a source.
	Joined map[string]time.Time `json:"joined,omitempty"`
}

// Status is how the adaptation of a workflow is doing. It is never changed once
// it is handed out.
type Status struct {
	Workflow string `json:"workflow"`
	// Why nothing is decided; empty: it is.
	Idle     string            `json:"idle,omitempty"`
	Decision *quality.Decision `json:"decision,omitempty"`
	Sources  []Source          `json:"sources"`
	// Error is the median relative error of recent predictions of latency, and
	// Predictions is of how many.
	Error       float64 `json:"error"`
	Predictions int     `json:"predictions"`
	// F1 is the accuracy that was measured in the last period, where it is known
	// what frames show and none is skipped; 0: it is not.
	F1 float64 `json:"f1_measured,omitempty"`
}

// Source is one source: what was estimated of it, and what was measured.
type Source struct {
	Source    string          `json:"source"`
	Quality   tiering.Quality `json:"quality"`
	Held      string          `json:"held,omitempty"`
	Estimated float64         `json:"estimated_ms,omitempty"`
	Measured  float64         `json:"measured_ms,omitempty"` // mean, of the last period; 0: none was delivered
	Accuracy  float64         `json:"accuracy,omitempty"`    // F1, estimated
	Why       string          `json:"why"`
}

const (
	corrected = 0.3 // weight of a new observation
	window    = 200 // predictions whose error is shown
	// A period has so many looks at the reports, each with a decision: only an
	// overload changes something at once, but then within a part of a period.
	looks     = 4
	leastLook = time.Second // agents do not report oftener
	// absence is for how many periods a source that fails keeps what it has: it
	// is tried again, and must not find its place taken by then.
	absence = 2
)

// Adapt decides about every workflow that it is time for, and commits what is
// new.
func (l *Leader) Adapt(ctx context.Context, now time.Time) error {
	snap := l.state.Snapshot()
	var errs []error
	known := map[string]bool{}
	for _, w := range snap.Workflows() {
		if w.Status == state.Stopped {
			continue
		}
		known[w.Name] = true
		if ctx.Err() != nil {
			break
		}
		if err := l.adapt(snap, w, now); err != nil {
			errs = append(errs, fmt.Errorf("workflow %s: %w", w.Name, err))
		}
	}
	maps.DeleteFunc(l.workflows, func(name string, _ *workflow) bool { return ctx.Err() == nil && !known[name] })
	return errors.Join(errs...)
}

// Status returns how the adaptation of each workflow is doing.
func (l *Leader) Status() map[string]Status {
	out := make(map[string]Status, len(l.workflows))
	for name, w := range l.workflows {
		out[name] = w.status
	}
	return out
}

// Due is when the next decision is to be made, as far as time tells; zero: no
// workflow is adapted.
func (l *Leader) Due() time.Time {
	var first time.Time
	for _, w := range l.workflows {
		if first.IsZero() || w.due.Before(first) {
			first = w.due
		}
	}
	return first
}

func (l *Leader) adapt(snap *state.Snapshot, w *state.Workflow, now time.Time) error {
	mind := l.workflows[w.Name]
	if mind == nil || mind.version != w.Version {
		mind = l.begin(snap, w, mind, now)
		l.workflows[w.Name] = mind
	}
	params, err := survey.Params(w.Spec)
	if err != nil {
		return l.idle(snap, w, mind, err, now, time.Hour)
	}
	mind.come(w.Spec, now)
	placements := serving(snap, w.Name)
	here := running(placements)
	if now.Before(mind.due) && slices.Equal(here, mind.running) {
		return nil
	}
	mind.running = here
	l.measure(mind, w.Spec, params, now, l.reports.Instances(w.Name), profiled(snap))
	missing := mind.missing(placements)
	view, err := survey.View(survey.Input{
		Workflow: w.Spec, Placements: placements, Rates: mind.rates, Passes: mind.meter.passes(), Costs: mind.meter.costs, RTT: l.rtt,
		Joined: func(name string) time.Time { return mind.joined[name] }, Profiled: profiled(snap),
	}, params.Knobs)
	if err != nil {
		again := params.Period
		if errors.Is(err, survey.ErrUnknown) {
			again = time.Second // the first frames will tell
		}
		return l.idle(snap, w, mind, err, now, again)
	}
	view.State, view.Analysed = mind.state, mind.analysed
	d, err := quality.Decide(now, mind.corrects.Apply(view), params, random(w.Name, snap.Index()))
	if err != nil {
		return l.idle(snap, w, mind, err, now, params.Period)
	}
	mind.state, mind.analysed = d.State, 0
	mind.due = soonest(now.Add(max(leastLook, params.Period/looks)), d.State.Ticked.Add(params.Period))
	if missing {
		mind.due = soonest(mind.due, now.Add(leastLook)) // to decide about it when it runs
	}
	mind.foresee(&d, now)
	mind.tell(&d)
	return l.commit(snap, w, mind, &d, now)
}

func soonest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// missing says whether a source that is placed does not run yet, or not at the
// moment.
func (mind *workflow) missing(placements []tiering.Placement) bool {
	return slices.ContainsFunc(placements, func(p tiering.Placement) bool {
		_, runs := mind.rates[p.Task]
		return p.Source && !runs && !mind.settled[p.Task]
	})
}

// foresee keeps a decision that was made when the meter was read, to hold the
// period against it, unless another changes what sources have within the period.
func (mind *workflow) foresee(d *quality.Decision, now time.Time) {
	switch before := mind.status.Decision; {
	case mind.measured.Equal(now):
		mind.forecast = d
	case before == nil || !slices.EqualFunc(before.Sources, d.Sources, func(a, b quality.Assignment) bool {
		return a.Source == b.Source && a.Quality == b.Quality
	}):
		mind.forecast = nil
	}
}

// f1 is the accuracy measured, as far as it is that of all frames that are seen.
func (mind *workflow) f1() float64 {
	d := mind.status.Decision
	if d == nil || slices.ContainsFunc(d.Sources, func(a quality.Assignment) bool { return a.Quality.Every > 1 }) {
		return 0
	}
	return mind.meter.f1
}

// begin starts to keep a workflow in mind. A new version of one goes on from
// what was measured of the last.
func (l *Leader) begin(snap *state.Snapshot, w *state.Workflow, old *workflow, now time.Time) *workflow {
	mind := old
	if mind == nil {
		corrects, err := quality.NewCorrections(corrected, window)
		if err != nil {
			panic(err) // constants
		}
		mind = &workflow{meter: newMeter(), corrects: corrects, rates: map[string]float64{}, ran: map[string]time.Time{}}
	}
	mind.version, mind.due, mind.running = w.Version, now, nil
	if !mind.state.At.IsZero() {
		return mind // it is newer than what was committed last
	}
	if a, ok := snap.Adaptation(w.Name); ok && len(a.Memory) > 0 {
		m := memory{Rates: mind.rates, Joined: mind.joined}
		if err := json.Unmarshal(a.Memory, &m); err == nil {
			mind.state, mind.rates, mind.joined = m.State, m.Rates, m.Joined
		} else {
			l.log.Warn("adaptation begins anew", "workflow", w.Name, "error", err)
		}
	}
	return mind
}

// come notes since when the document has which sources. Of those that came
// together, one that is named before another counts as older by next to nothing.
func (mind *workflow) come(w *tiering.Workflow, now time.Time) {
	joined := make(map[string]time.Time, len(w.Sources))
	for i := range w.Sources {
		name := w.Sources[i].Name
		at, ok := mind.joined[name]
		if !ok {
			at = now.Add(time.Duration(i))
		}
		joined[name] = at
	}
	mind.joined = joined
}

// measure reads what frames took: the ways to tasks at each look, and the rest once
// a period, which is then held against what was decided before it.
func (l *Leader) measure(mind *workflow, w *tiering.Workflow, params quality.Params, now time.Time, instances []kpi.Instance, profiled func(node string, t *tiering.Task) (time.Duration, bool)) {
	if mind.meter.glance(instances) {
		mind.worked = now
	}
	if !mind.looked.IsZero() && now.Sub(mind.worked) < params.Period {
		mind.analysed += min(now.Sub(mind.looked), params.Period)
	}
	mind.looked = now
	elapsed, least := now.Sub(mind.measured), params.Period
	if mind.status.Decision == nil {
		least /= 2 // the first is to come soon
	}
	switch {
	case mind.measured.IsZero():
		elapsed = 0
	case elapsed < least:
		mind.runs(w, params, now, instances)
		return
	}
	mind.meter.observe(instances, elapsed)
	mind.meter.forget(w, profiled)
	mind.measured = now
	mind.runs(w, params, now, instances)
	if d := mind.status.Decision; d != nil && len(d.Sources) == 0 && len(d.Refused) > 0 {
		mind.meter.fade()
	}
	d := mind.forecast
	if d == nil {
		return
	}
	for _, s := range d.Stations {
		// What is next to nothing has no ratio.
		if measured, ok := mind.meter.waits[s.Station]; ok && max(measured, s.Wait) > time.Millisecond {
			mind.corrects.Observe(quality.Observation{
				Station: s.Station, Part: quality.PartWait, Measured: measured, Predicted: s.Wait, Factor: mind.corrects.Factor(s.Station, quality.PartWait),
			})
		}
	}
	for _, s := range d.Sources {
		if measured, ok := mind.meter.latency[s.Source]; ok {
			mind.corrects.Observe(quality.Observation{Station: s.Source, Part: quality.PartTotal, Measured: measured, Predicted: s.Latency})
		}
	}
}

// runs notes at which rate the sources run, or did before they were held or
// failed. Until that is measured it is what the document says. One of which
// neither is known is left alone: a guess that is too high would have it held, and
// never be put right.
func (mind *workflow) runs(w *tiering.Workflow, params quality.Params, now time.Time, instances []kpi.Instance) {
	rates, ran := map[string]float64{}, map[string]time.Time{}
	mind.settled = map[string]bool{}
	for _, i := range instances {
		if i.Source == nil {
			continue
		}
		name, rate, said := i.Source.Source, 0.0, 0.0
		if src, ok := w.Source(name); ok {
			said = src.FPS
		}
		last := now
		switch i.Source.Status {
		case pipeline.StatusHeld:
		case pipeline.StatusRunning:
			rate = mind.meter.rates[name]
		case pipeline.StatusRetrying, pipeline.StatusStarting:
			last = mind.ran[name]
			if now.Sub(last) >= absence*params.Period {
				continue
			}
		default:
			mind.settled[name] = true
			continue
		}
		if rate = cmp.Or(rate, mind.rates[name], said); rate > 0 {
			rates[name], ran[name] = rate, last
		} else {
			mind.settled[name] = true
		}
	}
	mind.rates, mind.ran = rates, ran
}

// idle notes why nothing is decided. What was decided before no longer holds
// where adaptation has been switched off.
func (l *Leader) idle(snap *state.Snapshot, w *state.Workflow, mind *workflow, why error, now time.Time, again time.Duration) error {
	mind.due = now.Add(again)
	mind.status, mind.forecast = Status{Workflow: w.Name, Idle: why.Error(), Sources: []Source{}}, nil
	if a, ok := snap.Adaptation(w.Name); !ok || !errors.Is(why, survey.ErrOff) || len(a.Qualities)+len(a.Held) == 0 {
		return nil
	}
	_, err := l.state.Apply(&state.AdaptSources{Workflow: w.Name, Version: w.Version, Why: why.Error(), At: now})
	return err
}

// commit commits a decision if it is news to the agents.
func (l *Leader) commit(snap *state.Snapshot, w *state.Workflow, mind *workflow, d *quality.Decision, now time.Time) error {
	next := tiering.Adaptation{Qualities: map[string]tiering.Quality{}, Held: map[string]string{}}
	for _, s := range d.Sources {
		next.Qualities[s.Source] = s.Quality
	}
	for _, r := range d.Refused {
		next.Held[r.Source] = r.Why
	}
	var before tiering.Adaptation
	a, ok := snap.Adaptation(w.Name)
	if ok {
		before = a.Adaptation
	}
	if maps.Equal(before.Qualities, next.Qualities) && maps.EqualFunc(before.Held, next.Held, func(string, string) bool { return true }) {
		return nil
	}
	kept, err := json.Marshal(memory{d.State, mind.rates, mind.joined})
	if err != nil {
		return err
	}
	_, err = l.state.Apply(&state.AdaptSources{Workflow: w.Name, Version: w.Version, Adaptation: next, Why: d.Why, Memory: kept, At: now})
	if errors.Is(err, state.ErrConflict) || errors.Is(err, state.ErrNotFound) {
		mind.due = now // it was submitted anew or stopped meanwhile
		return nil
	}
	return err
}

// tell fills in the status.
func (mind *workflow) tell(d *quality.Decision) {
	s := Status{Workflow: d.Workflow, Decision: d, Sources: []Source{}, F1: mind.f1()}
	s.Error, s.Predictions = mind.corrects.Error(quality.PartTotal)
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	for _, a := range d.Sources {
		s.Sources = append(s.Sources, Source{
			Source: a.Source, Quality: a.Quality, Estimated: ms(a.Latency), Measured: ms(mind.meter.latency[a.Source]), Accuracy: a.Accuracy, Why: a.Why,
		})
	}
	for _, r := range d.Refused {
		s.Sources = append(s.Sources, Source{Source: r.Source, Held: r.Why, Why: r.Why})
	}
	mind.status = s
}

// serving returns the placements of a workflow that frames go to, on the nodes
// where they are now.
func serving(snap *state.Snapshot, name string) []tiering.Placement {
	alive := func(node string) bool { n, _ := snap.Node(node); return n.Alive() }
	var out []tiering.Placement
	for _, p := range snap.PlacementsOf(name) {
		at := p.Serves(alive)
		n, ok := snap.Node(at)
		if !ok || !n.Alive() {
			continue
		}
		p.Node, p.Tier = at, n.Tier
		out = append(out, p)
	}
	return out
}

// profiled says what a frame was measured to take on a node by itself.
func profiled(snap *state.Snapshot) func(node string, t *tiering.Task) (time.Duration, bool) {
	return func(node string, t *tiering.Task) (time.Duration, bool) {
		n, ok := snap.Node(node)
		if !ok || t.Model == nil {
			return 0, false
		}
		p, ok := profile.Find(snap.ProfilesOf(node), planner.KeyOn(&n.Node, t))
		return p.ExecuteMean, ok
	}
}

// running are the sources and tasks of which there is an instance.
func running(ps []tiering.Placement) []string {
	var out []string
	for _, p := range ps {
		out = append(out, p.Task)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// random is what draws among equals; it follows from the state.
func random(workflow string, index uint64) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(workflow)) // never fails
	return rand.New(rand.NewPCG(index, h.Sum64()))
}
