package quality

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// problem is a view in numbers: how many sources of each class get which of
// its options. With n_x sources at option x,
//
//	delay F(n)    = Σ n_x·delay_x + Σ_s Φ_s(ρ_s(n))
//	accuracy A(n) = Σ n_x·accuracy_x
//	load ρ_s(n)   = Σ n_x·share_xs
//
// both summed over the frames that are captured in a second, and that no filter
// takes out; divided by their number they are equations 3 and 4. Φ_s is the mean number of our frames that
// wait at s (Little's law), convex and increasing (TestWaitingIsConvex), so F
// is convex in n. The search relies on that and on nothing else.
type problem struct {
	classes  []group
	options  []option
	stations []server
	frames   float64 // a second
	worst    float64 // no distribution that can be served has more delay
	short    bool    // none can be served

	served, loaded []float64 // scratch of shown
}

type group struct {
	class      int // in the view
	first, end int // its options
	sources    int
}

type option struct {
	class, index    int // in the view
	delay, accuracy float64
	loads           []load
	dropped         float64 // frames a second that are lost where one source is too much, those that they stand for included
	lost            float64 // what they add to delay
	passes          float64 // share of the frames that are not
	own             float64 // seconds an analysed frame takes if it need not wait at shared stations
}

// share is the utilisation of a station by one source.
func (o *option) share(station int) float64 {
	for _, l := range o.loads {
		if l.station == station {
			return l.share
		}
	}
	return 0
}

type load struct {
	station int
	share   float64 // utilisation by one source
	rate    float64 // frames a second from one source
	visits  float64 // of each of them
}

type server struct {
	variability, exponent, limit float64
	lossy, tail                  float64 // of what full queues cost; see losses
	places                       float64 // of a queue, were service times and arrivals as variable as can be
	atLimit, slope               float64 // Φ there
}

// Skip is how long something that a frame shows waits on the average until a
// frame is analysed, if only one in every is.
func Skip(every int, fps float64) time.Duration {
	return time.Duration(float64(every-1) / (2 * fps) * float64(time.Second))
}

// newProblem compiles the view for so many sources of each class. Qualities
// that cannot be used are left out, with the reason by class and option.
func newProblem(v *View, params *Params, sources []int) (*problem, map[[2]int]string) {
	p := &problem{}
	place := make(map[string]int, len(v.Stations))
	for i := range v.Stations {
		s := &v.Stations[i]
		place[s.Name] = i
		p.stations = append(p.stations, server{
			variability: s.variability(), exponent: exponent(s.Servers), limit: params.MaxLoad,
			places: (places+1)/own(s) - 1,
		})
	}
	unusable := map[[2]int]string{}
	price := priceOfLoss(v, params, sources)
	for c := range v.Classes {
		class := &v.Classes[c]
		if sources[c] == 0 {
			continue
		}
		var beyond []option // what a source of the class by itself overloads something with
		g := group{class: c, first: len(p.options), sources: sources[c]}
		for i := range class.Options {
			if !params.Knobs.allow(class.Own, class.Options[i].Quality) {
				continue
			}
			o, why := compile(v, params, place, c, i)
			if why != "" {
				unusable[[2]int{c, i}] = why
				beyond = append(beyond, o)
				continue
			}
			p.options = append(p.options, o)
		}
		if price > 0 || len(p.options) == g.first {
			for _, o := range lossy(beyond, v.accurate(params), price) {
				delete(unusable, [2]int{c, o.index})
				p.options = append(p.options, o)
			}
			slices.SortFunc(p.options[g.first:], func(a, b option) int { return cmp.Compare(a.index, b.index) })
		}
		g.end = len(p.options)
		p.classes = append(p.classes, g)
		p.frames += float64(sources[c]) * class.rate()
	}
	p.losses(v, price)
	p.bound()
	return p, unusable
}

