package survey

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/weft-mesh/weft/adaptation/quality"
	"github.com/weft-mesh/weft/tiering"
)

// Why there is no view.
var (
	// ErrOff: the workflow is not to be adapted, or there is nothing that could
	// be: it has one quality only, its graph is not a chain, or none of its
	// models is as accurate as it asks for.
	ErrOff = errors.New("not adapted")
	// ErrUnknown: what is needed is not known yet.
	ErrUnknown = errors.New("not enough is known")
)

// Costs is what a frame was measured to take. What is missing was not measured.
type Costs struct {
	Capture time.Duration                       // grab and decode, mean over the sources
	Execute map[string]map[string]time.Duration // by task and node: reduce and execute
	// Transfer is what frames take to a task if they come from another node, from
	// when they are encoded to when they are decoded; by task.
	Transfer map[string]time.Duration
	// Link is the part of it for which the link is taken, which the frames of
	// several share: all of it where nobody says.
	Link map[string]time.Duration
	// Turns is how many instances of a node work at a time, by task and node, where
	// there are more that take turns.
	Turns map[string]map[string]int
	// Alone is what executing takes where nothing else runs beside it, by task and
	// node, and Cores how many such executions at a time a node does the work of, for
	// nodes whose instances slow each other down; of others nothing is said.
	Alone map[string]map[string]time.Duration
	Cores map[string]float64
}

// Input is what is known of a workflow.
type Input struct {
	Workflow *tiering.Workflow
	// Placements are those of sources and instances that frames go to now.
	Placements []tiering.Placement
	// Rates are the frames a second that sources would have analysed at full
	// rate; a source that is not named does not run.
	Rates map[string]float64
	// Passes is the share of the frames that filters let go on; 0 stands for all.
	Passes float64
	Joined func(source string) time.Time
	Costs  Costs
	RTT    tiering.RoundTrips // may be nil
	// Profiled is the mean time that a frame was measured to take on a node when
	// nothing else ran there; false: it was not, or the task has no model. May be
	// nil.
	Profiled func(node string, t *tiering.Task) (time.Duration, bool)
}

// Params returns how the workflow wants to be adapted; ErrOff: not at all.
func Params(w *tiering.Workflow) (quality.Params, error) {
	a := tiering.DefaultAdapting()
	if w.Adapting != nil {
		a = *w.Adapting
	}
	p := quality.DefaultParams()
	if a.Rule == tiering.AdaptOff {
		return p, fmt.Errorf("%w: its document says so", ErrOff)
	}
	p.Rule, p.Theta, p.Period, p.MinAccuracy = quality.Rule(a.Rule), a.Theta, a.Period, w.Objectives.MinAccuracy
	p.Deadline = w.Objectives.Deadline
	p.Knobs = quality.Knobs{
		Resolution: slices.Contains(a.Knobs, tiering.KnobResolution),
		Rate:       slices.Contains(a.Knobs, tiering.KnobRate),
		Model:      slices.Contains(a.Knobs, tiering.KnobModel),
	}
	return p, p.Validate()
}

// View returns what package quality decides about. The error is ErrOff or
// ErrUnknown, and says why.
func View(in Input, knobs quality.Knobs) (quality.View, error) {
	s := surveyor{Input: &in, knobs: knobs, placed: map[string][]tiering.Placement{}, models: map[string]*quality.ModelAccuracy{}}
	for _, p := range in.Placements {
		if !p.Source {
			s.placed[p.Task] = append(s.placed[p.Task], p)
		} else if _, runs := in.Rates[p.Task]; runs {
			s.sources = append(s.sources, p)
		}
	}
	v := quality.View{Workflow: in.Workflow.Name}
	if err := s.chain(); err != nil {
		return v, err
	}
	if len(s.sources) == 0 {
		return v, fmt.Errorf("%w: no source runs", ErrUnknown)
	}
	s.discover()
	if err := s.classes(&v); err != nil {
		return v, err
	}
	v.Stations = s.stations
	best, err := s.mostAccurate(&v)
	if err == nil && best < in.Workflow.Objectives.MinAccuracy {
		err = fmt.Errorf("%w: an accuracy of %.3f is asked for, and the models reach %.3f at best; ask for less, or offer a better model",
			ErrOff, in.Workflow.Objectives.MinAccuracy, best)
	}
	return v, err
}

