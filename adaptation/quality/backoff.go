package quality

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Backoff keeps away from the limit of a station that a distribution was left for,
// being overloaded. What is measured varies: where the best distribution is just
// below the limit, it would be taken whenever it seems to fit, and left whenever it
// does not, for ever.
type Backoff struct {
	// Level is how often that happened lately, up to 5: for each, up to 3, what newly
	// loads the station has to leave a twentieth more of its limit free.
	Level int       `json:"level"`
	Until time.Time `json:"until"` // for twice as long each time
	// Servers is how many the station had. With more it is another.
	Servers int `json:"servers"`
}

const (
	backoffLevels = 5
	backoffStep   = 0.05
	backoffMost   = 3 // steps
)

// lasting is how long a level lasts, and then is remembered for: 4 periods, 8, ….
func (d *decider) lasting(level int) time.Duration {
	return time.Duration(max(1, d.params.Patience)<<level) * d.params.Period
}

// backOff takes down which stations the present distribution, which is left,
// overloads.
func (d *decider) backOff(p *problem, present []int) {
	loads := make([]float64, len(p.stations))
	p.loads(present, loads)
	d.state.Backoffs = maps.Clone(d.state.Backoffs)
	if d.state.Backoffs == nil {
		d.state.Backoffs = map[string]Backoff{}
	}
	for s, rho := range loads {
		if rho > p.stations[s].limit+1e-12 {
			station := &d.view.Stations[s]
			b := d.state.Backoffs[station.Name]
			// What is measured follows a loss by and by: what is left for it again
			// within a period was not left by mistake once more.
			if b.Level == 0 || !d.now.Before(b.Until.Add(d.params.Period-d.lasting(b.Level))) {
				b.Level = min(b.Level+1, backoffLevels)
			}
			d.state.Backoffs[station.Name] = Backoff{b.Level, d.now.Add(d.lasting(b.Level)), station.Servers}
		}
	}
}

// forget drops backoffs that have been over for as long as they lasted, and those
// from stations that have more servers now.
func (d *decider) forget() {
	d.state.Backoffs = maps.Clone(d.state.Backoffs)
	maps.DeleteFunc(d.state.Backoffs, func(name string, b Backoff) bool {
		return !d.now.Before(b.Until.Add(d.lasting(b.Level))) ||
			slices.ContainsFunc(d.view.Stations, func(s Station) bool { return s.Name == name && s.Servers > b.Servers })
	})
}

// cautious returns p with the limits that backoffs leave; nil: they are as they were.
func (d *decider) cautious(p *problem) *problem {
	var out *problem
	for s := range p.stations {
		b, ok := d.state.Backoffs[d.view.Stations[s].Name]
		if !ok || !d.now.Before(b.Until) {
			continue
		}
		if out == nil {
			clone := *p
			clone.stations = slices.Clone(p.stations)
			clone.served, clone.loaded = nil, nil
			out = &clone
		}
		out.stations[s].limit *= 1 - backoffStep*float64(min(b.Level, backoffMost))
	}
	if out != nil {
		out.bound()
	}
	return out
}

// avoided says which backoff, and until when, keeps a distribution from being
// chosen within the limits that they leave; empty: none does.
func (d *decider) avoided(cautious *problem, n []int) string {
	if cautious == nil {
		return ""
	}
	loads := make([]float64, len(cautious.stations))
	cautious.loads(n, loads)
	for s, rho := range loads {
		if limit := cautious.stations[s].limit; rho > limit+1e-12 {
			name := d.view.Stations[s].Name
			return fmt.Sprintf("loads %s to %.0f %%, and that was overloaded before: more than %.0f %% again in %v",
				name, 100*rho, 100*limit, d.state.Backoffs[name].Until.Sub(d.now).Round(time.Millisecond))
		}
	}
	return ""
}
