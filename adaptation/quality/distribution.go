package quality

// The choice among distributions, on a compiled problem.

// algorithm1 is Algorithm 1 as this project reads it: of the distributions
// with accuracy of at least floor the fastest; but those less than near slower
// than it and at least muchBetter more accurate win, among them the most
// accurate. It returns nil if none is acceptable.
func (p *problem) algorithm1(params *Params, floor float64) *solution {
	fast := p.solve(goal{kind: fastest, floor: floor * p.frames})
	if fast == nil {
		return nil
	}
	wanted := fast.accuracy + params.MuchBetter*p.frames
	ceiling := fast.delay + params.Near.Seconds()*p.frames
	other := p.solve(goal{kind: accurate, floor: wanted, ceiling: ceiling})
	if other == nil {
		return fast
	}
	other.compromise = true
	return other
}

// bestUtility returns the distribution that maximises the mean of
// weight·a − Θ·T; nil if none can be served.
func (p *problem) bestUtility(theta, weight float64) *solution {
	// The delay that a unit of accuracy is worth. Without a price on latency
	// that is more than there is; of equally accurate ones the faster wins.
	price := 1e4 * (p.worst/p.frames + 1)
	if theta > 0 {
		price = min(price, weight/theta)
	}
	if best := p.solve(goal{kind: balanced, price: price}); best != nil {
		return best
	}
	return p.solve(goal{kind: fastest}) // it looks harder for any that can be served
}

// mostAccurate returns the most accurate distribution that can be served; nil if
// there is none.
func (p *problem) mostAccurate() *solution { return p.bestUtility(0, 1) }

// leastOverload returns the numbers that come nearest to being served, where none can be.
func (p *problem) leastOverload() []int {
	r := p.newRelaxation(goal{kind: fastest})
	r.minimise()
	return p.round(r.tangent().n)
}

// searched bounds how many options mostShown looks at, over all distributions that it
// tries: with many classes each takes a while, and the first moves gain the most.
const searched = 2_000_000

// mostShown returns the distribution for when none can be served: from the one with
// the least overload on, sources are moved for as long as more is shown. It is near
// the best, and nothing proves it.
func (p *problem) mostShown() *solution {
	n := p.leastOverload()
	most, step := p.shown(n), 1
	for _, g := range p.classes {
		for step < g.sources {
			step *= 2
		}
	}
	left := searched / max(1, len(p.options)) // tries
	for ; step > 0; step /= 2 {
		for moved := true; moved; {
			moved = false
			for _, g := range p.classes {
				for x := g.first; x < g.end; x++ {
					for y := g.first; y < g.end; y++ {
						k := min(step, n[x])
						if x == y || k == 0 || left == 0 {
							continue
						}
						left--
						n[x], n[y] = n[x]-k, n[y]+k
						if s := p.shown(n); s > most*(1+1e-6)+1e-12 {
							most, moved = s, true
						} else {
							n[x], n[y] = n[x]+k, n[y]-k
						}
					}
				}
			}
		}
	}
	best := &solution{n: n, point: p.evaluate(n, make([]float64, len(p.stations)))}
	best.shown = most
	return best
}
