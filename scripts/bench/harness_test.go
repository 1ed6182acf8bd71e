package main

import (
	"context"
	"errors"
	"io"
	"testing"
)

func TestNoSideAlwaysFollowsTheSame(t *testing.T) {
	const sides, runs = 4, 40
	h := newHarness(options{}, "", io.Discard)
	var order []int
	var all []side
	for i := range sides {
		all = append(all, side{"", func(context.Context) (float64, error) {
			order = append(order, i)
			return float64(len(order)), nil
		}})
	}
	got, err := h.interleave(t.Context(), "", runs, all...)
	if err != nil {
		t.Fatal(err)
	}
	var after [sides][sides]int
	for at, i := range order {
		if at > 0 {
			after[order[at-1]][i]++
		}
		if got[i][at/sides] != float64(at+1) {
			t.Errorf("turn %d of side %d is %g, want %d", at/sides, i, got[i][at/sides], at+1)
		}
	}
	for i, row := range after {
		for k, n := range row {
			if i != k && (n == 0 || n > runs/2) {
				t.Errorf("side %d follows side %d %d times in %d turns", k, i, n, runs)
			}
		}
	}
}

func TestInterruptionIsTheCause(t *testing.T) {
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := newHarness(options{}, "", io.Discard).interleave(ctx, "", 1, side{"a", func(context.Context) (float64, error) {
		cancel(stop)
		return 0, io.ErrClosedPipe // as of a connection that is closed for it
	}})
	if err != stop {
		t.Errorf("got %v, want %v", err, stop)
	}
}