// bound sets what follows from the limits.
func (p *problem) bound() {
	p.worst = 0
	for i := range p.stations {
		s := &p.stations[i]
		s.atLimit, s.slope, _ = s.waiting(s.limit)
		p.worst += s.atLimit
	}
	for _, g := range p.classes {
		most := 0.0
		for _, o := range p.options[g.first:g.end] {
			most = max(most, o.delay)
		}
		p.worst += float64(g.sources) * most
	}
	p.worst = max(p.worst, 1e-9*p.frames) // paths may take no time
}

// lossy returns which of the options that overload what a source's node has for
// itself are of use all the same: if every quality is accurate enough, all of
// them, at the price of the frames that are dropped; without a price the one that
// drops the fewest, for who has nothing else.
func lossy(beyond []option, accurate bool, price float64) []option {
	switch {
	case len(beyond) == 0 || !accurate:
		return nil
	case price == 0:
		return []option{slices.MinFunc(beyond, func(a, b option) int { return cmp.Compare(a.dropped, b.dropped) })}
	}
	for i := range beyond {
		o := &beyond[i]
		o.lost = price * o.dropped
		o.delay += o.lost
	}
	return beyond
}

// accurate reports whether every quality that knobs allow is as accurate as is
// asked, with every frame analysed: then no distribution of these misses it. That
// frames may be skipped as well is to make admission no harder.
func (v *View) accurate(params *Params) bool {
	for c := range v.Classes {
		class := &v.Classes[c]
		for i := range class.Options {
			if o := &class.Options[i]; o.Quality.Every <= 1 && params.Knobs.allow(class.Own, o.Quality) && o.Accuracy < params.MinAccuracy {
				return false
			}
		}
	}
	return true
}

func compile(v *View, params *Params, place map[string]int, c, i int) (o option, why string) {
	class, q := &v.Classes[c], &v.Classes[c].Options[i]
	rate := class.rate() / float64(q.Quality.Every)
	o = option{class: c, index: i, accuracy: class.rate() * q.Accuracy}
	type use struct{ frames, work float64 } // a frame's visits and their service
	used := map[int]use{}
	var order []int
	for _, visit := range q.Path.visits() {
		if !visit.within {
			o.own += visit.Delay.Seconds() + visit.Service.Seconds()
		}
		if visit.Station == "" || visit.Service == 0 {
			continue
		}
		s := place[visit.Station]
		u, again := used[s]
		if !again {
			order = append(order, s)
		}
		used[s] = use{u.frames + 1, u.work + visit.Service.Seconds()}
	}
	worst, passed := 0.0, 1.0 // share of the frames that get so far; the rest is dropped
	for _, s := range order {
		station, u := &v.Stations[s], used[s]
		shared := station.Each // by so many sources
		if shared > 0 && class.crowd > 0 {
			shared = class.crowd
		}
		each := float64(max(1, shared)) * rate
		if load := each * u.work / float64(station.Servers); load > params.MaxLoad && load > worst {
			worst = load
			who := "this source alone"
			if shared > 1 {
				who = fmt.Sprintf("%d such sources", shared)
			}
			why = fmt.Sprintf("%s would be loaded to %.0f %% by %s", station.Name, 100*load, who)
		}
		served := 1.0
		if load := each * passed * u.work / float64(station.Servers); load > params.MaxLoad {
			served = params.MaxLoad / load
		}
		if station.Each > 0 {
			o.own += u.frames * station.Wait(each*passed*served*u.frames, u.work/u.frames)
		} else {
			o.loads = append(o.loads, load{
				station: s, share: rate * passed * served * u.work / float64(station.Servers),
				rate: rate * passed * served * u.frames, visits: u.frames,
			})
		}
		passed *= served
	}
	o.passes = passed
	if passed < 1 {
		o.dropped = class.rate() * (1 - passed)
	}
	o.delay = class.rate() * (o.own + Skip(q.Quality.Every, class.FPS).Seconds())
	return o, why
}

// places is how many frames an instance has room for: the one it works on and
// four that wait, as package pipeline has it. (A link is alike.)
const places = 5

