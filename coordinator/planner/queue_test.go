package planner

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/tiering"
)

// lagging carries commands out in order, but only when someone waits for one.
type lagging struct {
	*bare
	due []func()
}

func (l *lagging) Propose(cmd state.Command) (func() (state.Result, error), error) {
	var (
		r    state.Result
		err  error
		done bool
	)
	l.due = append(l.due, func() { r, err = l.Apply(cmd); done = true })
	return func() (state.Result, error) {
		for !done {
			l.due[0]()
			l.due = l.due[1:]
		}
		return r, err
	}, nil
}

// What the queue plans when it is empty is what a plan from the state would
// be, whatever was under way and whatever came between.
func TestQueueKnowsTheState(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 0))
		b, l := newBare(t)
		var members []tiering.Member
		for i := range 8 {
			members = append(members, member(fmt.Sprintf("fog-%d", i), tiering.Fog, 8, tiering.NodeAlive))
		}
		members = append(members, member("edge-1", tiering.Edge, 2, tiering.NodeAlive))
		if err := l.ReconcileNodes(t.Context(), members, start); err != nil {
			t.Fatal(err)
		}
		lag, q := &lagging{bare: b}, NewQueue(nil)
		committed, overtaken, drained := 0, 0, false
		for round := range 20 {
			var under []*Proposal
			for k := range 1 + rng.IntN(4) {
				w := workflow(fmt.Sprintf("w%d-%d", round, k))
				full, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				p, err := q.Propose(full, lag, w, "", start)
				cancel()
				if errors.As(err, new(*tiering.Refused)) || errors.Is(err, context.DeadlineExceeded) {
					break // full, or would be with what is under way
				}
				if err != nil {
					t.Fatal(err)
				}
				under = append(under, p)
			}
			switch i := rng.IntN(8); rng.IntN(6) { // something else, after what is under way or before it
			case 0, 1:
				status := tiering.NodeFailed
				if n, _ := b.Snapshot().Node(fmt.Sprintf("fog-%d", i)); !n.Alive() {
					if _, err := b.Apply(&state.RegisterNode{Node: members[i].Node, At: start}); err != nil {
						t.Fatal(err)
					}
					break
				}
				if _, err := b.Apply(&state.SetNodeStatus{Node: fmt.Sprintf("fog-%d", i), Status: status, At: start}); err != nil {
					t.Fatal(err)
				}
			case 3:
				drained = !drained
				if _, err := b.Apply(&state.SetNodeDrain{Node: "fog-1", Drain: drained, At: start}); err != nil {
					t.Fatal(err)
				}
				if err := l.Move(t.Context(), idleProgress{}, start); err != nil {
					t.Fatal(err)
				}
			case 2:
				for _, w := range b.Snapshot().Workflows() {
					if _, err := b.Apply(&state.StopWorkflow{Name: w.Name, At: start}); err != nil {
						t.Fatal(err)
					}
				}
			}
			rng.Shuffle(len(under), func(i, j int) { under[i], under[j] = under[j], under[i] })
			for _, p := range under {
				switch err := q.Wait(p); {
				case err == nil:
					committed++
				case Overtaken(err):
					overtaken++
				default:
					t.Fatal(err)
				}
			}
			probe := workflow("probe")
			want, wantErr := Schedule(b.Snapshot().View(nil), probe)
			_, view, err := q.current(t.Context(), lag, probe.Name)
			if err != nil {
				t.Fatal(err)
			}
			got, gotErr := Schedule(view, probe)
			if (wantErr == nil) != (gotErr == nil) || wantErr == nil && !state.Same(got, want) {
				t.Fatalf("seed %d, round %d: the queue plans %+v (%v), the state says %+v (%v)", seed, round, got, gotErr, want, wantErr)
			}
		}
		if committed == 0 {
			t.Errorf("seed %d: nothing was committed; %d overtaken", seed, overtaken)
		}
	}
}

// idleProgress knows of no instance.
type idleProgress struct{}

func (idleProgress) Up(string, string, uint64) bool { return false }
func (idleProgress) Follows(string, uint64) bool    { return false }

// A workflow that is on its way is waited for, so that the same again changes
// nothing.
func TestQueueWaitsForTheSameWorkflow(t *testing.T) {
	b, l := newBare(t)
	mesh(t, l, tiering.NodeAlive, tiering.NodeAlive, start)
	lag, q := &lagging{bare: b}, NewQueue(nil)
	first, err := q.Propose(t.Context(), lag, workflow("people"), "document", start)
	if err != nil {
		t.Fatal(err)
	}
	again := make(chan *Proposal)
	go func() {
		p, err := q.Propose(t.Context(), lag, workflow("people"), "document", start)
		if err != nil {
			t.Error(err)
		}
		again <- p
	}()
	select {
	case <-again:
		t.Fatal("planned again what was under way")
	case <-time.After(20 * time.Millisecond):
	}
	if err := q.Wait(first); err != nil {
		t.Fatal(err)
	}
	n := len(b.log)
	if p := <-again; p == nil || !p.Plan.Empty() || q.Wait(p) != nil || len(b.log) != n {
		t.Errorf("the same again: %+v, %d commands", p, len(b.log)-n)
	}
}
