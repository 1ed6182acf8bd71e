package chaos

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/pipeline"
)

// What is allowed.
const (
	// LeaderWithin is from the death of a leader until another leads.
	LeaderWithin = 5 * time.Second
	// GapWithin is the longest time without a delivered frame of a source,
	// where coordinators alone are hurt.
	GapWithin = time.Second
	// WellWithin is from the end of the faults until all is well.
	WellWithin = 60 * time.Second
	// TwiceWithin is how long a placement may run on two nodes that both are in
	// touch with the leader: an agent that had lost its coordinators asks again
	// after 5 s at most.
	TwiceWithin = 6 * time.Second
	// spentAfter is how long after its deadline a frame is given up at the
	// latest, and reported: the ledger's 5 s and one to say so.
	spentAfter = 6 * time.Second
	// LeaderLossyWithin is LeaderWithin where every link loses packets.
	LeaderLossyWithin = 15 * time.Second
	// DroppedWithin is the share of the frames captured that may be dropped where
	// coordinators alone are hurt.
	DroppedWithin = 0.2
	// lookedEvery is about how far two looks at different nodes are apart.
	lookedEvery = 500 * time.Millisecond
)

// Invariant is something that must hold.
type Invariant string

// The invariants.
const (
	NewLeader   Invariant = "leader"      // another leads within LeaderWithin
	Kept        Invariant = "workflows"   // no committed workflow is lost or changed
	Once        Invariant = "once"        // no placement runs twice, no frame is analysed twice
	AddsUp      Invariant = "accounting"  // captured = delivered + dropped + in flight
	Recovers    Invariant = "recovery"    // all is well again within WellWithin
	Undisturbed Invariant = "undisturbed" // faults of coordinators restart no stage and hold up no frame
	Agreement   Invariant = "agreement"   // coordinators know the same
	Survives    Invariant = "survives"    // no weftd ends by itself
	Led         Invariant = "led"         // where nothing touches the coordinators, one of them leads
	CarriedOut  Invariant = "carried out" // the faults were what they say
)

// Violation is an invariant that did not hold.
type Violation struct {
	Invariant Invariant     `json:"invariant"`
	At        time.Duration `json:"at"`
	What      string        `json:"what"`
}

func (v Violation) String() string {
	return fmt.Sprintf("%s at %.1f s: %s", v.Invariant, v.At.Seconds(), v.What)
}

// Verdict is what a record shows.
type Verdict struct {
	Round   Round    `json:"round"`
	Targets []string `json:"targets"` // of the faults, in their order
	// Recovery is from the end of the last fault until all was well, and stayed
	// so; where a node is killed whose work others can do, from its death. Nil:
	// never.
	Recovery *time.Duration `json:"recovery"`
	// Whole is from the end of the last fault until all nodes were back, too, and
	// the coordinators agreed. Nil: never.
	Whole *time.Duration `json:"whole"`
	// Waited is from the moment from which recovery counts to the end.
	Waited time.Duration  `json:"waited"`
	Leader *time.Duration `json:"leader,omitempty"` // from a leader's loss to the next
	// Gap is the longest time in which certainly no frame of one source was
	// delivered.
	Gap        time.Duration `json:"gap"`
	GapAt      time.Duration `json:"gap_at"` // its end
	GapSource  string        `json:"gap_source"`
	Pressure   float64       `json:"pressure"`             // of the record
	Frames     Frames        `json:"frames"`               // of all sources, in this round
	Duplicates []string      `json:"duplicates,omitempty"` // placements that ran twice for too long
	Lost       []string      `json:"lost,omitempty"`       // workflows that are gone or changed
	// Commits are writes tried while the faults lasted, Acknowledged those of
	// them that must hold.
	Commits      int         `json:"commits"`
	Acknowledged int         `json:"acknowledged"`
	Violations   []Violation `json:"violations,omitempty"`
	// Record is the file of what was seen, below the run's directory.
	Record string `json:"record"`
}

// Failed reports whether an invariant did not hold.
func (v *Verdict) Failed() bool { return len(v.Violations) > 0 }

