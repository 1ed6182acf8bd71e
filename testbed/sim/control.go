package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/weft-mesh/weft/coordinator/adapter"
	"github.com/weft-mesh/weft/coordinator/kpi"
	"github.com/weft-mesh/weft/coordinator/planner"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/sim/des"
	"github.com/weft-mesh/weft/tiering"
)

// The kinds of events of the control plane.
const (
	evTimeline uint8 = evControl + iota // a: event of the timeline
	evMember                            // a: coordinator, b: node, c: generation
	evElect
	evRound  // the leader looks again
	evMoves  // it looks how far moves are
	evAdapt  // it adapts qualities; c: generation
	evAssign // a: node, c: generation
	evEnded  // a: node on which something has ended
	evSample
	evMeasure // the warm-up is over
	evOver
)

// The pace of the control plane.
const (
	// A leader that is gone is missed after one to two times Raft's heartbeat
	// timeout of 1 s, drawn by each follower, and the first to miss it is
	// elected within round trips.
	electLeast  = time.Second
	electSpread = time.Second
	// reconcile is how often a leader looks again what failed before.
	reconcile = 5 * time.Second
	// report is how often agents say what they run, which moves wait for.
	report = time.Second
	// maxRetry is the longest that an agent waits before it asks again for its
	// assignments: see package agent.
	maxRetry = 5 * time.Second
)

// control is the control plane, with the run as a whole.
type control struct {
	*plane
	cfg      Config
	scenario *testbed.Scenario
	costs    testbed.Costs
	topology *testbed.Topology
	number   map[string]int32 // of a node by name

	// The replicated state, and who leads.
	machine  *state.Machine
	index    uint64
	leader   int32 // node; none: nobody
	term     *planner.Leader
	adapter  *adapter.Leader
	reports  *kpi.Reports // as the leader has them
	due      uint32       // generation of the pending evAdapt
	electing bool         // an evElect is pending
	looking  bool         // an evRound is pending
	tending  bool         // an evMoves is pending
	luck     des.Stream

	coordinators []coordinator
	agents       []agent // by node
	joined       [][]bool
	trips        [][]time.Duration // round trips, as last measured; negative: never
	asked        int               // sources of the scenario and its reserve that are to run
	models       []string          // that every node can load

	rec   *testbed.Recording
	zero  time.Duration // end of the warm-up
	begun bool          // the warm-up
	over  bool
}

// newControl makes the run, at the moment before the workflow is submitted.
func newControl(cfg Config, costs testbed.Costs) (*control, error) {
	s := cfg.Scenario
	if cfg.Placer == nil {
		cfg.Placer = tiering.Await
	}
	w, err := s.WorkflowSpec(nil)
	if err != nil {
		return nil, err
	}
	if err := check(s, w, costs, cfg.CPUScale); err != nil {
		return nil, err
	}
	c := &control{
		plane: newPlane(cfg.Seed, realRules(), newStats(len(w.Tasks))),
		cfg:   cfg, scenario: s, costs: costs, topology: testbed.NewTopology(s),
		number: map[string]int32{}, machine: state.New(), leader: none, asked: len(s.Sources),
		rec: &testbed.Recording{Method: testbed.Simulated, Scenario: s.Name, Seed: cfg.Seed},
	}
	c.luck = c.stream("control")
	c.plane.rtt, c.plane.other = c.roundTrip, c.event
	c.plane.ended = func(n int32) {
		if c.agents[n].leaving {
			c.q.Add(c.now(), evEnded, n, 0, 0)
		}
	}
	for i := range w.Tasks {
		t := &w.Tasks[i]
		c.tasks = append(c.tasks, taskOf(t.Name, t.Type.Rank(), costs.Tasks[t.Name]))
		if t.Model != nil {
			c.models = append(c.models, t.Model.Name)
		}
	}
	slices.Sort(c.models)
	c.models = slices.Compact(c.models)
	broker := none
	for _, n := range s.Nodes {
		idle := idleOf(n, costs)
		i := c.addNode(n.Name, n.Tier, newProcessor(float64(n.Cores)/1000, s.Quota(n, cfg.CPUScale), idle, s.CoreSpeed(cfg.CPUScale)), idle)
		c.nodes[i].turns.most = s.Turns(n, cfg.CPUScale)
		c.number[n.Name] = i
		if n.Coordinator {
			c.coordinators = append(c.coordinators, newCoordinator(i, len(s.Nodes)))
		}
		if n.Broker {
			broker = i
		}
	}
	c.agents = make([]agent, len(s.Nodes))
	for i := range c.agents {
		c.resetAgent(int32(i))
	}
	c.connect(broker)
	return c, nil
}