// mostAccurate is the mean accuracy if every source had the best quality that the
// workflow offers it. Where that is not enough nothing can be decided that would
// do: to hold every source would serve nobody. What has no instance just now
// counts, for it may have one again.
func (s *surveyor) mostAccurate(v *quality.View) (float64, error) {
	var frames, sum float64
	for i := range v.Classes {
		c := &v.Classes[i]
		best := 0.0
		for k := range s.Workflow.Tasks {
			t := &s.Workflow.Tasks[k]
			if !s.may(c, t) {
				continue
			}
			a, err := s.accuracy(t.Model)
			if err != nil {
				return 0, err
			}
			best = max(best, FilterKeeps(s.Workflow)*a.Of(quality.Quality{Resolution: t.Model.Resolution, Every: 1}, c.FPS))
		}
		n := c.FPS * float64(len(c.Sources))
		frames, sum = frames+n, sum+n*best
	}
	return sum / frames, nil
}

type surveyor struct {
	*Input
	knobs    quality.Knobs
	sources  []tiering.Placement            // that run
	placed   map[string][]tiering.Placement // by task
	groups   []group                        // in the order in which frames pass them
	stations []quality.Station
	pools    map[string]map[string][]tiering.Placement // by group after analysis and task that analyses: see pool
	analysed bool                                      // the path that is made has come to what follows the analysis
	models   map[string]*quality.ModelAccuracy
}

// group is a step of the chain.
type group struct {
	name     string
	analyses bool
	tasks    []*tiering.Task
}

// chain finds the order in which frames pass the groups.
func (s *surveyor) chain() error {
	w := s.Workflow
	byName := map[string]*group{}
	for i := range w.Tasks {
		t := &w.Tasks[i]
		g := byName[t.Group]
		if g == nil {
			g = &group{name: t.Group, analyses: t.Model != nil}
			byName[t.Group] = g
		}
		g.tasks = append(g.tasks, t)
	}
	next := map[string][]string{}
	for _, l := range w.Links {
		if !slices.Contains(next[l.From], l.To) {
			next[l.From] = append(next[l.From], l.To)
		}
	}
	first := next[w.Sources[0].Name]
	for i := range w.Sources {
		if !slices.Equal(next[w.Sources[i].Name], first) {
			return fmt.Errorf("%w: frames of %s and %s go different ways", ErrOff, w.Sources[0].Name, w.Sources[i].Name)
		}
	}
	analyses := 0
	for step := first; len(step) > 0; step = next[step[0]] {
		if len(step) > 1 {
			return fmt.Errorf("%w: frames go to %s and %s at once", ErrOff, step[0], step[1])
		}
		g := byName[step[0]]
		if g.analyses {
			analyses++
		}
		s.groups = append(s.groups, *g)
	}
	if analyses != 1 {
		return fmt.Errorf("%w: %d steps analyse the frames", ErrOff, analyses)
	}
	return nil
}

// classes puts the sources that are alike together.
func (s *surveyor) classes(v *quality.View) error {
	type kind struct {
		fps float64
		own quality.Quality
	}
	at := map[kind]int{}
	var kinds []kind // by class
	slices.SortFunc(s.sources, func(a, b tiering.Placement) int { return cmp.Compare(a.Task, b.Task) })
	for _, p := range s.sources {
		src, ok := s.Workflow.Source(p.Task)
		if !ok {
			continue
		}
		own, ok := s.own(src)
		if !ok {
			return fmt.Errorf("%w: no task analyses frames of %s at %d", ErrOff, src.Name, src.Resolution)
		}
		rate := s.Rates[p.Task]
		k := kind{nominal(src.FPS, rate), own}
		i, ok := at[k]
		if !ok {
			i = len(v.Classes)
			at[k], kinds = i, append(kinds, k)
			v.Classes = append(v.Classes, quality.Class{Name: fmt.Sprintf("%s at %.3g/s", own, k.fps), Own: own, Passes: s.Passes})
		}
		c := &v.Classes[i]
		c.Sources = append(c.Sources, quality.Source{Name: src.Name, Joined: s.Joined(src.Name), Node: p.Node})
		c.FPS += (rate - c.FPS) / float64(len(c.Sources)) // the mean
	}
	choices := 0
	for i := range v.Classes {
		c := &v.Classes[i]
		if err := s.options(c, kinds[i].fps); err != nil {
			return err
		}
		if len(c.Options) == 0 {
			return fmt.Errorf("%w: no instance runs that analyses frames of %s", ErrUnknown, c.Sources[0].Name)
		}
		choices = max(choices, s.offered(c))
	}
	if choices < 2 {
		return fmt.Errorf("%w: the sources have one quality only; offer several resolutions up to theirs", ErrOff)
	}
	return nil
}

// offered is how many qualities the workflow offers to the class. That one of
// them has no instance just now is no reason not to adapt: its frames need
// another.
func (s *surveyor) offered(c *quality.Class) int {
	n := len(c.Options)
	for i := range s.Workflow.Tasks {
		if t := &s.Workflow.Tasks[i]; len(s.placed[t.Name]) == 0 && s.may(c, t) {
			n++
		}
	}
	return n
}

