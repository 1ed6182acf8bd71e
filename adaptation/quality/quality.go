package quality

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/tiering"
)

// Quality is one way to analyse a source's frames.
type Quality = tiering.Quality

// Knobs says which parts of a quality may differ from the source's own.
type Knobs struct {
	Resolution bool `json:"resolution"`
	Rate       bool `json:"rate"`
	Model      bool `json:"model"`
}

func (k Knobs) allow(own, q Quality) bool {
	return (k.Resolution || q.Resolution == own.Resolution) &&
		(k.Rate || q.Every == own.Every) && (k.Model || q.Model == own.Model)
}

// Source is one camera.
type Source struct {
	Name   string    `json:"name"`
	Joined time.Time `json:"joined"`
	Node   string    `json:"node,omitempty"` // whose own stations it shares; empty: nobody knows
}

// Option is a quality that the sources of a class can have.
type Option struct {
	Quality  Quality
	Accuracy float64 // F1, 0–1: equation 4, or measured
	Path     Path
}

// Class is a set of sources that are interchangeable: the same frame rate, the
// same qualities, and the same costs to bring frames into the mesh.
type Class struct {
	Name    string
	FPS     float64 // frames captured a second by each source, if none is skipped
	Passes  float64 // share of them that filters let go on; 0 stands for all
	Own     Quality // what its sources have when nothing is reduced
	Options []Option
	Sources []Source

	crowd int // at most so many of them are on one node; 0: as the stations have it
}

// rate is how many frames a second of each source go on to be analysed, if none
// is skipped.
func (c *Class) rate() float64 {
	if c.Passes == 0 {
		return c.FPS
	}
	return c.FPS * c.Passes
}

// View is one workflow as it is now.
type View struct {
	Workflow string
	Stations []Station
	Classes  []Class
	// Analysed is for how long of the time since the last decision frames were
	// analysed. Only then accuracy is owed or paid: what is not analysed is not
	// analysed badly.
	Analysed time.Duration
	State    State // of the last Decision; zero at first
}

// Share is how many sources of a class have a quality.
type Share struct {
	Class   string  `json:"class"`
	Quality Quality `json:"quality"`
	Sources int     `json:"sources"`
}

// Distribution says how many sources have which quality: what the paper calls
// b in B. It has no share without sources, and lists them in the order of the
// view's classes and options.
type Distribution []Share

// State is what one decision hands to the next.
type State struct {
	At       time.Time `json:"at"`     // of the last decision
	Ticked   time.Time `json:"ticked"` // when the mapping last rotated
	Turn     int       `json:"turn"`   // how often it has
	Admitted []string  `json:"admitted"`
	// Held are the sources that were refused, and since when each could be
	// admitted; zero: it cannot.
	Held     map[string]time.Time `json:"held,omitempty"`
	Debt     Debt                 `json:"debt"`
	Accuracy float64              `json:"accuracy"` // estimated, since At
	// Better is since when another distribution has been better; zero: none is. Gain
	// is by how much when it was last looked at, and Lost that times seconds.
	Better time.Time `json:"better_since,omitzero"`
	Gain   float64   `json:"gain,omitempty"`
	Lost   float64   `json:"lost,omitempty"`
	// Short: nothing could be served without saturation.
	Short    bool               `json:"short,omitempty"`
	Backoffs map[string]Backoff `json:"backoffs,omitempty"` // by station

	Distribution Distribution `json:"distribution"`
}

// Rule is how a distribution is chosen.
type Rule string

// The rules.
const (
	RuleUtility Rule = "utility" // equations 5 and 6
	RuleFastest Rule = "fastest" // Algorithm 1
)

// Params are what the user or operator sets.
type Params struct {
	Rule        Rule          `json:"rule"`
	MinAccuracy float64       `json:"min_accuracy"` // a_min
	Theta       float64       `json:"theta"`        // Θ: accuracy that a second of latency is worth
	Patience    int           `json:"patience"`     // periods in which a better distribution must be found better
	Margin      float64       `json:"margin"`       // by how much: utility, or share of the latency
	Period      time.Duration `json:"period"`       // between two decisions that rotate the mapping
	Near        time.Duration `json:"near"`         // Algorithm 1: less slower than this …
	MuchBetter  float64       `json:"much_better"`  // … and at least this more accurate wins
	// Urgency is how strongly debt raises the price of accuracy: 1/V of
	// drift-plus-penalty. See [Debt].
	Urgency float64 `json:"urgency"`
	// Deadline is the age at which a frame is of no use any more. With it, frames
	// that a full queue drops are counted, at what they cost in utility; 0: no
	// queue is ever full.
	Deadline time.Duration `json:"deadline,omitempty"`
	// MaxLoad is the utilisation from which a station counts as saturated.
	MaxLoad float64 `json:"max_load"`
	Knobs   Knobs   `json:"knobs"`
}

