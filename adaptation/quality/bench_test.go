package quality

import (
	"fmt"
	"testing"
)

// large returns a view that is short enough of capacity that the qualities have
// to be mixed.
func large(seed uint64, classes, sources, qualities int, rates bool) (View, Params, *problem) {
	params := everyKnob()
	for ; ; seed++ {
		v := drawView(seeded(seed), classes, 1, qualities, rates)
		more(&v, sources/classes)
		p, _ := newProblem(&v, &params, v.counts())
		if fast := p.solve(goal{kind: fastest, floor: 0.6 * p.frames}); fast != nil {
			mixed := 0
			for _, k := range fast.n {
				if k > 0 {
					mixed++
				}
			}
			if mixed >= classes+2 {
				return v, params, p
			}
		}
	}
}

// Algorithm 1 for 10,000 sources and 6 qualities: 8·10¹⁷ distributions.
func BenchmarkAlgorithm1(b *testing.B) {
	for _, of := range []struct {
		classes, sources int
		rates            bool
	}{{1, 100, false}, {1, 1000, false}, {1, 10_000, false}, {1, 10_000, true}, {3, 10_000, true}} {
		for seed := range uint64(3) {
			b.Run(fmt.Sprintf("classes=%d/sources=%d/rates=%v/seed=%d", of.classes, of.sources, of.rates, seed), func(b *testing.B) {
				_, params, p := large(100*seed, of.classes, of.sources, 6, of.rates)
				var best *solution
				before := cpu()
				for b.Loop() {
					best = p.algorithm1(&params, 0.6)
				}
				b.ReportMetric((cpu()-before)/float64(b.N)*1e3, "cpu-ms/op")
				unproven := "µs-unproven"
				if best.compromise {
					unproven = "µF1-unproven"
				}
				b.ReportMetric(1e6*best.gap/p.frames, unproven)
			})
		}
	}
}
