package quality

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// goal is what is sought among the distributions that can be served.
type goal struct {
	kind    kind
	floor   float64 // of accuracy, for fastest and accurate
	ceiling float64 // of delay, for accurate
	price   float64 // delay that a unit of accuracy is worth, for balanced
}

type kind int

const (
	fastest  kind = iota // least delay with accuracy ≥ floor
	accurate             // most accuracy, at least floor, with delay < ceiling
	balanced             // least delay − price × accuracy
)

// tangent bounds every distribution that can be served from below: with a
// price t on accuracy and a price σ_s on load,
//
//	F(n) − t·A(n) = base + Σ_x n_x·reduced_x + Σ_s D_s(ρ_s(n))
//
// where reduced_x ≥ 0 is what option x costs beyond the cheapest of its class,
// and D_s(ρ) = Φ_s(ρ) − Φ_s(ρ̄_s) − σ_s·(ρ − ρ̄_s) ≥ 0 for the load ρ̄_s at which
// the line of slope σ_s touches Φ_s from below, since Φ_s is convex. It is an
// identity for any prices; the closer they are to those of the optimum over
// real numbers of sources, the larger base.
type tangent struct {
	price   float64
	base    float64
	reduced []float64
	loads   []float64 // ρ̄
	value   []float64 // Φ(ρ̄)
	slope   []float64 // σ
	n       []float64 // that optimum
}

// relaxation solves the problem for real numbers of sources: Newton's method
// with logarithmic barriers. What is to be kept, n ≥ 0 and the bounds on load,
// accuracy and delay, adds −μ·log of what is left to the function, with μ
// falling to nothing. The function is convex and smooth, and each step is a
// linear system. Bounds may be missed at first, and in the end if they cannot be
// kept: see barrier.
type relaxation struct {
	*problem
	goal
	size            []float64 // by option: sources of its class
	y               []float64 // share of its class
	loads           []float64
	f, slope, bend  []float64 // Φ and its derivatives
	delay, accuracy float64
	marginal        []float64 // of delay, by option

	// The derivatives of what is minimised, and their own.
	byDelay, byAccuracy float64
	bound               float64   // second, by the bound on accuracy or delay
	limit, limitBend    []float64 // by the limit of each station

	// Of a step; see direction.
	inverse                []float64 // of D
	columns, centred, room [][]float64
	scratch                [3][]float64
}

func (p *problem) newRelaxation(g goal) *relaxation {
	options, stations := len(p.options), len(p.stations)
	r := &relaxation{problem: p, goal: g, size: make([]float64, options),
		y: make([]float64, options), marginal: make([]float64, options),
		loads: make([]float64, stations), f: make([]float64, stations), slope: make([]float64, stations), bend: make([]float64, stations),
		limit: make([]float64, stations), limitBend: make([]float64, stations), inverse: make([]float64, options)}
	for i := range r.scratch {
		r.scratch[i] = make([]float64, options)
	}
	for _, g := range p.classes {
		for x := g.first; x < g.end; x++ {
			r.size[x], r.y[x] = float64(g.sources), 1/float64(g.end-g.first)
		}
	}
	r.settle(1)
	return r
}

// barrier returns the price of a bound of which so much is left, −d/dleft, and
// how fast it rises. It is that of −μ·log(left), or, where little or less than
// nothing is left, of the parabola that continues it.
func barrier(left, mu float64) (price, rise float64) {
	if least := 0.1 * mu * math.Sqrt(mu); left < least {
		rise = mu / (least * least)
		return mu/least + rise*(least-left), rise
	}
	return mu / left, mu / (left * left)
}

// settle brings everything up to date with y.
func (r *relaxation) settle(mu float64) {
	for s := range r.stations {
		r.loads[s] = 0
	}
	r.delay, r.accuracy = 0, 0
	for x := range r.y {
		o, n := &r.options[x], r.y[x]*r.size[x]
		r.delay += n * o.delay
		r.accuracy += n * o.accuracy
		for _, l := range o.loads {
			r.loads[l.station] += n * l.share
		}
	}
	for s := range r.stations {
		station := &r.stations[s]
		r.f[s], r.slope[s], r.bend[s] = station.waiting(r.loads[s])
		r.delay += r.f[s]
		r.limit[s], r.limitBend[s] = barrier(station.limit-r.loads[s], mu)
	}
	for x := range r.options {
		o := &r.options[x]
		m := o.delay
		for _, l := range o.loads {
			m += r.slope[l.station] * l.share
		}
		r.marginal[x] = m
	}
	switch r.kind {
	case fastest: // F/worst, with (A − floor)/frames left
		price, rise := barrier((r.accuracy-r.floor)/r.frames, mu)
		r.byDelay, r.byAccuracy, r.bound = 1/r.worst, -price/r.frames, rise/(r.frames*r.frames)
	case accurate: // −A/frames, with (ceiling − F)/worst left
		price, rise := barrier((r.ceiling-r.delay)/r.worst, mu)
		r.byDelay, r.byAccuracy, r.bound = price/r.worst, -1/r.frames, rise/(r.worst*r.worst)
	case balanced:
		r.byDelay = 1 / (r.worst + r.goal.price*r.frames)
		r.byAccuracy, r.bound = -r.goal.price*r.byDelay, 0
	}
}