// may reports whether a quality that the task gives is one for the class.
func (s *surveyor) may(c *quality.Class, t *tiering.Task) bool {
	return t.Model != nil && t.Model.Resolution <= c.Own.Resolution &&
		(s.knobs.Resolution || t.Model.Resolution == c.Own.Resolution) && (s.knobs.Model || t.Model.Name == c.Own.Model)
}

// nominal is the rate that puts a source into its class. Measured rates differ a
// little where they are meant to be the same, and change from one decision to
// the next: a source that runs about as its document says is of that rate, and
// others are taken to the next step of an eighth.
func nominal(said, measured float64) float64 {
	if said > 0 && math.Abs(measured-said) <= said/4 {
		return said
	}
	const step = 1.125
	return math.Pow(step, math.Round(math.Log(measured)/math.Log(step)))
}

// own is the quality that the document asks for.
func (s *surveyor) own(src *tiering.Source) (quality.Quality, bool) {
	for _, g := range s.groups {
		for _, t := range g.tasks {
			if t.Model != nil && t.Model.Resolution == src.Resolution {
				return quality.Quality{Model: t.Model.Name, Resolution: src.Resolution, Every: 1}, true
			}
		}
	}
	return quality.Quality{}, false
}

// mostSkipped is how few frames are analysed at most: one in so many.
const mostSkipped = 4

// options are the qualities that the class can have, the best resolution first.
// What fewer frames cost is that of the rate which its sources are meant to have:
// it is not to change, nor to be known or not, with what is measured of that.
func (s *surveyor) options(c *quality.Class, fps float64) error {
	var tasks []*tiering.Task
	for _, g := range s.groups {
		if g.analyses {
			tasks = slices.Clone(g.tasks)
		}
	}
	slices.SortStableFunc(tasks, func(a, b *tiering.Task) int { return cmp.Compare(b.Model.Resolution, a.Model.Resolution) })
	for _, t := range tasks {
		q := quality.Quality{Model: t.Model.Name, Resolution: t.Model.Resolution, Every: 1}
		if len(s.placed[t.Name]) == 0 || !s.may(c, t) {
			continue
		}
		accuracy, err := s.accuracy(t.Model)
		if err != nil {
			return err
		}
		path, err := s.path(t)
		if err != nil {
			return err
		}
		for ; q.Every == 1 || q.Every <= mostSkipped && s.rated(t.Model, fps/float64(q.Every)); q.Every++ {
			c.Options = append(c.Options, quality.Option{Quality: q, Accuracy: FilterKeeps(s.Workflow) * accuracy.Of(q, fps), Path: path})
		}
	}
	return nil
}

// rated says whether it was measured what is left of the model's accuracy at so
// many frames a second: below the least that was measured nothing is known.
func (s *surveyor) rated(m *tiering.Model, fps float64) bool {
	const rounded = 1.001 // 8.333 is 25/3
	return s.knobs.Rate && slices.ContainsFunc(m.Rates, func(r tiering.Rate) bool { return r.FPS <= fps*rounded })
}

// FilterKeeps is the share of accuracy that a workflow's filters keep. What one
// with a fixed threshold keeps nobody knows; it counts as all.
func FilterKeeps(w *tiering.Workflow) float64 {
	kept := 1.0
	for i := range w.Tasks {
		t := &w.Tasks[i]
		if t.Operation != tiering.OperationFilter {
			continue
		}
		if share, err := strconv.ParseFloat(t.Settings["accuracy"], 64); err == nil {
			kept *= share
		}
	}
	return kept
}

func (s *surveyor) accuracy(m *tiering.Model) (*quality.ModelAccuracy, error) {
	if a := s.models[m.Name]; a != nil {
		return a, nil
	}
	a, err := Accuracy(m)
	if err != nil {
		return nil, fmt.Errorf("%w: model %s: %w", ErrUnknown, m.Name, err)
	}
	s.models[m.Name] = a
	return a, nil
}

// Accuracy fits the curves through what was measured of a model.
func Accuracy(m *tiering.Model) (*quality.ModelAccuracy, error) {
	points := make([]quality.Point, 0, len(m.Measured))
	for _, p := range m.Measured {
		points = append(points, quality.Point{X: float64(p.Resolution), F1: p.F1})
	}
	var a quality.ModelAccuracy
	var err error
	if a.Resolution, err = quality.Fit(points); err != nil || len(m.Rates) == 0 {
		return &a, err
	}
	points = points[:0]
	for _, r := range m.Rates {
		points = append(points, quality.Point{X: r.FPS, F1: r.Kept})
	}
	rate, err := quality.Fit(points)
	a.Rate = &rate
	return &a, err
}
