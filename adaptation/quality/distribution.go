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

// leastOverload returns the distribution for when none can be served.
func (p *problem) leastOverload() *solution {
	r := p.newRelaxation(goal{kind: fastest})
	r.minimise()
	n := p.round(r.tangent().n)
	return &solution{n: n, point: p.evaluate(n, make([]float64, len(p.stations)))}
}