// gradient is that of the function with the barriers, less what is common to
// the options of a class.
func (r *relaxation) gradient(mu float64, into []float64) {
	for x := range into {
		o := &r.options[x]
		g := r.byDelay*r.marginal[x] + r.byAccuracy*o.accuracy
		for _, l := range o.loads {
			g += r.limit[l.station] * l.share
		}
		into[x] = r.size[x]*g - mu/r.y[x]
	}
	// Within a class only differences matter, and they get lost if what is
	// common is large.
	for _, c := range r.classes {
		common := 0.0
		for x := c.first; x < c.end; x++ {
			common += r.y[x] * into[x]
		}
		for x := c.first; x < c.end; x++ {
			into[x] -= common
		}
	}
}

// minimise runs the barrier method.
func (r *relaxation) minimise() {
	g := make([]float64, len(r.options))
	for mu := 1.0; mu > 1e-9; mu /= 6 {
		r.settle(mu)
		enough := 0.05
		if mu <= 6e-9 { // the last time: the prices have to be exact
			enough = 1e-14
		}
		for range 40 {
			r.gradient(mu, g)
			d, ok := r.direction(mu, g)
			if !ok {
				return
			}
			promise := 0.0
			for x := range d {
				promise -= g[x] * d[x]
			}
			if !(promise > enough*mu) || !r.move(mu, d, promise) {
				break
			}
		}
	}
}

// direction is Newton's, within the sums of the classes:
//
//	| H  Eᵀ |   | d |   | −g |
//	| E  0  | · | ν | = |  0 |
//
// H is a diagonal D, and a column times itself for each station and the bound. By D
// alone d is −g, less its mean in the class, over D; so what is left to be solved is
// as large as the columns are many (Woodbury), however many options there are.
func (r *relaxation) direction(mu float64, g []float64) ([]float64, bool) {
	for x, y := range r.y {
		r.inverse[x] = y * y / mu
	}
	r.setColumns()
	count := len(r.columns)
	for len(r.centred) < count {
		r.centred = append(r.centred, make([]float64, len(g)))
	}
	small := mat.NewSymDense(count+1, nil) // with one more, or it might be empty
	small.SetSym(count, count, 1)
	for i, column := range r.columns {
		r.centre(r.centred[i], column)
		for j := range i + 1 {
			sum := 0.0
			for x, d := range r.inverse {
				sum += d * r.centred[i][x] * r.centred[j][x]
			}
			if i == j {
				sum++
			}
			small.SetSym(i, j, sum)
		}
	}
	var factors mat.Cholesky
	if !factors.Factorize(small) {
		// Where columns depend on each other, the I may be lost to rounding.
		for i := range count {
			small.SetSym(i, i, small.At(i, i)*(1+1e-10))
		}
		if !factors.Factorize(small) {
			return nil, false
		}
	}
	along := mat.NewVecDense(count+1, nil)
	solve := func(into, right []float64) {
		r.centre(into, right)
		floats.Mul(into, r.inverse)
		for i := range r.columns {
			along.SetVec(i, floats.Dot(r.centred[i], into))
		}
		_ = factors.SolveVecTo(along, along) // an error says that it is inexact: see below
		for i := range r.columns {
			z := along.AtVec(i)
			for x, v := range r.centred[i] {
				into[x] -= z * r.inverse[x] * v
			}
		}
	}
	left, d, more := r.scratch[0], r.scratch[1], r.scratch[2]
	floats.ScaleTo(left, -1, g)
	solve(d, left)
	for x := range left { // what rounding has lost
		left[x] -= d[x] / r.inverse[x]
	}
	for _, column := range r.columns {
		floats.AddScaled(left, -floats.Dot(column, d), column)
	}
	solve(more, left)
	floats.Add(d, more)
	r.balance(d)
	for _, x := range d {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, false
		}
	}
	return d, true
}

// balance has each class's sum stay what it is to the last digit, by its largest share.
func (r *relaxation) balance(d []float64) {
	for _, c := range r.classes {
		largest := c.first
		for x := c.first; x < c.end; x++ {
			if r.y[x] > r.y[largest] {
				largest = x
			}
		}
		d[largest] = 0
		d[largest] = -floats.Sum(d[c.first:c.end])
	}
}

