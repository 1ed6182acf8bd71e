package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// strike carries one fault out: it waits for its time, begins it, and ends it.
// What before does, if it is not nil, is done when the fault begins.
func (r *runner) strike(ctx context.Context, rec *recorder, i int, f Fault, before func()) {
	sleep(ctx, time.Until(rec.began.Add(f.At)))
	node, led, missed := r.target(ctx, rec, f)
	if before != nil {
		before()
	}
	mark := func(what What, err error) {
		m := &Mark{What: what, Fault: i, Node: node, Text: fmt.Sprintf("%s: %s", what, f), Led: led}
		if err != nil {
			m.Error = err.Error()
		}
		rec.add(Observation{Mark: m})
		r.Step(m.Text)
	}
	if ctx.Err() != nil {
		return
	}
	if missed != nil {
		mark(Begun, missed)
		mark(Ended, missed)
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

// target is the node that a fault strikes, and whether it leads. Where the
// leader is to be struck, or not to be, the coordinators are to agree on who it
// is.
func (r *runner) target(ctx context.Context, rec *recorder, f Fault) (node string, led bool, err error) {
	leader := ""
	find := func() string {
		rec.look(func(v *view) string { leader = v.leader(); return "" })
		return leader
	}
	for end := time.Now().Add(agreeWithin); find() == "" && time.Now().Before(end) && ctx.Err() == nil; {
		sleep(ctx, lookEvery)
	}
	node = f.Target
	if f.Target == Leader || f.Target == Follower {
		i := slices.IndexFunc(r.plant.Coordinators, func(c string) bool { return (c == leader) == (f.Target == Leader) })
		if leader == "" || i < 0 {
			return "", false, fmt.Errorf("there is no %s to strike: the coordinators did not agree on a leader for %s", f.Target, agreeWithin)
		}
		node = r.plant.Coordinators[i]
	}
	return node, leader != "" && (node == leader || f.Kind == KillCoordinators), nil
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

// tell records how the nodes' processes are now: that a node was killed, or is
// up again, is known before anything is concluded from what it said last.
func (r *runner) tell(rec *recorder, nodes []string) {
	for _, n := range nodes {
		rec.add(Observation{Node: r.observer.process(n)})
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
