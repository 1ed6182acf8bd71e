package quality

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Decision is what is to be done from now on, and why.
type Decision struct {
	Workflow    string    `json:"workflow"`
	At          time.Time `json:"at"`
	Rule        Rule      `json:"rule"`
	MinAccuracy float64   `json:"min_accuracy"`
	// Debt is the accuracy owed from earlier periods.
	Debt         Debt          `json:"debt"`
	Distribution Distribution  `json:"distribution"`
	Estimate     Estimate      `json:"estimate"`
	Changed      bool          `json:"changed"`
	Why          string        `json:"why"`
	Sources      []Assignment  `json:"sources"`
	Refused      []Refusal     `json:"refused,omitempty"`
	Stations     []StationLoad `json:"stations"`
	Alternatives []Alternative `json:"alternatives"`
	Unusable     []Unusable    `json:"unusable,omitempty"`
	// Gap is how much better the best distribution could be at most, in seconds
	// of mean latency (Algorithm 1's compromise: in accuracy), where the search
	// gave up proving that there is none; 0: proven, or nothing can be served.
	Gap   float64 `json:"gap,omitempty"`
	State State   `json:"-"` // for the next view
}

// Estimate is what a distribution comes to: means over frames, equations 3 to
// 5.
type Estimate struct {
	Latency  time.Duration `json:"latency"`
	Accuracy float64       `json:"accuracy"`
	Utility  float64       `json:"utility"`
	// Saturated is what cannot take the load; Latency and Utility then mean
	// nothing, and are 0.
	Saturated string `json:"saturated,omitempty"`
}

// Assignment is the quality of one source.
type Assignment struct {
	Source   string        `json:"source"`
	Class    string        `json:"class"`
	Quality  Quality       `json:"quality"`
	Latency  time.Duration `json:"latency"` // of a frame that is analysed
	Accuracy float64       `json:"accuracy"`
	Why      string        `json:"why"`
}

// Refusal is a source that cannot join now.
type Refusal struct {
	Source string `json:"source"`
	Class  string `json:"class"`
	Why    string `json:"why"`
}

// StationLoad is what a shared station has to do.
type StationLoad struct {
	Station string        `json:"station"`
	Load    float64       `json:"load"` // utilisation; 1 and more cannot be served
	Wait    time.Duration `json:"wait"` // mean, of a frame; the longest duration: for ever
}

// Alternative is a distribution that lost.
type Alternative struct {
	Name         string       `json:"name"`
	Distribution Distribution `json:"distribution"`
	Estimate     Estimate     `json:"estimate"`
	// Better is the score that the choice has more: utility (debt priced in),
	// or seconds for Algorithm 1.
	Better float64 `json:"better"`
	Lost   string  `json:"lost"`
}

