package quality

import (
	"cmp"
	"math"
	"slices"
)

// effort bounds how many partial distributions a search looks at, and so how
// long it takes: some milliseconds.
const effort = 4_000

// solution is the best distribution found.
type solution struct {
	n []int
	point
	// gap is how much better, in delay or, for the accurate kind, in accuracy,
	// another distribution could be at most; 0: proven best.
	gap float64
	// compromise: not the fastest, but hardly slower and much more accurate.
	compromise bool
}

// solve finds the best distribution for the goal; nil if there is none.
//
// It rounds the continuous optimum, improves that by moving single sources, and
// then goes through all distributions that the tangent does not exclude: a
// distribution n can only be better than the best known one if
//
//	Σ n_x·reduced_x + Σ_s D_s(ρ_s(n)) < slack
//
// where slack is what the best one known is above the bound. Of n known in
// part, the first sum and what D_s is at least are known, and the more of n is
// known the larger they are; both are convex in each n_x, so that for each only
// a range around the optimum has to be looked at.
func (p *problem) solve(g goal) *solution {
	t, ok := p.relax(g)
	if !ok {
		return nil
	}
	s := &search{problem: p, goal: g, t: t, left: effort,
		eps: 1e-11 * (p.worst + 1), epsA: 1e-12 * p.frames,
		loads: make([]float64, len(p.stations)), n: make([]int, len(p.options))}
	s.slack = s.above(point{delay: p.worst * (1 + 1e-9), accuracy: g.floor})
	s.climb(p.round(t.n))
	s.arrange()
	s.descend(0, p.classes[0].sources, 0)
	if s.best != nil && s.left < 0 {
		s.best.gap = max(0, s.slack)
		if g.kind == accurate {
			s.best.gap /= t.price
		}
	}
	return s.best
}

type search struct {
	*problem
	goal
	t         *tangent
	best      *solution
	slack     float64
	eps, epsA float64 // what sums of delay and accuracy are off by
	left      int     // of the effort
	loads     []float64
	n         []int
	seats     []seat
}

// seat is an option in the order in which sources are given out: class by
// class, the likeliest option of each last. What is linear in the counts is
// kept in one list: the load of each station, and at the end accuracy.
type seat struct {
	option, class int
	last          bool      // the rest of the class goes here
	share         []float64 // of one source
	known         []float64 // what the seats before come to
	rest          []bounds  // of share, among the seats after it in its class
	later         []bounds  // what the classes after it come to
}

type bounds struct{ least, most float64 }

// above is the slack if a distribution with that delay and accuracy is known.
func (s *search) above(e point) float64 {
	slack := s.t.price*s.epsA - s.t.base
	switch s.kind {
	case fastest:
		return slack + e.delay - s.t.price*s.floor
	case accurate:
		return slack + s.ceiling - s.t.price*e.accuracy
	}
	return slack + e.delay - s.t.price*e.accuracy
}

// offer takes a distribution as the best known one if it is.
func (s *search) offer(n []int, e point) {
	if s.miss(e) == 0 && (s.best == nil || s.better(e, s.best.point)) {
		s.best, s.slack = &solution{n: slices.Clone(n), point: e}, s.above(e)
	}
}

// miss is by how much a distribution misses what the goal demands.
func (s *search) miss(e point) float64 {
	m := e.over
	if s.kind != balanced {
		m += max(0, s.floor-s.epsA-e.accuracy) / s.frames
	}
	if s.kind == accurate && e.over == 0 && e.delay >= s.ceiling {
		m += (e.delay - s.ceiling + s.eps) / s.frames
	}
	return m
}

func (s *search) better(a, b point) bool {
	switch s.kind {
	case fastest:
		return a.delay < b.delay-s.eps || a.delay <= b.delay && a.accuracy > b.accuracy
	case accurate:
		return a.accuracy > b.accuracy+s.epsA || a.accuracy >= b.accuracy && a.delay < b.delay
	}
	return a.delay-s.goal.price*a.accuracy < b.delay-s.goal.price*b.accuracy-s.eps
}

