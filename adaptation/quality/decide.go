package quality

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Decide says which source gets which quality from now on. It is called once a
// period at least, and whenever a source comes or goes; the oftener, the sooner
// an overload is seen.
//
// Sources that were admitted stay so. New ones are admitted, oldest first, as
// far as some distribution over all of them can be served with accuracy of at
// least a_min; the others are told why, and asked about anew at every call. Where
// every quality is that accurate, as Algorithm 1 has it, nobody is refused: what
// cannot be served is dropped, of all sources alike.
func Decide(now time.Time, view View, params Params, rng *rand.Rand) (Decision, error) {
	if err := params.Validate(); err != nil {
		return Decision{}, err
	}
	if err := view.Validate(); err != nil {
		return Decision{}, err
	}
	view.Classes = slices.Clone(view.Classes)
	d := &decider{now: now, view: &view, params: &params}
	d.state = view.State
	d.tick = d.state.Ticked.IsZero() || now.Sub(d.state.Ticked) >= params.Period
	if d.tick {
		d.state.Ticked = now
		d.state.Turn++
	}
	d.settleDebt()
	d.admit(rng)
	d.state.At = now
	return d.decide(), nil
}

type decider struct {
	now    time.Time
	view   *View
	params *Params
	state  State
	tick   bool

	counts  []int // admitted sources by class
	refused []Refusal
}

// settleDebt charges the time since the last decision in which frames were
// analysed.
func (d *decider) settleDebt() {
	s := &d.state
	if s.At.IsZero() || len(s.Admitted) == 0 {
		return
	}
	periods := min(d.view.Analysed, max(0, d.now.Sub(s.At))).Seconds() / d.params.Period.Seconds()
	s.Debt = s.Debt.After(d.params.MinAccuracy, s.Accuracy, periods)
}

type newcomer struct {
	Source
	class int
}

// admit sets the admitted sources, the refused ones, and counts.
func (d *decider) admit(rng *rand.Rand) {
	classOf := map[string]int{}
	var pending []newcomer
	was := make(map[string]bool, len(d.state.Admitted))
	for _, name := range d.state.Admitted {
		was[name] = true
	}
	d.counts = make([]int, len(d.view.Classes))
	over := d.crowded(was)
	for c := range d.view.Classes {
		for _, s := range d.view.Classes[c].Sources {
			switch {
			case over[s.Name]:
				continue
			case was[s.Name]:
				d.counts[c]++
			default:
				pending = append(pending, newcomer{s, c})
			}
			classOf[s.Name] = c
		}
	}
	stay := slices.DeleteFunc(slices.Clone(d.state.Admitted), func(name string) bool {
		_, there := classOf[name]
		return !there
	})
	slices.SortFunc(pending, func(a, b newcomer) int { return byAge(a.Source, b.Source) })
	d.state.Admitted = merge(stay, d.patient(pending, d.admissible(pending), len(stay) > 0), rng)
	for name := range over {
		d.state.Held[name] = time.Time{}
	}
}

// enough is how long something must have been better, or possible, to be done:
// what is seen in so many periods is at least one less apart.
func (d *decider) enough() time.Duration {
	return time.Duration(d.params.Patience-1) * d.params.Period
}

// patient leaves of the newcomers that can be admitted those for whom that is no
// chance. What is measured varies, and who is admitted stays: so one that was
// refused has to wait as long as another distribution has to be better, and
// younger ones of its class with it, if others could be disturbed.
func (d *decider) patient(pending []newcomer, can []string, others bool) []string {
	admissible := make(map[string]bool, len(can))
	for _, name := range can {
		admissible[name] = true
	}
	var admitted []string
	held := map[string]time.Time{}
	waits := map[int]bool{} // by class
	for _, n := range pending {
		if !admissible[n.Name] {
			held[n.Name] = time.Time{}
			continue
		}
		since, was := d.state.Held[n.Name]
		if since.IsZero() {
			since = d.now
		}
		long := max(0, d.now.Sub(since))
		if !others || !waits[n.class] && (!was || long >= d.enough()) {
			admitted = append(admitted, n.Name)
			continue
		}
		held[n.Name], waits[n.class] = since, true
		d.counts[n.class]--
		d.refused = append(d.refused, Refusal{n.Name, d.view.Classes[n.class].Name,
			fmt.Sprintf("it can be admitted since %v, and is when that has been so for %v", long.Round(time.Millisecond), d.enough())})
	}
	d.state.Held = held
	return admitted
}