// event handles what the data plane does not know.
func (c *control) event(e des.Event) {
	switch e.Kind {
	case evTimeline:
		c.happen(c.scenario.Timeline[e.A])
	case evMember:
		c.notice(e.A, e.B, e.C)
	case evElect:
		c.elect()
	case evRound:
		c.looking = false
		c.round()
	case evMoves:
		c.tending = false
		c.round()
	case evAdapt:
		if e.C == c.due {
			c.adapt()
			c.distribute()
		}
	case evAssign:
		c.assign(e.A, e.C)
	case evEnded:
		c.left(e.A)
	case evSample:
		c.sample()
	case evMeasure:
		c.stats.measure()
		for i := range c.feeds {
			c.feeds[i].before = c.feeds[i].counts
		}
	case evOver:
		c.over = true
	}
}

// happen carries out an event of the timeline.
func (c *control) happen(e testbed.Event) {
	mark := testbed.Mark{At: c.now() - c.zero, Kind: testbed.Timeline, Type: string(e.Action), Subject: e.Node, Message: e.String()}
	switch e.Action {
	case testbed.Partition, testbed.Heal, testbed.Change, testbed.Restore:
		mark.Subject = e.Ends.String()
	case testbed.Sources:
		mark.Subject = c.scenario.Workflow.Name
	}
	at := len(c.rec.Marks)
	c.rec.Marks = append(c.rec.Marks, mark)
	if err := c.carryOut(e); err != nil {
		c.rec.Marks[at].Error = err.Error()
	}
}

func (c *control) carryOut(e testbed.Event) error {
	switch e.Action {
	case testbed.Sources:
		return c.changeSources(e.Count)
	case testbed.Drain, testbed.Undrain:
		return c.setDrain(e.Node, e.Action == testbed.Drain)
	}
	if err := c.topology.Apply(e); err != nil {
		return err
	}
	if e.Node != "" {
		if err := c.handleNode(e.Action, e.Node); err != nil {
			return err
		}
	}
	c.rewire()
	if e.Action == testbed.Start {
		c.disconnect(c.number[e.Node])
	}
	return nil
}

// handleNode does something to a node.
func (c *control) handleNode(do testbed.Action, name string) error {
	n, ok := c.number[name]
	if !ok {
		return fmt.Errorf("there is no node %s", name)
	}
	switch x := &c.nodes[n]; {
	case do == testbed.Start && x.up:
		return fmt.Errorf("weftd runs on %s", name)
	case do != testbed.Start && !x.up:
		return fmt.Errorf("weftd is down on %s", name)
	case do == testbed.Resume && !x.paused:
		return fmt.Errorf("weftd is not paused on %s", name)
	case do != testbed.Resume && do != testbed.Kill && x.paused:
		return fmt.Errorf("weftd is paused on %s", name)
	}
	switch do {
	case testbed.Kill:
		c.kill(n)
		c.resetAgent(n)
	case testbed.Stop:
		c.agents[n].leaving = true
		c.drain(n)
		c.q.Add(c.now(), evEnded, n, 0, 0)
	case testbed.Start:
		c.start(n)
		c.resetAgent(n)
	case testbed.Pause, testbed.Resume:
		c.pause(n, do == testbed.Pause)
	}
	return nil
}

// left ends a node that was told to stop, once all that ran on it has ended. It
// says good-bye: the others know at once.
func (c *control) left(n int32) {
	if a := &c.agents[n]; !a.leaving || !c.idle(n) {
		return
	}
	c.resetAgent(n)
	c.agents[n].left = true
	c.leave(n)
	c.sayGoodbye(n)
	c.rewire()
	c.disconnect(n)
}

// changeSources submits the workflow with more or fewer sources.
func (c *control) changeSources(by int) error {
	all := slices.Concat(c.scenario.Sources, c.scenario.Reserve)
	n := c.asked + by
	if n < 1 || n > len(all) {
		return fmt.Errorf("of the scenario's %d sources, %d cannot run", len(all), n)
	}
	if c.leader == none {
		return errors.New("no coordinator leads")
	}
	if err := c.submit(all[:n]); err != nil {
		return err
	}
	c.asked = n
	return nil
}