// Check judges a record. It is pure.
func Check(r *Record) *Verdict {
	c := &checking{
		Record: r, v: newView(r.Plant), out: &Verdict{Round: r.Round, Targets: make([]string, len(r.Round.Faults))},
		begun: make([]time.Duration, len(r.Round.Faults)), ended: make([]time.Duration, len(r.Round.Faults)),
		led: make([]bool, len(r.Round.Faults)), next: make([]time.Duration, len(r.Round.Faults)),
		twice: map[string]time.Duration{}, at: map[uint64]seenCoordinator{}, pids: map[string]int{}, answered: map[string]bool{}, starts: map[string]map[uint32]bool{},
		said: map[string]bool{}, deliveries: map[string]time.Duration{},
		captured: newTally(), delivered: newTally(), dropped: newTally(), lost: newTally(), processed: newTally(),
	}
	c.out.Pressure = r.Pressure
	for i := range r.Round.Faults {
		c.begun[i], c.ended[i], c.next[i] = never, never, never
	}
	c.marks()
	for _, o := range r.Seen {
		c.v.see(o)
		c.look(o)
	}
	c.end()
	return c.out
}

// never is later than everything.
const never = time.Duration(1<<63 - 1)

// checking is a record on its way through Check.
type checking struct {
	*Record
	v   *view
	out *Verdict

	begun, ended []time.Duration // of the faults; never: not seen
	led          []bool          // whether their targets did when they began
	next         []time.Duration // when there was a leader again
	from         time.Duration   // recovery is counted from then
	over         time.Duration   // all faults are over

	leaderless time.Duration              // since when; 0: one leads
	at         map[uint64]seenCoordinator // the first that said what it knows at an index
	pids       map[string]int             // of the nodes when they were first seen
	answered   map[string]bool            // nodes that did in this round
	before     *State                     // the last before the first fault
	twice      map[string]time.Duration   // since when a placement runs twice
	starts     map[string]map[uint32]bool // of each placement
	said       map[string]bool            // violations that are known
	deliveries map[string]time.Duration   // the newest of each source

	captured, delivered, dropped, lost, processed *tally
}

func (c *checking) bad(key string, i Invariant, format string, args ...any) {
	if key != "" && c.said[key] {
		return
	}
	c.said[key] = true
	c.out.Violations = append(c.out.Violations, Violation{i, c.v.at, fmt.Sprintf(format, args...)})
}

// marks finds when each fault began and ended.
func (c *checking) marks() {
	for _, o := range c.Seen {
		m := o.Mark
		if m == nil || m.Fault >= len(c.begun) {
			continue
		}
		switch m.What {
		case Begun:
			c.begun[m.Fault], c.out.Targets[m.Fault], c.led[m.Fault] = o.At, m.Node, m.Led
		case Ended:
			c.ended[m.Fault] = o.At
		case Committed, Stopped:
			if c.out.Commits++; m.Error == "" {
				c.out.Acknowledged++
			}
		}
	}
	for i, f := range c.Round.Faults {
		c.over = max(c.over, c.ended[i])
		if f.Kind == KillLeader || f.Kind == KillNode && !c.Plant.hasSource(c.out.Targets[i]) {
			c.from = max(c.from, c.begun[i]) // others take over
		} else {
			c.from = max(c.from, c.ended[i])
		}
	}
}

// hurt reports whether a fault has begun.
func (c *checking) hurt() bool {
	return slices.ContainsFunc(c.begun, func(t time.Duration) bool { return t <= c.v.at })
}

// alone reports whether the round is of one fault, on coordinators, or of none:
// then there is nothing that could excuse a stage or a frame.
func (c *checking) alone() bool {
	return len(c.Round.Faults) == 0 || len(c.Round.Faults) == 1 && c.Round.coordinatorsOnly(c.Plant)
}

func (c *checking) look(o Observation) {
	switch {
	case o.Mark != nil && o.Mark.Error != "" && (o.Mark.What == Begun || o.Mark.What == Ended):
		c.bad("", CarriedOut, "%s: %s", o.Mark.Text, o.Mark.Error)
	case o.Node != nil:
		c.node(o.Node)
	case o.Coordinator != nil:
		c.coordinator(o.Coordinator)
	}
	c.frames()
	c.runsTwice()
	c.leads()
	c.recovery()
}