// admissible returns the newcomers that can be admitted. Where one cannot, the
// younger ones of its class cannot either, but those of other classes may.
func (d *decider) admissible(pending []newcomer) []string {
	var admitted []string
	for len(pending) > 0 {
		// Adding sources of the same kinds makes it harder, so the most that
		// can be added are found by bisection.
		most := len(pending)
		if !d.acceptable(pending) {
			low := 0
			for low+1 < most {
				if m := (low + most) / 2; d.acceptable(pending[:m]) {
					low = m
				} else {
					most = m
				}
			}
			most = low
		}
		for _, n := range pending[:most] {
			admitted = append(admitted, n.Name)
			d.counts[n.class]++
		}
		if most == len(pending) {
			break
		}
		class := pending[most].class
		why := d.whyNot(pending[most : most+1])
		var others []newcomer
		for _, n := range pending[most:] {
			if n.class == class {
				d.refused = append(d.refused, Refusal{n.Name, d.view.Classes[class].Name, why})
			} else {
				others = append(others, n)
			}
		}
		pending = others
	}
	return admitted
}

// with compiles the view for the admitted sources and these.
func (d *decider) with(more []newcomer) *problem {
	counts := slices.Clone(d.counts)
	for _, n := range more {
		counts[n.class]++
	}
	p, _ := newProblem(d.view, d.params, counts)
	return p
}

func (d *decider) acceptable(more []newcomer) bool {
	if d.view.accurate(d.params) {
		return true // if not all frames can be served, some can, of all sources alike
	}
	p := d.with(more)
	floor := d.params.MinAccuracy * p.frames
	if p.solve(goal{kind: fastest, floor: floor}) != nil {
		return true
	}
	best := p.mostAccurate() // what whyNot will say
	return best != nil && best.accuracy >= floor
}

// whyNot says with numbers why a newcomer cannot be admitted.
func (d *decider) whyNot(more []newcomer) string {
	p := d.with(more)
	all := 0
	for _, g := range p.classes {
		all += g.sources
	}
	if best := p.mostAccurate(); best != nil {
		return fmt.Sprintf("of all distributions over %s that can be served, the most accurate reaches %.4f: %.4f is asked for",
			count(all, "source"), best.accuracy/p.frames, d.params.MinAccuracy)
	}
	return fmt.Sprintf("no distribution over %s can be served: at the least, %s",
		count(all, "source"), d.overloaded(p, p.leastOverload()))
}

// room is how many sources a node has room for at what it has for itself (a
// resize, its uplink), if they are of the class and have some quality or other,
// and why not for more: an uplink that two cameras are too much for may do for one.
func (d *decider) room(c int) (sources int, why string) {
	class := &d.view.Classes[c]
	one := make([]int, len(d.view.Classes))
	one[c] = 1
	class.crowd = 0
	p, unusable := newProblem(d.view, d.params, one)
	if len(p.options) > 0 {
		return math.MaxInt, ""
	}
	why = "no quality is offered for its class with the knobs that are on"
	for i := len(class.Options) - 1; i >= 0; i-- {
		if no, ok := unusable[[2]int{c, i}]; ok {
			why = fmt.Sprintf("no quality can be served; %s: %s", class.Options[i].Quality, no)
		}
	}
	each := 0
	for i := range d.view.Stations {
		each = max(each, d.view.Stations[i].Each)
	}
	for class.crowd = each - 1; class.crowd > 0; class.crowd-- {
		if p, _ := newProblem(d.view, d.params, one); len(p.options) > 0 {
			return class.crowd, why
		}
	}
	class.crowd = 0
	return 0, why
}

// crowded refuses the sources that their own node has no room for: the newest of
// those that are not admitted, then the newest of those that are.
func (d *decider) crowded(admitted map[string]bool) map[string]bool {
	type there struct {
		Source
		class int
	}
	rooms, whys := make([]int, len(d.view.Classes)), make([]string, len(d.view.Classes))
	var all []there
	for c := range d.view.Classes {
		rooms[c], whys[c] = d.room(c)
		for _, s := range d.view.Classes[c].Sources {
			all = append(all, there{s, c})
		}
	}
	slices.SortFunc(all, func(a, b there) int {
		if admitted[a.Name] != admitted[b.Name] {
			if admitted[a.Name] {
				return -1
			}
			return 1
		}
		return byAge(a.Source, b.Source)
	})
	over, on := map[string]bool{}, map[string]int{}
	for _, s := range all {
		if room := rooms[s.class]; room == 0 || s.Node != "" && on[s.Node] >= room {
			d.refused = append(d.refused, Refusal{s.Name, d.view.Classes[s.class].Name, whys[s.class]})
			over[s.Name] = true
			continue
		}
		on[s.Node]++
	}
	return over
}

// merge puts newcomers at random places among those who stay, whose order is
// kept.
func merge(stay, come []string, rng *rand.Rand) []string {
	rng.Shuffle(len(come), func(i, j int) { come[i], come[j] = come[j], come[i] })
	all := make([]string, 0, len(stay)+len(come))
	for len(stay)+len(come) > 0 {
		from := &stay
		if rng.IntN(len(stay)+len(come)) >= len(stay) {
			from = &come
		}
		all = append(all, (*from)[0])
		*from = (*from)[1:]
	}
	return all
}

