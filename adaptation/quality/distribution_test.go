package quality

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// enumerate calls f with every distribution.
func enumerate(p *problem, f func(n []int, e point)) {
	n, loads := make([]int, len(p.options)), make([]float64, len(p.stations))
	var fill func(c, x, left int)
	fill = func(c, x, left int) {
		switch {
		case c == len(p.classes):
			f(n, p.evaluate(n, loads))
		case x == p.classes[c].end-1:
			n[x] = left
			next := 0
			if c+1 < len(p.classes) {
				next = p.classes[c+1].sources
			}
			fill(c+1, x+1, next)
		default:
			for k := 0; k <= left; k++ {
				n[x] = k
				fill(c, x+1, left-k)
			}
		}
	}
	fill(0, 0, p.classes[0].sources)
}

// bruteAlgorithm1 is Algorithm 1, line by line.
func bruteAlgorithm1(p *problem, params *Params, floor float64) (best point, found bool) {
	var list []point // lines 1 to 6
	enumerate(p, func(_ []int, e point) {
		if e.over == 0 && e.accuracy >= (floor-1e-12)*p.frames {
			list = append(list, e)
		}
	})
	if len(list) == 0 { // lines 7 and 8
		return point{}, false
	}
	fastest := slices.MinFunc(list, func(a, b point) int { // line 9
		if a.delay != b.delay {
			return int(math.Copysign(1, a.delay-b.delay))
		}
		return int(math.Copysign(1, b.accuracy-a.accuracy))
	})
	best = fastest
	for _, x := range list { // lines 10 to 13, read so that the order of the list does not matter
		if x.delay-fastest.delay < params.Near.Seconds()*p.frames &&
			x.accuracy-fastest.accuracy >= params.MuchBetter*p.frames && x.accuracy > best.accuracy {
			best = x
		}
	}
	return best, true
}

// TestAlgorithm1AgainstEnumeration is Algorithm 1 (section V) on random small
// views: the answer found by the search is the one found by trying all.
func TestAlgorithm1AgainstEnumeration(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(1000) {
		r := seeded(seed)
		classes := 1 + r.IntN(2)
		v := drawView(r, classes, 14/(classes*classes), 2+r.IntN(3), r.IntN(2) == 0)
		params := everyKnob()
		floor := r.Float64()
		params.Near = ms(1 + 20*r.Float64())
		params.MuchBetter = 0.3 * r.Float64()
		p, unusable := newProblem(&v, &params, v.counts())
		if len(unusable) > 0 && slices.ContainsFunc(p.classes, func(g group) bool { return g.first == g.end }) {
			continue
		}
		if seed%4 == 0 { // what some distribution has exactly
			enumerate(p, func(_ []int, e point) {
				if e.over == 0 && r.IntN(20) == 0 {
					floor = e.accuracy / p.frames
				}
			})
		}
		want, found := bruteAlgorithm1(p, &params, floor)
		got := p.algorithm1(&params, floor)
		switch {
		case !found && got != nil:
			t.Fatalf("seed %d: enumeration finds nothing, the search %v", seed, got)
		case !found:
			seen["none"]++
			continue
		case got == nil:
			t.Fatalf("seed %d: the search finds nothing, enumeration %+v", seed, want)
		}
		if got.gap != 0 {
			t.Errorf("seed %d: not proven: gap %g", seed, got.gap)
		}
		if !near(got.delay, want.delay) || !near(got.accuracy, want.accuracy) {
			t.Fatalf("seed %d: the search has delay %.12g and accuracy %.12g, enumeration %.12g and %.12g (compromise %v)",
				seed, got.delay, got.accuracy, want.delay, want.accuracy, got.compromise)
		}
		seen[fmt.Sprintf("compromise %v", got.compromise)]++
	}
	for _, of := range []string{"none", "compromise true", "compromise false"} {
		if seen[of] < 50 {
			t.Errorf("only %d views of the kind %q: %v", seen[of], of, seen)
		}
	}
}

// TestBestUtilityAgainstEnumeration is equation 5 with a price on accuracy.
func TestBestUtilityAgainstEnumeration(t *testing.T) {
	served := 0
	for seed := range uint64(500) {
		r := seeded(seed)
		classes := 1 + r.IntN(2)
		v := drawView(r, classes, 14/(classes*classes), 2+r.IntN(3), r.IntN(2) == 0)
		params := everyKnob()
		theta, weight := 3*r.Float64(), 1+2*r.Float64()
		p, _ := newProblem(&v, &params, v.counts())
		if slices.ContainsFunc(p.classes, func(g group) bool { return g.first == g.end }) {
			continue
		}
		best := math.Inf(-1)
		enumerate(p, func(_ []int, e point) {
			if e.over == 0 {
				best = max(best, weight*e.accuracy-theta*e.delay)
			}
		})
		got := p.bestUtility(theta, weight)
		if (got == nil) != math.IsInf(best, -1) {
			t.Fatalf("seed %d: the search finds %v, enumeration %g", seed, got, best)
		}
		if got == nil {
			continue
		}
		served++
		if u := weight*got.accuracy - theta*got.delay; !near(u, best) {
			t.Fatalf("seed %d: the search has %.12g, enumeration %.12g", seed, u, best)
		}
	}
	if served < 200 {
		t.Errorf("only %d of the views could be served", served)
	}
}

// TestAlgorithm1OnMoreSources is the same for as many sources as enumeration
// can do.
func TestAlgorithm1OnMoreSources(t *testing.T) {
	compared := 0
	for seed := uint64(0); compared < 8; seed++ {
		r := seeded(seed)
		v := drawView(r, 1, 1, 4, seed%2 == 0)
		more(&v, 70)
		params := everyKnob()
		p, _ := newProblem(&v, &params, v.counts())
		if p.classes[0].first == p.classes[0].end {
			continue
		}
		floor := 0.4 + 0.5*r.Float64()
		want, found := bruteAlgorithm1(p, &params, floor)
		got := p.algorithm1(&params, floor)
		if found != (got != nil) {
			t.Fatalf("seed %d: enumeration finds one: %v, the search %v", seed, found, got)
		}
		if !found {
			continue
		}
		compared++
		if got.gap == 0 && (!near(got.delay, want.delay) || !near(got.accuracy, want.accuracy)) {
			t.Fatalf("seed %d: the search has delay %.12g and accuracy %.12g, enumeration %.12g and %.12g",
				seed, got.delay, got.accuracy, want.delay, want.accuracy)
		}
		if got.gap > 1e-5*p.frames {
			t.Errorf("seed %d: %g unproven", seed, got.gap/p.frames)
		}
	}
}