// losses sets what full queues cost, in seconds of delay: each frame that is
// dropped is one without accuracy and as late as can be, accuracy/Θ + deadline.
//
// Of frames that come at utilisation ρ and variability v the share
//
//	p(ρ) = v/(K+1) · ρ^(0.5 + 2.4/v)
//
// is dropped. It follows M/M/1/K at v = 1, and what the diffusion approximation
// of G/G/1/K makes of less variability: v/(K+1) at full load, and a tail that
// falls with K(1−ρ)/v below (TestLossesFollowTheory). Each of c instances has a
// queue of its own and every c-th frame, which come the more regularly: v/√c
// stands for its variability, which in the sweeps of docs/sweeps.md is as cautious
// as it has to be. More than 1 it is only taken for where hardly anything waits, which
// says nothing of the tail. That frames stand for others which are skipped is left out:
// one price for all qualities of a station keeps Φ convex, and one that has them in
// gave up more than is lost. What is lost in a second, ρ·p(ρ) times what the station
// serves, is convex in ρ, too.
func (p *problem) losses(v *View, price float64) {
	if price == 0 {
		return
	}
	for i := range p.stations {
		pace, uses := 0.0, 0.0 // frames a second at full load: the mean over the options
		for x := range p.options {
			for _, l := range p.options[x].loads {
				if l.station == i && l.share > 0 {
					pace, uses = pace+l.rate/l.share, uses+1
				}
			}
		}
		if s := &p.stations[i]; uses > 0 {
			own := own(&v.Stations[i])
			s.lossy, s.tail = price*pace/uses*own/(places+1), 1.5+2.4/own
		}
	}
}

// own is the variability of what comes to one of a station's instances.
func own(s *Station) float64 { return min(1, s.variability()) / math.Sqrt(float64(s.Servers)) }

// priceOfLoss is the delay that a dropped frame is as bad as, in seconds; 0: it
// costs nothing.
func priceOfLoss(v *View, params *Params, sources []int) float64 {
	if params.Deadline == 0 || params.Rule != RuleUtility || params.Theta == 0 {
		return 0
	}
	accuracy, frames := 0.0, 0.0
	for c := range v.Classes {
		best := 0.0
		for _, o := range v.Classes[c].Options {
			best = max(best, o.Accuracy)
		}
		n := v.Classes[c].rate() * float64(sources[c])
		accuracy, frames = accuracy+n*best, frames+n
	}
	if frames == 0 {
		return 0
	}
	return params.Deadline.Seconds() + accuracy/frames/params.Theta
}

// waiting returns Φ at a utilisation, and its two derivatives. Beyond the limit,
// where nothing is to be planned, it goes on as a line.
func (s *server) waiting(rho float64) (value, slope, bend float64) {
	if rho > s.limit {
		return s.atLimit + s.slope*(rho-s.limit), s.slope, 0
	}
	value, slope, bend = s.queued(rho)
	if s.lossy > 0 {
		rho = max(rho, 1e-9)
		lost := s.lossy * math.Pow(rho, s.tail)
		value, slope, bend = value+lost, slope+lost*s.tail/rho, bend+lost*s.tail*(s.tail-1)/(rho*rho)
	}
	return value, slope, bend
}

// lost is the part of the delay, over all frames, that stands for dropped ones.
func (p *problem) lost(n []int) (sum float64) {
	loads := make([]float64, len(p.stations))
	p.loads(n, loads)
	for i := range p.stations {
		if s := &p.stations[i]; s.lossy > 0 && loads[i] <= s.limit+1e-12 {
			sum += s.lossy * math.Pow(min(loads[i], s.limit), s.tail)
		}
	}
	for x := range p.options {
		sum += float64(n[x]) * p.options[x].lost
	}
	return sum
}

// queued is the part of Φ that are frames which wait.
func (s *server) queued(rho float64) (value, slope, bend float64) {
	rho = max(rho, 1e-9)
	idle := 1 - rho
	h := s.variability * math.Pow(rho, s.exponent) / idle
	grow := s.exponent/rho + 1/idle // h'/h
	h1 := h * grow
	h2 := h * (grow*grow - s.exponent/(rho*rho) + 1/(idle*idle))
	return rho * h, h + rho*h1, 2*h1 + rho*h2
}

