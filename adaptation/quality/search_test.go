package quality

import (
	"math"
	"testing"
)

// TestWaitingIsConvex checks what the search relies on: the number of frames
// that wait is convex and rises with load, and its derivatives are right.
func TestWaitingIsConvex(t *testing.T) {
	r := seeded(1)
	for range 100 {
		s := server{variability: 0.1 + r.Float64(), exponent: exponent(1 + r.IntN(200)), limit: 0.95}
		s.atLimit, s.slope, _ = s.waiting(s.limit)
		const h = 1e-5
		for rho := 2 * h; rho < 0.95-2*h; rho += 0.01 {
			before, d0, _ := s.waiting(rho - h)
			at, d, dd := s.waiting(rho)
			after, d1, _ := s.waiting(rho + h)
			if after < at || after-2*at+before < -1e-12*(1+at) || dd < 0 {
				t.Fatalf("%+v at %g: %g, %g, %g, curvature %g: not convex and rising", s, rho, before, at, after, dd)
			}
			if n := (after - before) / (2 * h); math.Abs(n-d) > 1e-4*(1+math.Abs(d)) {
				t.Fatalf("%+v at %g: slope %g, numerically %g", s, rho, d, n)
			}
			if n := (d1 - d0) / (2 * h); math.Abs(n-dd) > 1e-3*(1+math.Abs(dd)) {
				t.Fatalf("%+v at %g: curvature %g, numerically %g", s, rho, dd, n)
			}
			if load, value := s.touch(d); math.Abs(load-rho) > 1e-6 && d > 1e-9 || value > at+1e-9 {
				t.Fatalf("%+v: the line of slope %g touches at %g, %g; want %g, %g", s, d, load, value, rho, at)
			}
		}
	}
}

// TestTangentIsABound checks the identity that the search is built on, for
// random distributions and whatever prices the relaxation ends with.
func TestTangentIsABound(t *testing.T) {
	checked := 0
	for seed := range uint64(150) {
		r := seeded(seed)
		v := drawView(r, 1+r.IntN(3), 12, 2+r.IntN(4), r.IntN(2) == 0)
		params := everyKnob()
		p, _ := newProblem(&v, &params, v.counts())
		empty := false
		for _, g := range p.classes {
			empty = empty || g.first == g.end
		}
		if empty {
			continue
		}
		g := goal{kind: kind(r.IntN(3)), floor: r.Float64() * p.frames, ceiling: p.worst * r.Float64(), price: p.worst / p.frames * r.Float64()}
		tg, _ := p.relax(g)
		s := &search{problem: p, t: tg}
		loads := make([]float64, len(p.stations))
		for range 50 {
			n := make([]int, len(p.options))
			for _, c := range p.classes {
				for range c.sources {
					n[c.first+r.IntN(c.end-c.first)]++
				}
			}
			e := p.evaluate(n, loads)
			if e.over > 0 {
				continue
			}
			checked++
			sum := tg.base
			for x, k := range n {
				sum += float64(k) * tg.reduced[x]
				if tg.reduced[x] < 0 {
					t.Fatalf("seed %d: option %d costs %g less than the cheapest", seed, x, -tg.reduced[x])
				}
			}
			for st := range loads {
				d := s.distance(st, loads[st])
				if d < 0 {
					t.Fatalf("seed %d: distance %g", seed, d)
				}
				sum += d
			}
			scale := p.worst + tg.price*p.frames + math.Abs(tg.base)
			if got := e.delay - tg.price*e.accuracy; math.Abs(got-sum) > 1e-7*scale {
				t.Fatalf("seed %d, %v: F − tA is %g, and the bound and what is above it %g", seed, n, got, sum)
			}
		}
	}
	if checked < 1000 {
		t.Errorf("only %d distributions could be served", checked)
	}
}
