package quality

import (
	"fmt"
	"math"
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
}

type server struct {
	variability, exponent, limit float64
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
		})
	}
	unusable := map[[2]int]string{}
	for c := range v.Classes {
		class := &v.Classes[c]
		if sources[c] == 0 {
			continue
		}
		g := group{class: c, first: len(p.options), sources: sources[c]}
		for i := range class.Options {
			if !params.Knobs.allow(class.Own, class.Options[i].Quality) {
				continue
			}
			o, why := compile(v, params, place, c, i)
			if why != "" {
				unusable[[2]int{c, i}] = why
				continue
			}
			p.options = append(p.options, o)
		}
		g.end = len(p.options)
		p.classes = append(p.classes, g)
		p.frames += float64(sources[c]) * class.rate()
	}
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
	return p, unusable
}

func compile(v *View, params *Params, place map[string]int, c, i int) (option, string) {
	class, q := &v.Classes[c], &v.Classes[c].Options[i]
	rate := class.rate() / float64(q.Quality.Every)
	o := option{class: c, index: i, accuracy: class.rate() * q.Accuracy}
	type use struct{ frames, work float64 } // a frame's visits and their service
	used := map[int]use{}
	var order []int
	for _, visit := range q.Path.visits() {
		o.own += visit.Delay.Seconds() + visit.Service.Seconds()
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
	for _, s := range order {
		station, u := &v.Stations[s], used[s]
		each := max(1, float64(station.Each))
		share := rate * u.work / float64(station.Servers)
		if load := each * share; load > params.MaxLoad {
			who := "this source alone"
			if station.Each > 1 {
				who = fmt.Sprintf("%d such sources", station.Each)
			}
			return o, fmt.Sprintf("%s would be loaded to %.0f %% by %s", station.Name, 100*load, who)
		}
		if station.Each > 0 {
			o.own += u.frames * station.Wait(each*rate*u.frames, u.work/u.frames)
			continue
		}
		o.loads = append(o.loads, load{s, share, rate * u.frames})
	}
	o.delay = class.rate() * (o.own + Skip(q.Quality.Every, class.FPS).Seconds())
	return o, ""
}

// waiting returns Φ at a utilisation, and its two derivatives. Beyond the limit,
// where nothing is to be planned, it goes on as a line.
func (s *server) waiting(rho float64) (value, slope, bend float64) {
	if rho > s.limit {
		return s.atLimit + s.slope*(rho-s.limit), s.slope, 0
	}
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
			open := p.stations[s]
			open.limit = 1
			f, _, _ := open.waiting(loads[s])
			waits[s] = f / rates[s]
		}
	}
	return waits
}