// round returns whole numbers near n, with the right sum in each class.
func (p *problem) round(n []float64) []int {
	whole := make([]int, len(n))
	for _, g := range p.classes {
		left := g.sources
		var order []int
		for x := g.first; x < g.end; x++ {
			whole[x] = min(int(n[x]), left)
			left -= whole[x]
			order = append(order, x)
		}
		slices.SortStableFunc(order, func(a, b int) int {
			return cmp.Compare(n[b]-float64(whole[b]), n[a]-float64(whole[a]))
		})
		for i := 0; left > 0; i, left = i+1, left-1 {
			whole[order[i%len(order)]]++
		}
	}
	return whole
}

// climb moves single sources as long as that makes the distribution better, or
// less impossible.
func (s *search) climb(n []int) {
	at := s.evaluate(n, s.loads)
	for range 64 {
		best, from, to := at, -1, -1
		for _, g := range s.classes {
			for x := g.first; x < g.end; x++ {
				for y := g.first; y < g.end; y++ {
					if x == y || n[x] == 0 {
						continue
					}
					n[x]--
					n[y]++
					if e := s.evaluate(n, s.loads); s.prefer(e, best) {
						best, from, to = e, x, y
					}
					n[x]++
					n[y]--
				}
			}
		}
		if from < 0 {
			break
		}
		n[from]--
		n[to]++
		at = best
	}
	s.offer(n, at)
}

func (s *search) prefer(a, b point) bool {
	if x, y := s.miss(a), s.miss(b); x > 0 || y > 0 {
		return x < y-1e-15
	}
	return s.better(a, b)
}

// arrange makes the seats.
func (s *search) arrange() {
	columns := len(s.stations) + 1
	for c, g := range s.classes {
		first := len(s.seats)
		for x := g.first; x < g.end; x++ {
			at := seat{option: x, class: c, share: make([]float64, columns), known: make([]float64, columns)}
			for st := range s.stations {
				at.share[st] = s.options[x].share(st)
			}
			at.share[columns-1] = s.options[x].accuracy
			s.seats = append(s.seats, at)
		}
		slices.SortStableFunc(s.seats[first:], func(a, b seat) int {
			return cmp.Or(cmp.Compare(s.t.reduced[b.option], s.t.reduced[a.option]), cmp.Compare(s.t.n[a.option], s.t.n[b.option]))
		})
		s.seats[len(s.seats)-1].last = true
	}
	later, rest := make([]bounds, columns), make([]bounds, columns)
	for i := len(s.seats) - 1; i >= 0; i-- {
		at := &s.seats[i]
		if at.last && i+1 < len(s.seats) { // the class after is complete
			sources := float64(s.classes[at.class+1].sources)
			for k, r := range rest {
				later[k] = bounds{later[k].least + sources*r.least, later[k].most + sources*r.most}
			}
		}
		at.later, at.rest = slices.Clone(later), slices.Clone(rest)
		for k, share := range at.share {
			if at.last {
				rest[k] = bounds{share, share}
			}
			rest[k] = bounds{min(rest[k].least, share), max(rest[k].most, share)}
		}
	}
}

// span is the range of the k-th column if n sources have this seat and left more of their
// class are to follow.
func (at *seat) span(k, n, left int) (least, most float64) {
	sum := at.known[k] + float64(n)*at.share[k]
	return sum + float64(left)*at.rest[k].least + at.later[k].least, sum + float64(left)*at.rest[k].most + at.later[k].most
}

// excess is what a distribution is above the bound at least, if n sources have
// the i-th seat and left more of their class are to follow. It is convex in n.
func (s *search) excess(i, n, left int, linear float64) float64 {
	s.left--
	at := &s.seats[i]
	linear += float64(n) * s.t.reduced[at.option]
	for st, touch := range s.t.loads {
		if least, most := at.span(st, n, left); least > touch {
			linear += s.distance(st, least)
		} else if most < touch {
			linear += s.distance(st, most)
		}
	}
	return linear
}