// decide chooses the distribution for the admitted sources.
func (d *decider) decide() Decision {
	out := Decision{
		Workflow: d.view.Workflow, At: d.now, Rule: d.params.Rule, MinAccuracy: d.params.MinAccuracy,
		Debt: d.state.Debt, Refused: d.refused,
	}
	p, unusable := newProblem(d.view, d.params, d.counts)
	out.Unusable = d.unusable(unusable)
	if len(p.classes) == 0 {
		out.Why = "no source is admitted"
		d.state.Distribution, d.state.Short, d.state.Accuracy = nil, false, 0
		d.state.Better, d.state.Gain, d.state.Lost = time.Time{}, 0, 0
		out.State = d.state
		return out
	}
	d.forget()
	c := d.choose(p)
	n, why, changed := c.best.n, c.why, true
	if present, ok := d.numbers(p, d.state.Distribution); ok {
		// What is overloaded since more can be served again was not chosen as what can.
		if !p.short && !d.state.Short && p.point(present).over > 0 {
			d.backOff(p, present)
			c = d.choose(p)
		}
		n, why, changed = d.hold(p, c, present)
	} else {
		d.state.Better, d.state.Gain, d.state.Lost = time.Time{}, 0, 0
		if d.state.Distribution != nil {
			why = "sources or qualities came or went; " + why
		}
	}
	d.state.Distribution, d.state.Short = d.distribution(p, n), p.short
	if changed {
		out.Gap = c.best.gap / p.frames
	}
	out.Changed, out.Why = changed, why
	d.explain(&out, p, c, n)
	d.state.Accuracy = out.Estimate.Accuracy
	out.State = d.state
	return out
}

// choice is the best distribution and what it is the best by.
type choice struct {
	best  *solution
	why   string
	floor float64               // accuracy that a distribution must have; 0: any
	score func(e point) float64 // of a mean; more is better
	// margin is how much more another must have to replace one with that score.
	margin func(score float64) float64
	unit   string // of the score
	// cautious is the problem with the limits that backoffs left to choose within;
	// nil: with all of them.
	cautious *problem
}

// choose applies the rule, away from what was overloaded before if that can be,
// and if nothing meets it, the nearest thing to it.
func (d *decider) choose(p *problem) choice {
	rules := []func(*problem) (choice, bool){d.utility}
	if d.params.Rule == RuleFastest {
		rules = []func(*problem) (choice, bool){d.fastest, d.owed, d.mostAccurate}
	}
	cautious := d.cautious(p)
	for _, rule := range rules {
		if cautious != nil {
			if c, ok := rule(cautious); ok {
				c.cautious = cautious
				return c
			}
		}
		if c, ok := rule(p); ok {
			return c
		}
	}
	p.short = true
	return choice{
		best: p.mostShown(), why: "nothing can be served without saturation: the most that can be shown", unit: "accuracy shown",
		margin: func(score float64) float64 { return shownMargin * score }, score: func(e point) float64 { return e.shown },
	}
}

// utility applies equation 5, with accuracy at the price that is owed for it.
func (d *decider) utility(p *problem) (choice, bool) {
	theta, weight := d.params.Theta, d.state.Debt.Weight(d.params.Urgency)
	c := choice{best: p.bestUtility(theta, weight), why: "the most utility", unit: "utility",
		margin: func(float64) float64 { return d.params.Margin },
		score:  func(e point) float64 { return weight*e.accuracy - theta*e.delay }}
	return c, c.best != nil
}

// fastest applies Algorithm 1, with what is owed added to the accuracy asked for.
func (d *decider) fastest(p *problem) (choice, bool) {
	c := d.byDelay()
	c.floor = min(1, d.params.MinAccuracy+d.params.Urgency*float64(d.state.Debt))
	if c.best = p.algorithm1(d.params, c.floor); c.best == nil {
		return c, false
	}
	c.why = fmt.Sprintf("the fastest with accuracy of %.3f or more", c.floor)
	if c.best.compromise {
		c.why = fmt.Sprintf("less than %s slower than the fastest, and at least %.2f more accurate", d.params.Near, d.params.MuchBetter)
	}
	return c, true
}

// owed pays as much of what is owed as can be.
func (d *decider) owed(p *problem) (choice, bool) {
	c := d.byDelay()
	if c.best = p.mostAccurate(); c.best == nil || c.best.accuracy/p.frames < d.params.MinAccuracy {
		return c, false
	}
	c.floor = c.best.accuracy/p.frames - d.params.Margin
	c.why = fmt.Sprintf("accuracy of %.3f is owed: the most accurate", d.state.Debt)
	return c, true
}

