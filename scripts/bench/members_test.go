package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// known is a mesh's figures when all went well.
func known() convergence {
	return convergence{joined: figure{turns: []float64{5}}, first: figure{turns: []float64{1, 2, 3}}, all: figure{turns: []float64{4, 5, 6}}, bytes: figure{turns: []float64{900}}}
}

func TestWhatWeftMissesIsTold(t *testing.T) {
	limit := meshWithin.Seconds()
	for what, x := range map[string]struct {
		ours, serf func(*convergence)
		want       string // per row: ours, whether the aim is met, note
	}{
		"both well":                   {want: "5 – | 2 met | 5 met | 900 –"},
		"Weft does not converge":      {ours: func(c *convergence) { *c = convergence{joined: figure{[]float64{limit}, true}} }, want: "130 – Weft reached the limit | 130 missed Weft reached the limit | 130 missed Weft reached the limit"},
		"Weft does not notice one":    {ours: func(c *convergence) { c.all, c.bytes = figure{[]float64{4, 5, 99}, true}, figure{} }, want: "5 – | 2 met | 5 missed Weft reached the limit"},
		"Serf does not notice one":    {serf: func(c *convergence) { c.all, c.bytes = figure{[]float64{4, 5, 99}, true}, figure{} }, want: "5 – | 2 met | 5 met Serf reached the limit"},
		"Serf does not converge":      {serf: func(c *convergence) { *c = convergence{joined: figure{[]float64{limit}, true}} }, want: "5 – Serf reached the limit"},
		"neither converges":           {ours: func(c *convergence) { *c = convergence{joined: figure{[]float64{limit}, true}} }, serf: func(c *convergence) { *c = convergence{joined: figure{[]float64{limit}, true}} }, want: "130 – Weft reached the limit, Serf reached the limit"},
		"Weft is interrupted at once": {ours: func(c *convergence) { *c = convergence{} }, want: ""},
	} {
		ours, serf := known(), known()
		if x.ours != nil {
			x.ours(&ours)
		}
		if x.serf != nil {
			x.serf(&serf)
		}
		var rows []string
		for _, r := range memberRows(ours, serf) {
			met := "–"
			if r.Met != nil {
				met = map[bool]string{true: "met", false: "missed"}[*r.Met]
			}
			rows = append(rows, strings.TrimSpace(short(r.Ours)+" "+met+" "+r.Note))
		}
		if got := strings.Join(rows, " | "); got != x.want {
			t.Errorf("%s: %q, want %q", what, got, x.want)
		}
	}
}

// oblivious is a member that learns of failures when it is told.
type oblivious struct {
	member
	mu   sync.Mutex
	dead []string
	hint chan struct{}
}

func (o *oblivious) failed() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.dead)
}

func (o *oblivious) changed() <-chan struct{} { return o.hint }

func (o *oblivious) tell(names ...string) {
	o.mu.Lock()
	o.dead = append(o.dead, names...)
	o.mu.Unlock()
	o.hint <- struct{}{}
}

func TestNoticed(t *testing.T) {
	for _, x := range []struct {
		cause      error // nil: all is noticed
		first, all int
		late       bool
	}{
		{nil, 2, 2, false},
		{errLimit, 2, 2, true},
		{errors.New("interrupted"), 1, 0, false},
	} {
		a, b := &oblivious{hint: make(chan struct{}, 2)}, &oblivious{hint: make(chan struct{}, 2)}
		a.tell("x")
		if x.cause == nil {
			a.tell("y")
			b.tell("y", "x")
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		// Both are seen waiting once the hints are taken.
		go func() {
			_ = eventually(ctx, "all hints to be taken", time.Minute, func() bool { return len(a.hint)+len(b.hint) == 0 })
			if x.cause != nil {
				cancel(x.cause)
			}
		}()
		first, all, err := noticed(ctx, []member{a, b}, []string{"x", "y"}, time.Now())
		if !errors.Is(err, x.cause) || len(first.turns) != x.first || len(all.turns) != x.all || first.late != x.late || all.late != x.late {
			t.Errorf("until %v: first %+v, all %+v, %v; want %d and %d, late: %t", x.cause, first, all, err, x.first, x.all, x.late)
		}
		cancel(nil)
	}
}