func (c *checking) node(n *NodeSeen) {
	if n.Exit != "" {
		c.bad("exit "+n.Name+n.Exit, Survives, "weftd on %s ended by itself: %s", n.Name, n.Exit)
	}
	for _, i := range n.Instances {
		if strings.HasPrefix(i.ID, probePrefix) {
			continue // it is for us to start and stop
		}
		if c.starts[i.ID] == nil {
			c.starts[i.ID] = map[uint32]bool{}
		}
		c.starts[i.ID][i.Epoch] = true
	}
	if _, known := c.pids[n.Name]; !known {
		c.pids[n.Name] = n.PID
	}
	if !n.Answered {
		return
	}
	before := !c.answered[n.Name] && n.PID == c.pids[n.Name]
	c.answered[n.Name] = true
	for _, f := range n.Sources {
		if f.Captured != f.Delivered+f.Filtered+f.Dropped+f.InFlight {
			c.bad("sum "+f.Source, AddsUp, "source %s captured %d frames, of which %d were delivered, %d filtered, %d dropped, %d are in flight: %d are missing",
				f.Source, f.Captured, f.Delivered, f.Filtered, f.Dropped, f.InFlight, int64(f.Captured)-int64(f.Delivered+f.Filtered+f.Dropped+f.InFlight))
		}
		c.captured.add(before, f.Source, "", f.Captured)
		c.delivered.add(before, f.Source, "", f.Delivered)
		c.dropped.add(before, f.Source, "", f.Dropped)
		c.lost.add(before, f.Source, "", f.Why[lostFrames])
	}
	for _, w := range n.Stages {
		// A frame is analysed by one of a task's variants.
		group, _, _ := strings.Cut(w.Task, "@")
		c.processed.add(before, group, n.Name+"#"+w.Task+"#"+w.Replica, w.Processed)
	}
}

func (c *checking) coordinator(s *CoordinatorSeen) {
	if s.State != nil && !c.hurt() {
		c.before = s.State
	}
	if s.State != nil && s.State.Frames != nil {
		if f := s.State.Frames; f.Captured != f.Delivered+f.Filtered+f.Dropped+f.InFlight {
			c.bad("sum of "+s.Name, AddsUp, "the leader %s counts %d frames captured, %d delivered, %d filtered, %d dropped, %d in flight: %d are missing",
				s.Name, f.Captured, f.Delivered, f.Filtered, f.Dropped, f.InFlight, int64(f.Captured)-int64(f.Delivered+f.Filtered+f.Dropped+f.InFlight))
		}
	}
	if s.State != nil {
		if first, ok := c.at[s.Index]; !ok {
			c.at[s.Index] = seenCoordinator{*s, c.v.at}
		} else if d := difference(first.State, s.State); d != "" {
			c.bad(fmt.Sprint("index ", s.Index), Agreement, "%s and %s differ at index %d: %s", first.Name, s.Name, s.Index, d)
		}
	}
	for i := range c.Round.Faults {
		other := s.Name != c.out.Targets[i] || c.v.at >= c.ended[i]
		if c.led[i] && c.begun[i] <= c.v.at && c.next[i] == never && s.Leader == s.Name && other {
			c.next[i] = c.v.at
		}
	}
}

// leads follows whether there is a leader where no fault touches coordinators.
func (c *checking) leads() {
	if c.Round.touchesCoordinators(c.Plant) {
		return
	}
	switch {
	case c.v.leader() != "":
		c.leaderless = 0
	case c.leaderless == 0:
		c.leaderless = c.v.at
	case c.v.at-c.leaderless > LeaderWithin:
		c.bad("leaderless", Led, "the coordinators have agreed on no leader for %s, though nothing was done to them", LeaderWithin)
	}
}