func (d *decider) byDelay() choice {
	return choice{unit: "s", score: func(e point) float64 { return -e.delay },
		margin: func(score float64) float64 { return -score * d.params.Margin }}
}

// mostAccurate is for when the accuracy asked for is out of reach.
func (d *decider) mostAccurate(p *problem) (choice, bool) {
	c := choice{
		best: p.bestUtility(0, 1), why: fmt.Sprintf("%.3f cannot be reached: the most accurate", d.params.MinAccuracy), unit: "accuracy",
		margin: func(float64) float64 { return d.params.Margin }, score: func(e point) float64 { return e.accuracy },
	}
	return c, c.best != nil
}

// mean returns the point per frame that is captured.
func (p *problem) mean(e point) point {
	return point{e.delay / p.frames, e.accuracy / p.frames, e.over, e.shown / p.frames}
}

// point is what so many sources at each option come to, per frame, with what is
// shown of it where not all can be.
func (p *problem) point(n []int) point {
	e := p.evaluate(n, make([]float64, len(p.stations)))
	if p.short {
		e.shown = p.shown(n)
	}
	return p.mean(e)
}

// Where nothing can be served: the share by which another distribution must show more
// to replace one, and so much more that it does at once.
const (
	shownMargin = 0.02
	muchMore    = 1.2
)

// slowest is into how many parts the margin is divided: what is better by less than
// one of them is not better.
const slowest = 10

// hold is the hysteresis: the present distribution stays until another has been
// better by the margin for some periods, unless it cannot go on. One that is better
// by less must have been so for longer, or what is a little worse would stay for
// good; one that is better by more, for shorter: what has been lost counts, gain
// times time, and one look alone says nothing. Where nothing can be served, one that
// shows much more is not waited for.
func (d *decider) hold(p *problem, c choice, present []int) (n []int, why string, changed bool) {
	since, gained, lost := d.state.Better, d.state.Gain, d.state.Lost
	d.state.Better, d.state.Gain, d.state.Lost = time.Time{}, 0, 0
	if slices.Equal(present, c.best.n) {
		return present, c.why, false
	}
	e := p.point(present)
	switch {
	case e.over > 1e-9 && (!p.short || c.best.shown/p.frames > muchMore*e.shown):
		return c.best.n, "the last one " + d.overloaded(p, present) + "; now " + c.why, true
	case e.accuracy < c.floor-1e-9:
		return c.best.n, fmt.Sprintf("the accuracy of the last one, %.3f, is below %.3f; now %s", e.accuracy, c.floor, c.why), true
	}
	score := c.score(e)
	gain := c.score(p.mean(c.best.point)) - score
	margin := c.margin(score)
	if gain <= margin/slowest {
		return present, fmt.Sprintf("kept: the best is better by %.4f %s, which is within the margin", max(0, gain), c.unit), false
	}
	// Since the last look it has been better by the less of what it was then and is now.
	long := time.Duration(0)
	if !since.IsZero() {
		long = max(0, d.now.Sub(since))
		lost += min(gained, gain) * max(0, d.now.Sub(d.view.State.At)).Seconds()
	}
	enough := d.enough()
	if margin > 0 { // or whatever is better has to be so for all that time
		enough = long + seconds(max(0, margin*enough.Seconds()-lost)/gain)
	}
	if long < enough || long == 0 && d.enough() > 0 {
		d.state.Better, d.state.Gain, d.state.Lost = d.now.Add(-long), gain, lost
		return present, fmt.Sprintf("kept: another has been better by %.4f %s for %v of %v",
			gain, c.unit, long.Round(time.Millisecond), enough.Round(time.Millisecond)), false
	}
	return c.best.n, fmt.Sprintf("better than the last one by %.4f %s: %s", gain, c.unit, c.why), true
}

// numbers returns a distribution as numbers; false if it does not fit the
// sources and qualities there are now.
func (d *decider) numbers(p *problem, b Distribution) ([]int, bool) {
	n := make([]int, len(p.options))
	left := map[string]int{}
	for _, g := range p.classes {
		left[d.view.Classes[g.class].Name] = g.sources
	}
	for _, s := range b {
		x := slices.IndexFunc(p.options, func(o option) bool {
			class := &d.view.Classes[o.class]
			return class.Name == s.Class && class.Options[o.index].Quality == s.Quality
		})
		if x < 0 {
			return nil, false
		}
		n[x] += s.Sources
		left[s.Class] -= s.Sources
	}
	for _, rest := range left {
		if rest != 0 {
			return nil, false
		}
	}
	return n, true
}

func (d *decider) distribution(p *problem, n []int) Distribution {
	var out Distribution
	for x, k := range n {
		if k > 0 {
			class := &d.view.Classes[p.options[x].class]
			out = append(out, Share{class.Name, class.Options[p.options[x].index].Quality, k})
		}
	}
	return out
}