// DefaultParams returns the paper's values where it has any.
func DefaultParams() Params {
	return Params{
		Rule: RuleUtility, MinAccuracy: 0.5, Theta: 0.2, Patience: 2, Margin: 0.01,
		Period: 10 * time.Second, Near: 10 * time.Millisecond, MuchBetter: 0.2,
		Urgency: 1, MaxLoad: 0.95, Knobs: Knobs{Resolution: true},
	}
}

// ErrInvalid reports parameters or a view that make no sense.
var ErrInvalid = errors.New("invalid quality adaptation")

// Validate reports the first parameter that is out of range.
func (p Params) Validate() error {
	bad := func(name string, value any, want string) error {
		return fmt.Errorf("%w: %s is %v; use %s", ErrInvalid, name, value, want)
	}
	switch {
	case p.Rule != RuleUtility && p.Rule != RuleFastest:
		return bad("rule", fmt.Sprintf("%q", p.Rule), "utility or fastest")
	case !within(p.MinAccuracy, 0, 1):
		return bad("min_accuracy", p.MinAccuracy, "an F1 score from 0 to 1")
	case !within(p.Theta, 0, 1e6):
		return bad("theta", p.Theta, "accuracy per second, not negative")
	case p.Patience < 0:
		return bad("patience", p.Patience, "a number of periods, not negative")
	case !within(p.Margin, 0, 1):
		return bad("margin", p.Margin, "a number from 0 to 1")
	case p.Period <= 0:
		return bad("period", p.Period, "a positive duration")
	case p.Near < 0:
		return bad("near", p.Near, "a duration that is not negative")
	case !within(p.MuchBetter, 0, 1):
		return bad("much_better", p.MuchBetter, "a difference of F1 scores from 0 to 1")
	case !within(p.Urgency, 0, 1e6):
		return bad("urgency", p.Urgency, "a number that is not negative")
	case p.Deadline < 0:
		return bad("deadline", p.Deadline, "a duration that is not negative")
	case !within(p.MaxLoad, 0.01, 0.999):
		return bad("max_load", p.MaxLoad, "a utilisation from 0.01 to 0.999")
	}
	return nil
}

// within is false for NaN, too.
func within(x, least, most float64) bool { return x >= least && x <= most }

// Validate reports the first thing in the view that makes no sense.
func (v *View) Validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: workflow %q: %s", ErrInvalid, v.Workflow, fmt.Sprintf(format, args...))
	}
	stations := make(map[string]bool, len(v.Stations))
	for i := range v.Stations {
		s := &v.Stations[i]
		if stations[s.Name] {
			return bad("two stations are called %q", s.Name)
		}
		stations[s.Name] = true
		if err := s.validate(); err != nil {
			return bad("station %q: %s", s.Name, err)
		}
	}
	if v.Analysed < 0 {
		return bad("frames were analysed for %v; use a duration that is not negative", v.Analysed)
	}
	classes, sources := map[string]bool{}, map[string]bool{}
	for i := range v.Classes {
		c := &v.Classes[i]
		if classes[c.Name] {
			return bad("two classes are called %q", c.Name)
		}
		classes[c.Name] = true
		if !within(c.FPS, 1e-6, 1e6) {
			return bad("class %q has %g frames a second; use a positive rate", c.Name, c.FPS)
		}
		if !within(c.Passes, 0, 1) {
			return bad("filters let a share of %g of the frames of class %q pass; use a number from 0 to 1", c.Passes, c.Name)
		}
		offered := map[Quality]bool{}
		for _, o := range c.Options {
			if offered[o.Quality] {
				return bad("class %q offers %s twice", c.Name, o.Quality)
			}
			offered[o.Quality] = true
			if o.Quality.Every < 1 || !within(o.Accuracy, 0, 1) {
				return bad("class %q, %s: one frame in %d, accuracy %g; use 1 or more, and 0 to 1",
					c.Name, o.Quality, o.Quality.Every, o.Accuracy)
			}
			for _, visit := range o.Path.visits() {
				if visit.Service < 0 || visit.Delay < 0 {
					return bad("class %q, %s: a negative time at %q", c.Name, o.Quality, visit.Station)
				}
				if visit.Station != "" && !stations[visit.Station] {
					return bad("class %q, %s passes station %q, which is not in the view", c.Name, o.Quality, visit.Station)
				}
			}
		}
		for _, s := range c.Sources {
			if sources[s.Name] {
				return bad("source %q is there twice", s.Name)
			}
			sources[s.Name] = true
		}
	}
	return nil
}

// byAge orders sources by when they joined, then by name.
func byAge(a, b Source) int {
	return cmp.Or(a.Joined.Compare(b.Joined), cmp.Compare(a.Name, b.Name))
}