// frames follows when the sources' frames were delivered.
func (c *checking) frames() {
	for _, src := range c.Plant.Sources {
		d := c.v.frames[src.Name]
		if d == nil {
			continue
		}
		last, known := c.deliveries[src.Name]
		if !known {
			c.deliveries[src.Name] = c.v.at // from the first look on
			continue
		}
		if d.last > last {
			c.gap(src.Name, last, d.before)
			c.deliveries[src.Name] = d.last
		}
	}
}

// gap is a time without frames. What was before the fault is not its doing.
func (c *checking) gap(source string, from, to time.Duration) {
	if len(c.begun) > 0 && to < slices.Min(c.begun) {
		return
	}
	if to-from > c.out.Gap {
		c.out.Gap, c.out.GapAt, c.out.GapSource = to-from, to, source
	}
}

// runsTwice follows placements that run on two nodes which the leader reaches.
func (c *checking) runsTwice() {
	alive := map[string]bool{}
	if s, ok := c.v.told(); ok {
		for _, m := range s.State.Nodes {
			alive[m.Name] = m.Status == "alive"
		}
	}
	for id, at := range c.v.running() {
		at = slices.DeleteFunc(at, func(n string) bool { return !alive[n] || !c.v.lives(n) })
		since, was := c.twice[id]
		switch {
		case len(at) < 2:
			delete(c.twice, id)
		case !was:
			c.twice[id] = c.v.at
		case c.v.at-since > TwiceWithin && !slices.Contains(c.out.Duplicates, id):
			c.out.Duplicates = append(c.out.Duplicates, id)
			c.bad("", Once, "%s has run on %s at once for %.1f s", id, strings.Join(at, " and "), (c.v.at - since).Seconds())
		}
	}
}

// recovery notes since when all is well, and whole. Either is settled when it has
// lasted for quietFor, or to the end.
func (c *checking) recovery() {
	if c.v.at >= c.from && !c.settled(c.from, c.out.Recovery) {
		c.out.Recovery = c.since(c.from, c.out.Recovery, "")
	}
	if c.v.at >= c.over && !c.settled(c.over, c.out.Whole) {
		c.out.Whole = c.since(c.over, c.out.Whole, c.v.agree())
	}
}

func (c *checking) settled(from time.Duration, took *time.Duration) bool {
	return took != nil && c.v.at-(from+*took) >= quietFor
}

// since is how long it took until all was well; wanting is what else is to be
// for that to begin.
func (c *checking) since(from time.Duration, took *time.Duration, wanting string) *time.Duration {
	if c.v.ill(from) != "" || from == c.over && c.v.away() != "" {
		return nil
	}
	if took == nil && wanting == "" {
		now := c.v.at - from
		return &now
	}
	return took
}

// all says what is not as it was before the faults.
func (c *checking) all() string { return c.v.whole(c.over) }

// whole says what keeps the mesh from being whole: like ill, with all nodes, and
// with coordinators that agree.
func (v *view) whole(since time.Duration) string {
	if away := v.away(); away != "" {
		return away
	}
	if ill := v.ill(since); ill != "" {
		return ill
	}
	return v.agree()
}

// away names a node that does not live.
func (v *view) away() string {
	for _, n := range v.plant.Nodes {
		if !v.lives(n) {
			return fmt.Sprintf("%s does not live", n)
		}
	}
	return ""
}

// end judges what can be judged only at the end.
func (c *checking) end() {
	for i, f := range c.Round.Faults {
		if c.begun[i] == never || c.ended[i] == never {
			c.bad("", CarriedOut, "%s was not seen to begin and end", f)
			return // nothing can be said of the rest
		}
	}
	c.out.Waited = c.v.at - c.from
	for i, f := range c.Round.Faults {
		if !c.led[i] || !f.takesLeader() {
			continue
		}
		within := LeaderWithin
		if slices.ContainsFunc(c.Round.Faults, func(f Fault) bool { return f.Kind == Loss }) {
			within = LeaderLossyWithin
		}
		who := c.out.Targets[i]
		if c.next[i] == never {
			c.bad("", NewLeader, "nobody leads after %s of %s", f.Kind, who)
			continue
		}
		took := c.next[i] - c.begun[i]
		if c.out.Leader == nil || took > *c.out.Leader {
			c.out.Leader = &took
		}
		if took > within {
			c.bad("", NewLeader, "after %s of %s it took %.1f s until another led; %s are allowed", f.Kind, who, took.Seconds(), within)
		}
	}
	c.recovered()
	c.kept()
	c.accounted()
	for _, src := range c.Plant.Sources { // the gap that is open in the end
		if last, ok := c.deliveries[src.Name]; ok {
			c.gap(src.Name, last, c.v.frames[src.Name].looked)
		}
	}
	if c.alone() {
		c.undisturbed()
	}
}

