package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// strike carries one fault out: it waits for its time, begins it, and ends it.
func (r *runner) strike(ctx context.Context, rec *recorder, i int, f Fault) {
	sleep(ctx, time.Until(rec.began.Add(f.At)))
	node := r.target(rec, f)
	mark := func(what What, err error) {
		m := &Mark{What: what, Fault: i, Node: node, Text: fmt.Sprintf("%s: %s", what, f)}
		if err != nil {
			m.Error = err.Error()
		}
		rec.add(Observation{Mark: m})
		r.Step(m.Text)
	}
	if ctx.Err() != nil {
		return
	}
	hurt := r.hurt(f, node)
	err := r.begin(ctx, f, node)
	r.tell(rec, hurt)
	mark(Begun, err)
	sleep(ctx, time.Until(rec.began.Add(f.End())))
	// What was begun is ended also when the run is interrupted.
	err = r.finish(context.WithoutCancel(ctx), f, node)
	r.tell(rec, hurt)
	mark(Ended, err)
}

// target is the node that a fault strikes.
func (r *runner) target(rec *recorder, f Fault) string {
	switch f.Target {
	case Leader, Follower:
	default:
		return f.Target
	}
	leader := ""
	rec.look(func(v *view) string { leader = v.leader(); return "" })
	for _, c := range r.plant.Coordinators {
		if f.Target == Leader && c == leader || f.Target == Follower && c != leader {
			return c
		}
	}
	return r.plant.Coordinators[0] // there is no leader now
}

// hurt are the nodes whose processes a fault is about.
func (r *runner) hurt(f Fault, node string) []string {
	if f.Kind == KillCoordinators {
		return r.plant.Coordinators
	}
	if node == "" {
		return nil
	}
	return []string{node}
}

// tell records how the nodes' processes are now: that a node was killed is known
// before anything is concluded from what it said last.
func (r *runner) tell(rec *recorder, nodes []string) {
	for _, n := range nodes {
		seen := r.observer.process(n)
		if !seen.Up || seen.Paused {
			rec.add(Observation{Node: seen})
		}
	}
}

func (r *runner) begin(ctx context.Context, f Fault, node string) error {
	switch f.Kind {
	case KillLeader, KillNode, KillCoordinators:
		var errs []error
		for _, n := range r.hurt(f, node) {
			errs = append(errs, r.apply(ctx, testbed.Event{Action: testbed.Kill, Node: n}))
		}
		return errors.Join(errs...)
	case PartitionCoordinators, PartitionEdge:
		return r.each(ctx, testbed.Partition, f, node)
	case Loss:
		return r.each(ctx, testbed.Change, f, node)
	case Clock:
		if err := r.Harm.SetClock(node, f.Offset); err != nil {
			return err
		}
		if f.Restart {
			if err := r.apply(ctx, testbed.Event{Action: testbed.Kill, Node: node}); err != nil {
				return err
			}
			return r.apply(ctx, testbed.Event{Action: testbed.Start, Node: node})
		}
		return r.clockIs(ctx, node, f.Offset)
	case Pause:
		return r.apply(ctx, testbed.Event{Action: testbed.Pause, Node: node})
	case DiskFull:
		return r.Harm.Fill(node)
	}
	return fmt.Errorf("there is no fault %q", f.Kind)
}

func (r *runner) finish(ctx context.Context, f Fault, node string) error {
	switch f.Kind {
	case KillLeader, KillNode, KillCoordinators:
		var errs []error
		for i, n := range r.hurt(f, node) {
			if i > 0 {
				sleep(ctx, r.apart)
			}
			errs = append(errs, r.apply(ctx, testbed.Event{Action: testbed.Start, Node: n}))
		}
		return errors.Join(errs...)
	case PartitionCoordinators, PartitionEdge:
		return r.each(ctx, testbed.Heal, f, node)
	case Loss:
		return r.each(ctx, testbed.Restore, f, node)
	case Clock:
		err := r.clockIs(ctx, node, f.Offset)
		return errors.Join(err, r.Harm.SetClock(node, 0))
	case Pause:
		return r.apply(ctx, testbed.Event{Action: testbed.Resume, Node: node})
	case DiskFull:
		return r.Harm.Free(node)
	}
	return nil
}

// each applies an event to every pair of ends that the fault is about.
func (r *runner) each(ctx context.Context, a testbed.Action, f Fault, node string) error {
	var ends []testbed.Ends
	switch f.Kind {
	case PartitionCoordinators:
		for _, c := range r.plant.Coordinators {
			if c != node {
				ends = append(ends, testbed.Ends{A: testbed.End{Node: node}, B: testbed.End{Node: c}})
			}
		}
	case PartitionEdge:
		ends = append(ends, testbed.Ends{A: testbed.End{Tier: tiering.Edge}, B: testbed.End{Tier: tiering.Fog}})
	case Loss:
		for _, l := range r.Scenario.Network.Tiers {
			ends = append(ends, testbed.Ends{A: testbed.End{Tier: l.A}, B: testbed.End{Tier: l.B}})
		}
	}
	var errs []error
	for _, e := range ends {
		event := testbed.Event{Action: a, Ends: e}
		if a == testbed.Change {
			event.Link.Loss = &f.Loss
		}
		errs = append(errs, r.apply(ctx, event))
	}
	return errors.Join(errs...)
}

// clockIs checks that a node's clock is off by as much as it was set: a weftd
// that was not built for it would not notice.
func (r *runner) clockIs(ctx context.Context, node string, off time.Duration) error {
	if !r.Ground.Process(node).Lives() {
		return nil // another fault's doing; it is seen as such
	}
	var last error
	for range 5 {
		_, date, err := r.observer.scrape(ctx, node, watched)
		if last = err; err == nil {
			// The header has whole seconds, and is made once a second.
			if wrong := time.Until(date) - off; wrong.Abs() > 5*time.Second {
				return fmt.Errorf("the clock of %s is off by %s and should be by %s: does it run a weftd built by scripts/chaos-weftd?",
					node, time.Until(date).Round(time.Second), off)
			}
			return nil
		}
		sleep(ctx, answerWithin)
	}
	return fmt.Errorf("what time it is on %s: %w", node, last)
}
