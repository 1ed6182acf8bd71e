package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/tiering"
)

// harness is what all benchmarks use.
type harness struct {
	options
	dir  string // temporary
	out  io.Writer
	pair pair
	rng  *rand.Rand // of the order of turns; the same in each run
}

func newHarness(o options, dir string, out io.Writer) *harness {
	return &harness{options: o, dir: dir, out: out, rng: rand.New(rand.NewPCG(1, 2))}
}

// say prints a line of progress.
func (h *harness) say(format string, args ...any) {
	fmt.Fprintf(h.out, "    "+format+"\n", args...)
}

// pair is two nodes of one mesh, with the certificates that all contenders use.
type pair struct{ from, to *pki.Identity }

const validity = 24 * time.Hour

func newPair() (pair, error) {
	ca, err := newCA()
	if err != nil {
		return pair{}, err
	}
	from, err := ca.Issue(pki.Subject{Role: pki.Agent, Tier: tiering.Edge, Name: "edge-1"}, nil, time.Now(), validity)
	if err != nil {
		return pair{}, err
	}
	to, err := ca.Issue(pki.Subject{Role: pki.Agent, Tier: tiering.Fog, Name: "fog-1"}, nil, time.Now(), validity)
	return pair{from, to}, err
}

func newCA() (*pki.CA, error) { return pki.NewCA("bench", time.Now(), validity) }

// side is one side of a comparison: measure takes its turn.
type side struct {
	name    string
	measure func(context.Context) (float64, error)
}

// interleave lets the sides take turns, each time in another order, so that
// what else the machine does meets all of them and none always follows the same
// one. What the one before has left to the collector is collected first. It
// returns the turns of each side.
func (h *harness) interleave(ctx context.Context, what string, runs int, sides ...side) ([][]float64, error) {
	out := make([][]float64, len(sides))
	for i := range out {
		out[i] = make([]float64, runs)
	}
	for run := range runs {
		for _, i := range h.rng.Perm(len(sides)) {
			runtime.GC()
			v, err := sides[i].measure(ctx)
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", sides[i].name, err)
			}
			out[i][run] = v
		}
		line := ""
		for i, s := range sides {
			line += fmt.Sprintf("  %s %s", s.name, short(out[i][run]))
		}
		h.say("%s, turn %d of %d:%s", what, run+1, runs, line)
	}
	return out, nil
}

// pause waits; an error says that ctx ended before.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// eventually polls until ok.
func eventually(ctx context.Context, what string, limit time.Duration, ok func() bool) error {
	end := time.Now().Add(limit)
	for !ok() {
		if time.Now().After(end) {
			return fmt.Errorf("waited %s for %s", limit, what)
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