// Unusable is a quality that no source of the class can have now.
type Unusable struct {
	Class   string  `json:"class"`
	Quality Quality `json:"quality"`
	Why     string  `json:"why"`
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (d *decider) unusable(why map[[2]int]string) []Unusable {
	var out []Unusable
	for c := range d.view.Classes {
		for i := range d.view.Classes[c].Options {
			if w, ok := why[[2]int{c, i}]; ok {
				out = append(out, Unusable{d.view.Classes[c].Name, d.view.Classes[c].Options[i].Quality, w})
			}
		}
	}
	return out
}

// overloaded names the stations that a distribution saturates.
func (d *decider) overloaded(p *problem, n []int) string {
	loads := make([]float64, len(p.stations))
	p.loads(n, loads)
	var out []string
	for s, rho := range loads {
		if rho > p.stations[s].limit+1e-12 {
			out = append(out, fmt.Sprintf("%s to %.0f %%", d.view.Stations[s].Name, 100*rho))
		}
	}
	if out == nil {
		return ""
	}
	return "loads " + strings.Join(out, ", ")
}

func (d *decider) estimate(p *problem, n []int) (Estimate, point) {
	e := p.point(n)
	out := Estimate{Accuracy: e.accuracy}
	if e.over > 0 {
		out.Saturated = d.overloaded(p, n)
		return out, e
	}
	out.Utility = Utility(e.accuracy, seconds(e.delay), d.params.Theta)
	out.Latency = seconds(e.delay - p.lost(n)/p.frames)
	return out, e
}

// explain fills in what follows from the choice of n.
func (d *decider) explain(out *Decision, p *problem, c choice, n []int) {
	out.Distribution = d.state.Distribution
	out.Estimate, _ = d.estimate(p, n)
	loads := make([]float64, len(p.stations))
	waits := p.waits(n, loads)
	for s := range loads {
		if d.view.Stations[s].Each == 0 {
			out.Stations = append(out.Stations, StationLoad{d.view.Stations[s].Name, loads[s], seconds(waits[s])})
		}
	}
	out.Sources = d.assign(p, n, waits)
	out.Alternatives = d.alternatives(p, c, n)
}

// assign maps the qualities to the sources. The admitted sources stand in a
// random order, and each period everyone moves on by one place: nearly all keep
// their quality from one period to the next, and in the course of time each has
// every quality for its share of it.
func (d *decider) assign(p *problem, n []int, waits []float64) []Assignment {
	line := make(map[int][]string, len(p.classes)) // by class in the view
	classOf := map[string]int{}
	for c := range d.view.Classes {
		for _, s := range d.view.Classes[c].Sources {
			classOf[s.Name] = c
		}
	}
	for _, name := range d.state.Admitted {
		line[classOf[name]] = append(line[classOf[name]], name)
	}
	var out []Assignment
	for _, g := range p.classes {
		class, names := &d.view.Classes[g.class], line[g.class]
		place := d.state.Turn
		for x := g.first; x < g.end; x++ {
			o := &p.options[x]
			latency := o.own
			for _, l := range o.loads {
				latency += l.visits * waits[l.station]
			}
			why := fmt.Sprintf("%d of the %s of class %s have it in turn", n[x], count(len(names), "source"), class.Name)
			if n[x] == len(names) {
				why = fmt.Sprintf("all sources of class %s have it", class.Name)
			}
			for range n[x] {
				out = append(out, Assignment{names[place%len(names)], class.Name, class.Options[o.index].Quality,
					seconds(latency), class.Options[o.index].Accuracy, why})
				place++
			}
		}
	}
	slices.SortFunc(out, func(a, b Assignment) int { return cmp.Compare(a.Source, b.Source) })
	return out
}

// alternatives says of the obvious other distributions by how much they lost:
// the last one, the best by the rule, one quality for all, and one source moved
// to another quality.
func (d *decider) alternatives(p *problem, c choice, n []int) []Alternative {
	_, own := d.estimate(p, n)
	var out []Alternative
	seen := [][]int{n}
	add := func(name string, m []int) {
		if m == nil || slices.ContainsFunc(seen, func(s []int) bool { return slices.Equal(s, m) }) {
			return
		}
		seen = append(seen, slices.Clone(m))
		e, at := d.estimate(p, m)
		a := Alternative{Name: name, Distribution: d.distribution(p, m), Estimate: e}
		switch {
		case e.Saturated != "" && !p.short:
			a.Lost = e.Saturated
		case e.Accuracy < c.floor-1e-9:
			a.Lost = fmt.Sprintf("accuracy %.3f is below %.3f", e.Accuracy, c.floor)
		default:
			a.Better = c.score(own) - c.score(at)
			a.Lost = d.lost(c, own, at, a.Better)
			if why := d.avoided(c.cautious, m); a.Better < 0 && why != "" {
				a.Lost = why
			}
		}
		out = append(out, a)
	}
	if slices.Equal(n, c.best.n) {
		if present, ok := d.numbers(p, d.view.State.Distribution); ok {
			add("the last one", present)
		}
	} else {
		add("the best", c.best.n)
	}
	for _, q := range d.qualities(p) {
		add("all "+q.String(), d.all(p, q))
	}
	type move struct {
		name  string
		n     []int
		score float64
	}
	var moves []move
	for _, g := range p.classes {
		for x := g.first; x < g.end; x++ {
			for y := g.first; y < g.end; y++ {
				if x == y || n[x] == 0 {
					continue
				}
				m := slices.Clone(n)
				m[x]--
				m[y]++
				options := d.view.Classes[g.class].Options
				_, at := d.estimate(p, m)
				s := c.score(at)
				if at.over > 0 && !p.short {
					s = math.Inf(-1)
				}
				moves = append(moves, move{fmt.Sprintf("one more at %s instead of %s",
					options[p.options[y].index].Quality, options[p.options[x].index].Quality), m, s})
			}
		}
	}
	slices.SortStableFunc(moves, func(a, b move) int { return cmp.Compare(b.score, a.score) })
	for _, m := range moves[:min(3, len(moves))] {
		add(m.name, m.n)
	}
	return out
}

// lost says by how much an alternative that could be served lost.
func (d *decider) lost(c choice, own, other point, better float64) string {
	text := fmt.Sprintf("%.4f less %s", better, c.unit)
	if c.unit == "s" {
		text = fmt.Sprintf("%.1f ms slower", 1000*better)
		if better < 0 {
			text = fmt.Sprintf("%.1f ms faster, but %.3f less accurate", -1000*better, own.accuracy-other.accuracy)
		}
	}
	if c.unit == "utility" {
		text += fmt.Sprintf(": %+.3f accuracy, %+.1f ms", other.accuracy-own.accuracy, 1000*(other.delay-own.delay))
	}
	if better < 0 {
		text += "; not for long or by enough to change"
	}
	return text
}

// qualities lists those that some class can have.
func (d *decider) qualities(p *problem) []Quality {
	var out []Quality
	for _, o := range p.options {
		if q := d.view.Classes[o.class].Options[o.index].Quality; !slices.Contains(out, q) {
			out = append(out, q)
		}
	}
	return out
}

// all gives every source the quality; nil if a class does not have it.
func (d *decider) all(p *problem, q Quality) []int {
	n := make([]int, len(p.options))
	for _, g := range p.classes {
		x := g.first
		for x < g.end && d.view.Classes[g.class].Options[p.options[x].index].Quality != q {
			x++
		}
		if x == g.end {
			return nil
		}
		n[x] = g.sources
	}
	return n
}