// setDrain begins or ends the draining of a node.
func (c *control) setDrain(node string, on bool) error {
	if c.leader == none {
		return errors.New("no coordinator leads")
	}
	_, err := c.Apply(&state.SetNodeDrain{Node: node, Drain: on, At: c.date()})
	c.round()
	return err
}

// submit hands the workflow with these sources to the leader.
func (c *control) submit(sources []testbed.Source) error {
	document, err := c.scenario.WorkflowDocument(testbed.DocumentOptions{Sources: sources})
	if err != nil {
		return err
	}
	spec, err := c.scenario.WorkflowSpec(sources)
	if err != nil {
		return err
	}
	if _, _, err := c.term.Submit(context.Background(), spec, string(document), c.date()); err != nil {
		return err
	}
	c.adapt()
	c.distribute()
	return nil
}

// Snapshot and Apply make control a planner.State and an adapter.State: what its leader commits is
// carried out at once.
func (c *control) Snapshot() *state.Snapshot { return c.machine.Snapshot() }

// Apply implements planner.State.
func (c *control) Apply(cmd state.Command) (state.Result, error) {
	entry, err := state.Encode(cmd)
	if err != nil {
		return state.Result{}, err
	}
	c.index++
	result, err := c.machine.Apply(c.index, entry)
	if err != nil {
		return result, err
	}
	for _, e := range result.Events {
		c.rec.Marks = append(c.rec.Marks, testbed.Mark{
			At: c.now() - c.zero, Kind: testbed.Decision, Type: string(e.Type), Subject: e.Subject, Message: e.Message,
		})
	}
	return result, result.Err
}

// date is the time that commands carry.
func (c *control) date() time.Time { return time.Unix(0, 0).UTC().Add(c.now()) }

// members is membership as a coordinator sees it.
func (c *control) members(of *coordinator) []tiering.Member {
	out := make([]tiering.Member, 0, len(c.nodes))
	for i := range c.scenario.Nodes {
		n := c.describe(&c.scenario.Nodes[i])
		out = append(out, tiering.Member{Node: n, Status: of.seen[i].status, Free: n.Capacity})
	}
	return out
}

// describe is what a node says of itself.
func (c *control) describe(n *testbed.Node) tiering.Node {
	out := tiering.Node{ID: n.Name, Tier: n.Tier, Models: c.models, Addresses: tiering.Addresses{Data: n.Name}, Uplink: c.scenario.Uplink(n.Tier)}
	if !n.Dedicated {
		out.Capacity = tiering.Resources{CPU: n.Cores, Memory: n.Memory, Disk: n.Disk}
	}
	out.Platforms = []tiering.Platform{{Type: "cpu", Count: int(max(1, (out.Capacity.CPU+999)/1000))}}
	return out
}

// round has the leader bring the state in step with membership and place what
// is not running, until nothing changes.
func (c *control) round() {
	if c.leader == none {
		return
	}
	of := c.coordinator(c.leader)
	ctx := context.Background()
	for range 10 {
		before := c.machine.Snapshot().Revision()
		err := c.term.ReconcileNodes(ctx, c.members(of), c.date())
		if err == nil {
			err = c.term.Replan(ctx, c.date())
		}
		if err == nil && c.term.Moves() {
			err = c.term.Move(ctx, progress{c}, c.date())
		}
		if err != nil {
			c.q.Add(c.now()+reconcile, evRound, 0, 0, 0)
			break
		}
		if c.machine.Snapshot().Revision() == before {
			break
		}
	}
	if c.term.Moves() && !c.tending {
		c.tending = true
		c.q.Add(c.now()+report, evMoves, 0, 0, 0)
	}
	c.adapt()
	c.distribute()
}

// newTerm begins the term of a leader.
func (c *control) newTerm(n int32) {
	c.leader = n
	log := slog.New(slog.DiscardHandler)
	c.term = planner.NewPlacing(c, c.roundTrip, c.cfg.Placer, log)
	c.reports = kpi.New()
	c.adapter = adapter.New(c, c.reports, c.roundTrip, log)
	c.round()
}