// distance is D_s(ρ). Beyond the limit, where it is infinite, it rises steeply,
// so that the way back can be found.
func (s *search) distance(st int, rho float64) float64 {
	limit := s.stations[st].limit
	f, _, _ := s.stations[st].waiting(min(rho, limit))
	d := max(0, f-s.t.value[st]-s.t.slope[st]*(min(rho, limit)-s.t.loads[st]))
	if over := rho - limit; over > 1e-12 {
		d += s.worst * (1 + 1e6*over)
	}
	return d
}

// window is the accuracy that a better distribution must have.
func (s *search) window(linear float64) bounds {
	if s.kind == balanced {
		return bounds{math.Inf(-1), math.Inf(1)}
	}
	w := bounds{s.floor, math.Inf(1)}
	if s.kind == accurate && s.best != nil {
		w.least = s.best.accuracy
	}
	if s.t.price > 0 {
		w.most = w.least + (s.slack-linear)/s.t.price + s.epsA
	}
	w.least -= s.epsA
	return w
}

// descend tries all numbers for the i-th seat and those after it, with left
// sources of its class to give out.
func (s *search) descend(i, left int, linear float64) {
	if s.seats[i].last {
		s.take(i, left, 0, linear)
		return
	}
	low, high := 0, left
	if i+2 == len(s.seats) { // one number decides all
		low, high = s.within(i, left, linear)
	}
	at := func(n int) float64 { return s.excess(i, n, left-n, linear) }
	start := max(low, min(high, int(math.Round(s.t.n[s.seats[i].option]))))
	if start > low && at(start-1) < at(start) || start < high && at(start+1) < at(start) {
		for a, b := low, high; a < b; {
			if m := (a + b) / 2; at(m+1) < at(m) {
				a, start = m+1, m+1
			} else {
				b, start = m, m
			}
		}
	}
	for n := start; n <= high && at(n) < s.slack-s.eps && s.left >= 0; n++ {
		s.take(i, n, left-n, linear)
	}
	for n := start - 1; n >= low && at(n) < s.slack-s.eps && s.left >= 0; n-- {
		s.take(i, n, left-n, linear)
	}
}

// within returns which numbers for the last seat but one leave the accuracy
// within the window; low > high: none.
func (s *search) within(i, left int, linear float64) (low, high int) {
	k, w := len(s.stations), s.window(linear)
	none := s.seats[i].known[k] + float64(left)*s.seats[i+1].share[k]
	from, to := 0.0, float64(left)
	switch d := s.seats[i].share[k] - s.seats[i+1].share[k]; {
	case d > 0:
		from, to = max(from, (w.least-none)/d), min(to, (w.most-none)/d)
	case d < 0:
		from, to = max(from, (w.most-none)/d), min(to, (w.least-none)/d)
	case none < w.least || none > w.most:
		return 1, 0
	}
	return int(math.Ceil(from - 1e-9)), int(math.Floor(to + 1e-9))
}

// take gives n sources the i-th seat and goes on.
func (s *search) take(i, n, left int, linear float64) {
	at := &s.seats[i]
	s.n[at.option] = n
	if i+1 == len(s.seats) {
		s.offer(s.n, s.evaluate(s.n, s.loads))
		return
	}
	linear += float64(n) * s.t.reduced[at.option]
	w := s.window(linear)
	if least, most := at.span(len(s.stations), n, left); most < w.least || least > w.most {
		return
	}
	next := &s.seats[i+1]
	for k, share := range at.share {
		next.known[k] = at.known[k] + float64(n)*share
	}
	if at.last {
		left = s.classes[next.class].sources
	}
	s.descend(i+1, left, linear)
}
