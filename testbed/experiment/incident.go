package experiment

import (
	"slices"
	"time"

	"github.com/weft-mesh/weft/testbed"
)

// incident is the events of a timeline that happen at the same time.
type incident struct {
	number int           // from 1
	at     time.Duration // as the scenario says
	events []testbed.Event
}

// incidents groups a timeline, which is in order of time.
func incidents(timeline []testbed.Event) []incident {
	var out []incident
	for _, e := range timeline {
		if n := len(out); n > 0 && out[n-1].at == e.At {
			out[n-1].events = append(out[n-1].events, e)
			continue
		}
		out = append(out, incident{len(out) + 1, e.At, []testbed.Event{e}})
	}
	return out
}

// takes reports whether the incident takes something away. One that changes a
// link is held to do so.
func (i *incident) takes() bool {
	return slices.ContainsFunc(i.events, func(e testbed.Event) bool {
		switch e.Action {
		case testbed.Kill, testbed.Stop, testbed.Pause, testbed.Drain, testbed.Partition, testbed.Change:
			return true
		}
		return false
	})
}

// what says what happens, for people.
func (i *incident) what() []string {
	out := []string{}
	for _, e := range i.events {
		out = append(out, e.String())
	}
	return out
}

// moment is when an incident came about in a run, and what failed of it.
type moment struct {
	at     time.Duration
	errors []string
}

// moments finds the marks of each incident: those of the timeline come in its
// order. An event without a mark was not carried out: the run was over before.
func moments(all []incident, marks []testbed.Mark) []moment {
	var done []testbed.Mark
	for _, m := range marks {
		if m.Kind == testbed.Timeline {
			done = append(done, m)
		}
	}
	sortBy(done, func(m testbed.Mark) time.Duration { return m.At })
	out := make([]moment, len(all))
	for k, in := range all {
		out[k] = moment{at: in.at, errors: []string{}}
		for n, e := range in.events {
			i := slices.IndexFunc(done, func(m testbed.Mark) bool { return m.Type == string(e.Action) })
			if i < 0 {
				out[k].errors = append(out[k].errors, e.String()+": the run was over before")
				continue
			}
			if n == 0 {
				out[k].at = done[i].At
			}
			if done[i].Error != "" {
				out[k].errors = append(out[k].errors, e.String()+": "+done[i].Error)
			}
			done = slices.Delete(done, i, i+1)
		}
	}
	// An incident does not come before the one before it.
	for k := 1; k < len(out); k++ {
		out[k].at = max(out[k].at, out[k-1].at)
	}
	return out
}