func (c *checking) recovered() {
	why := c.all()
	switch {
	case c.out.Recovery == nil:
		c.bad("", Recovers, "not well again when we stopped waiting, %.0f s after the faults: %s", (c.v.at - c.from).Seconds(), why)
	case *c.out.Recovery > WellWithin:
		c.bad("", Recovers, "well again only after %.1f s; %s are allowed", c.out.Recovery.Seconds(), WellWithin)
	case c.out.Whole == nil:
		c.bad("", Recovers, "not whole again when we stopped waiting, %.0f s after the faults: %s", (c.v.at - c.over).Seconds(), why)
	}
	if d := c.v.agree(); d != "" {
		c.bad("", Agreement, "%s", d)
	}
}

// kept compares the workflows with those before.
func (c *checking) kept() {
	if c.before == nil {
		c.bad("", CarriedOut, "no coordinator said what it knew before the fault")
		return
	}
	for _, name := range c.Plant.Coordinators {
		s, ok := c.v.states[name]
		if !ok || s.at < c.over {
			c.bad("", Kept, "%s does not say what it knows after the faults", name)
			continue
		}
		c.acknowledged(name, s.State)
		for _, w := range c.before.Workflows {
			probe := strings.HasPrefix(w.Name, probePrefix)
			if probe && c.touched(w.Name) {
				continue
			}
			i := slices.IndexFunc(s.State.Workflows, func(x Workflow) bool { return x.Name == w.Name })
			var what string
			switch {
			case i < 0:
				what = "is lost"
			case s.State.Workflows[i].Version != w.Version || !s.State.Workflows[i].Submitted.Equal(w.Submitted):
				what = fmt.Sprintf("was version %d of %s and is %d of %s", w.Version, w.Submitted.Format(time.TimeOnly),
					s.State.Workflows[i].Version, s.State.Workflows[i].Submitted.Format(time.TimeOnly))
			case (w.Status == "stopped") != (s.State.Workflows[i].Status == "stopped"):
				what = fmt.Sprintf("was %s and is %s", w.Status, s.State.Workflows[i].Status)
			case s.State.Workflows[i].Instances < w.Instances && !probe:
				what = fmt.Sprintf("had %d instances placed and has %d", w.Instances, s.State.Workflows[i].Instances)
			default:
				continue
			}
			c.bad("", Kept, "workflow %s %s, on %s", w.Name, what, name)
			if !slices.Contains(c.out.Lost, w.Name) {
				c.out.Lost = append(c.out.Lost, w.Name)
			}
		}
	}
}

// touched reports whether a write to a workflow was tried in this round.
func (c *checking) touched(workflow string) bool {
	return slices.ContainsFunc(c.Seen, func(o Observation) bool {
		return o.Mark != nil && (o.Mark.What == Committed || o.Mark.What == Stopped) && o.Mark.Node == workflow
	})
}