// setColumns says what H is made of beside its diagonal.
func (r *relaxation) setColumns() {
	count := 0
	next := func() []float64 {
		if count++; len(r.room) < count {
			r.room = append(r.room, make([]float64, len(r.y)))
		}
		return r.room[count-1]
	}
	for s := range r.stations {
		if weight := r.byDelay*r.bend[s] + r.limitBend[s]; weight > 0 {
			v := next()
			for x := range v {
				v[x] = math.Sqrt(weight) * r.size[x] * r.options[x].share(s)
			}
		}
	}
	if r.bound > 0 {
		v := next()
		for x := range v {
			of := r.options[x].accuracy
			if r.kind == accurate {
				of = r.marginal[x]
			}
			v[x] = math.Sqrt(r.bound) * r.size[x] * of
		}
	}
	r.columns = r.room[:count]
}

// centre is v less its mean in each class, weighed by the inverse of D.
func (r *relaxation) centre(into, v []float64) {
	for _, c := range r.classes {
		of := r.inverse[c.first:c.end]
		mean := floats.Dot(v[c.first:c.end], of) / floats.Sum(of)
		for x := c.first; x < c.end; x++ {
			into[x] = v[x] - mean
		}
	}
}

// move goes along d as far as the function falls, by the slope rather than by
// values, which differ too little in the end; false if that is nowhere.
func (r *relaxation) move(mu float64, d []float64, promise float64) bool {
	step := 1.0
	for x := range d {
		if d[x] < 0 {
			step = min(step, -0.95*r.y[x]/d[x])
		}
	}
	from, g := slices.Clone(r.y), make([]float64, len(d))
	for range 40 {
		for x := range d {
			r.y[x] = from[x] + step*d[x]
		}
		r.settle(mu)
		r.gradient(mu, g)
		slope := 0.0
		for x := range d {
			slope += g[x] * d[x]
		}
		if slope <= 0.5*promise {
			return true
		}
		step /= 2
	}
	copy(r.y, from)
	r.settle(mu)
	return false
}

// relax returns the best tangent it finds for the goal; false if that proves
// that no distribution can meet it. A failure to converge makes a tangent
// worse, but never wrong.
func (p *problem) relax(g goal) (*tangent, bool) {
	r := p.newRelaxation(g)
	r.minimise()
	t := r.tangent()
	worst := r.worst * (1 + 1e-9)
	switch r.kind {
	case fastest:
		return t, t.base+t.price*r.floor <= worst
	case accurate:
		return t, t.base+t.price*r.floor <= min(r.ceiling, worst)
	}
	return t, true
}

// tangent is the one with the prices that the barriers have come to.
func (r *relaxation) tangent() *tangent {
	t := &tangent{price: -r.byAccuracy / r.byDelay, reduced: make([]float64, len(r.options)), n: make([]float64, len(r.options))}
	var intercept float64 // of the lines, without a source
	for s := range r.stations {
		slope := r.slope[s] + r.limit[s]/r.byDelay
		load, value := r.stations[s].touch(slope)
		t.loads, t.value, t.slope = append(t.loads, load), append(t.value, value), append(t.slope, slope)
		intercept += value - slope*load
	}
	marginal := make([]float64, len(r.options))
	for x := range marginal {
		marginal[x] = r.options[x].delay
		for _, l := range r.options[x].loads {
			marginal[x] += t.slope[l.station] * l.share
		}
		t.n[x] = r.y[x] * r.size[x]
	}
	cheapest := func(c group, price float64) int {
		low := c.first
		for x := c.first; x < c.end; x++ {
			if marginal[x]-price*r.options[x].accuracy < marginal[low]-price*r.options[low].accuracy {
				low = x
			}
		}
		return low
	}
	if r.kind != balanced {
		// The price of accuracy can be made exact: with all else linear, it is
		// where the cheapest options pass the bound.
		low, high := t.price/2, t.price*2
		for range 50 {
			t.price = (low + high) / 2
			delay, accuracy := intercept, 0.0
			for _, c := range r.classes {
				x := cheapest(c, t.price)
				delay += float64(c.sources) * marginal[x]
				accuracy += float64(c.sources) * r.options[x].accuracy
			}
			if r.kind == fastest && accuracy < r.floor || r.kind == accurate && delay < r.ceiling {
				low = t.price
			} else {
				high = t.price
			}
		}
	}
	t.base = intercept
	for _, c := range r.classes {
		x := cheapest(c, t.price)
		least := marginal[x] - t.price*r.options[x].accuracy
		t.base += float64(c.sources) * least
		for x := c.first; x < c.end; x++ {
			t.reduced[x] = marginal[x] - t.price*r.options[x].accuracy - least
		}
	}
	return t
}