// touch returns the load at which a line of this slope touches Φ from below,
// and Φ there.
func (s *server) touch(slope float64) (load, value float64) {
	low, high := 0.0, s.limit
	if slope >= s.slope {
		return s.limit, s.atLimit
	}
	for range 50 {
		load = (low + high) / 2
		if _, d, _ := s.waiting(load); d < slope {
			low = load
		} else {
			high = load
		}
	}
	value, _, _ = s.waiting(load)
	return load, value
}

// point is what a distribution comes to.
type point struct {
	delay, accuracy float64
	over            float64 // load beyond the limits, summed; 0: it can be served
	shown           float64 // accuracy of what is not dropped; 0: nobody asked
}

// evaluate says what so many sources at each option come to. loads is scratch.
func (p *problem) evaluate(n []int, loads []float64) point {
	var e point
	p.loads(n, loads)
	for x, k := range n {
		e.delay += float64(k) * p.options[x].delay
		e.accuracy += float64(k) * p.options[x].accuracy
	}
	for s := range p.stations {
		f, _, _ := p.stations[s].waiting(loads[s])
		e.delay += f
		if o := loads[s] - p.stations[s].limit; o > 1e-12 {
			e.over += o
		}
	}
	return e
}

func (p *problem) loads(n []int, loads []float64) {
	for s := range p.stations {
		loads[s] = 0
	}
	for x, k := range n {
		if k == 0 {
			continue
		}
		for _, l := range p.options[x].loads {
			loads[l.station] += float64(k) * l.share
		}
	}
}

// shown is the accuracy of the frames that full queues let through, summed as
// accuracy is. A station at utilisation ρ serves the share (1-ρ^K)/(1-ρ^(K+1)) of
// what comes to it (M/M/1/K); what it drops does not load those after it.
func (p *problem) shown(n []int) (sum float64) {
	p.served, p.loaded = slices.Grow(p.served[:0], len(p.stations))[:len(p.stations)], slices.Grow(p.loaded[:0], len(p.stations))[:len(p.stations)]
	served, loads := p.served, p.loaded
	for s := range served {
		served[s] = 1
	}
	// Each round is right for one station more of every way, as long as none leads in
	// a circle.
	for range len(p.stations) + 1 {
		clear(loads)
		sum = 0
		for x, k := range n {
			if k == 0 {
				continue
			}
			o := &p.options[x]
			through := float64(k)
			for _, l := range o.loads {
				loads[l.station] += through * l.share
				through *= served[l.station]
			}
			sum += through * o.passes * o.accuracy
		}
		same := true
		for s := range served {
			was := served[s]
			served[s] = p.stations[s].serves(loads[s])
			same = same && math.Abs(served[s]-was) < 1e-9
		}
		if same {
			break
		}
	}
	return sum
}

func (s *server) serves(rho float64) float64 {
	k := s.places
	if math.Abs(rho-1) < 1e-6 {
		return k / (k + 1)
	}
	if rho > 1 { // or a large power overflows
		return (1 - math.Pow(rho, -k)) / (rho - math.Pow(rho, -k))
	}
	return (1 - math.Pow(rho, k)) / (1 - math.Pow(rho, k+1))
}

// waits returns the mean wait of a frame at each station, in seconds.
func (p *problem) waits(n []int, loads []float64) []float64 {
	p.loads(n, loads)
	waits := make([]float64, len(loads))
	rates := make([]float64, len(loads))
	for x, k := range n {
		for _, l := range p.options[x].loads {
			rates[l.station] += float64(k) * l.rate
		}
	}
	for s := range waits {
		switch {
		case rates[s] == 0:
		case loads[s] >= 1:
			waits[s] = math.Inf(1)
		default:
			f, _, _ := p.stations[s].queued(loads[s])
			waits[s] = f / rates[s]
		}
	}
	return waits
}