// acknowledged compares what a coordinator knows with what was acknowledged in
// this round.
func (c *checking) acknowledged(coordinator string, s *State) {
	for _, o := range c.Seen {
		m := o.Mark
		if m == nil || m.Error != "" || m.What != Committed && m.What != Stopped {
			continue
		}
		i := slices.IndexFunc(s.Workflows, func(w Workflow) bool { return w.Name == m.Node })
		switch stopped := i >= 0 && s.Workflows[i].Status == "stopped"; {
		case m.What == Committed && i < 0:
			c.bad("", Kept, "workflow %s was acknowledged at %.1f s and is lost, on %s", m.Node, o.At.Seconds(), coordinator)
		case m.What == Committed && stopped:
			c.bad("", Kept, "workflow %s was acknowledged at %.1f s and is stopped, on %s", m.Node, o.At.Seconds(), coordinator)
		case m.What == Stopped && i >= 0 && !stopped:
			c.bad("", Kept, "workflow %s was stopped at %.1f s and is %s, on %s", m.Node, o.At.Seconds(), s.Workflows[i].Status, coordinator)
		default:
			continue
		}
		if !slices.Contains(c.out.Lost, m.Node) {
			c.out.Lost = append(c.out.Lost, m.Node)
		}
	}
}

// accounted looks at frames that nobody settles, and that were analysed twice.
func (c *checking) accounted() {
	room := uint64(0) // that looks at different nodes do not happen at once
	for _, src := range c.Plant.Sources {
		d := c.v.frames[src.Name]
		if d == nil {
			c.bad("", AddsUp, "nobody accounts for the frames of %s", src.Name)
			continue
		}
		f := d.newest
		if most := uint64(src.FPS*(c.Plant.Deadline+spentAfter).Seconds()) + 2; f.InFlight > most {
			c.bad("", AddsUp, "%d frames of %s are in flight; with its deadline it can be %d", f.InFlight, src.Name, most)
		}
		restarts := float64(c.captured.restarts[src.Name])
		room += uint64(src.FPS*(lookedEvery.Seconds()*(2+4*restarts)+c.Plant.Deadline.Seconds())) + 1
		c.out.Frames.Captured += c.captured.sum[src.Name]
		c.out.Frames.Delivered += c.delivered.sum[src.Name]
		c.out.Frames.Dropped += c.dropped.sum[src.Name]
		c.out.Frames.InFlight += f.InFlight
	}
	for _, task := range sortedKeys(c.processed.sum) {
		if n := c.processed.sum[task]; n > c.out.Frames.Captured+room {
			c.bad("", Once, "%s worked on %d frames, and only %d were captured", task, n, c.out.Frames.Captured)
		}
	}
	for _, src := range c.Plant.Sources {
		// A camera's node that stood still for longer than it waits for an outcome
		// gives frames up before it has read what came meanwhile.
		still := slices.ContainsFunc(c.Round.Faults, func(f Fault) bool { return f.Kind == Pause && f.Target == src.Node })
		if n := c.lost.sum[src.Name]; n > 0 && !still {
			c.bad("", AddsUp, "%d frames of %s were never heard of again", n, src.Name)
		}
	}
	for _, sink := range c.Plant.Sinks {
		if n := c.processed.sum[sink]; c.out.Frames.Delivered > n+room {
			c.bad("", AddsUp, "%d frames are told to be delivered, and %s worked on %d", c.out.Frames.Delivered, sink, n)
		}
	}
}

// lostFrames is the reason of frames that nobody settled.
const lostFrames = string(pipeline.ReasonLost)

// undisturbed: no stage was started again, no frame was held up.
func (c *checking) undisturbed() {
	for _, id := range sortedKeys(c.starts) {
		if n := len(c.starts[id]); n > 1 {
			c.bad("", Undisturbed, "%s was started again, though only coordinators were hurt (%d starts)", id, n)
		}
	}
	most := cmp.Or(c.Gap, GapWithin)
	if c.out.Gap > most {
		c.bad("", Undisturbed, "no frame of %s was delivered for %.2f s up to %.1f s, though only coordinators were hurt; %s are allowed",
			c.out.GapSource, c.out.Gap.Seconds(), c.out.GapAt.Seconds(), most)
	}
	// Who allows longer gaps, for a machine that is busy, allows more drops, too.
	share := DroppedWithin * most.Seconds() / GapWithin.Seconds()
	if f := c.out.Frames; float64(f.Dropped) > share*float64(f.Captured)+1 {
		c.bad("", Undisturbed, "%d of %d frames were dropped, though only coordinators were hurt; %.0f %% are allowed", f.Dropped, f.Captured, 100*share)
	}
}
