package experiment

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/weft-mesh/weft/testbed"
)

// FloorSummary is what the runs of the floor arm came to.
type FloorSummary struct {
	MinAccuracy float64 `json:"min_accuracy"`
	Sources     int     `json:"sources"` // that came
	Admitted    float64 `json:"admitted_mean"`
	// NewestRefused: in every run some were refused, and none that came before
	// one that was admitted.
	NewestRefused bool    `json:"newest_refused"`
	Why           string  `json:"why"` // of the first run
	Others        float64 `json:"others_delivered_fraction"`
	F1            float64 `json:"f1"`
}

// SqueezeSummary is what the runs of the squeeze arm came to.
type SqueezeSummary struct {
	Period float64 `json:"period_s"`
	// F1 that the qualities promise: before, at the end of the squeeze, at the end.
	Before   float64 `json:"f1_before"`
	Squeezed float64 `json:"f1_squeezed"`
	After    float64 `json:"f1_after"`
	// Periods until the distribution was as it stayed, in the slowest run;
	// nothing: it did not follow in one of them.
	Down   *float64 `json:"followed_down_periods"`
	Up     *float64 `json:"followed_up_periods"`
	Within bool     `json:"within_two_periods"`
}

// summary is nil without runs.
func (t *TrialRuns) summary() (*FloorSummary, *SqueezeSummary) {
	if t == nil {
		return nil, nil
	}
	var f *FloorSummary
	if n := float64(len(t.Floor)); n > 0 {
		f = &FloorSummary{MinAccuracy: t.Floor[0].Least, Sources: t.Floor[0].Sources, NewestRefused: true, Why: t.Floor[0].Why}
		for _, r := range t.Floor {
			f.Admitted += float64(r.Admitted) / n
			f.NewestRefused = f.NewestRefused && r.Newest && r.Admitted < r.Sources
			f.Others += r.Others / n
			f.F1 += r.F1 / n
		}
	}
	var s *SqueezeSummary
	if n := float64(len(t.Squeeze)); n > 0 {
		s = &SqueezeSummary{Period: t.Squeeze[0].Period.Seconds()}
		followed := [2]float64{}
		did := [2]bool{true, true}
		for _, r := range t.Squeeze {
			s.Before += r.Before / n
			s.Squeezed += r.Squeezed / n
			s.After += r.After / n
			for i, d := range r.followed() {
				followed[i] = max(followed[i], d.Seconds()/s.Period)
				did[i] = did[i] && d >= 0
			}
		}
		if did[0] {
			s.Down = &followed[0]
		}
		if did[1] {
			s.Up = &followed[1]
		}
		s.Within = did[0] && did[1] && max(followed[0], followed[1]) <= 2
	}
	return f, s
}

// followed is how long it took until the distribution was as it stayed while the
// link was squeezed, and as it was before; negative: it never was, or there was
// nothing to follow.
func (r *SqueezeRun) followed() [2]time.Duration {
	out := [2]time.Duration{r.DownSettled, r.UpSettled}
	if r.Down < 0 {
		out[0] = -1
	}
	if r.Up < 0 || r.After < r.Before-settled {
		out[1] = -1
	}
	return out
}

// csv writes a table of the runs of each.
func (t *TrialRuns) csv(dir string) error {
	if t == nil {
		return nil
	}
	var floor, squeeze [][]string
	for _, r := range t.Floor {
		floor = append(floor, []string{
			strconv.Itoa(r.Run), count(r.Seed), decimal(r.Least, 4), strconv.Itoa(r.Sources), strconv.Itoa(r.Admitted),
			strconv.FormatBool(r.Newest && r.Admitted < r.Sources), decimal(r.Others, 6), decimal(r.F1, 6), r.Why,
		})
	}
	seconds := func(d time.Duration) string {
		if d < 0 {
			return ""
		}
		return decimal(d.Seconds(), 3)
	}
	for _, r := range t.Squeeze {
		squeeze = append(squeeze, []string{
			strconv.Itoa(r.Run), count(r.Seed), decimal(r.Period.Seconds(), 3), decimal(r.Before, 6), decimal(r.Squeezed, 6), decimal(r.After, 6),
			seconds(r.Down), seconds(r.DownSettled), seconds(r.Up), seconds(r.UpSettled),
		})
	}
	return errors.Join(
		writeTable(filepath.Join(dir, "floor.csv"), []string{
			"run", "seed", "min_accuracy", "sources", "admitted", "newest_refused", "others_delivered_fraction", "f1", "why",
		}, floor),
		writeTable(filepath.Join(dir, "squeeze.csv"), []string{
			"run", "seed", "period_s", "f1_before", "f1_squeezed", "f1_after", "first_change_down_s", "followed_down_s", "first_change_up_s", "followed_up_s",
		}, squeeze),
	)
}

// plots draws which frames were analysed over the time of each.
func (t *TrialRuns) plots(method testbed.Method) ([]namedFile, error) {
	if t == nil {
		return nil, nil
	}
	var out []namedFile
	for i := range t.Arms {
		a := &t.Arms[i]
		recs := t.Recordings[a.Kind]
		if len(recs) == 0 {
			continue
		}
		p := plotting{sc: a.Scenario, gs: []group{{method: method, recs: recs}}, scale: 1, every: max(a.Scenario.Measure.Every, 2*time.Second)}
		if len(recs) > 1 {
			p.note = fmt.Sprintf(" (mean of %d runs, shaded from lowest to highest)", len(recs))
		}
		c := p.qualities().chart
		if c == nil {
			continue // one quality only
		}
		data, err := c.png()
		if err != nil {
			return nil, err
		}
		out = append(out, namedFile{string(a.Kind) + ".png", data})
	}
	return out, nil
}

// write adds what became of each to a report.
func (t *TrialRuns) write(w *markdown) {
	floor, squeeze := t.summary()
	if floor != nil {
		w.linef("## Accuracy floor")
		w.linef("")
		w.linef("Sources come one by one, and an F1 of %.4f is asked for. %s of %d are admitted, %s; of the frames of those, %.1f %% are delivered, with an F1 of %.4f. "+
			"Nobody else is sent away for a newcomer.", floor.MinAccuracy, number(round(floor.Admitted, 2)), floor.Sources,
			map[bool]string{true: "and the newest are refused", false: "**but not the newest are refused**"}[floor.NewestRefused], 100*floor.Others, floor.F1)
		w.linef("")
		w.linef("> %s", safe(floor.Why))
		w.linef("")
	}
	if squeeze != nil {
		w.linef("## Squeezed link")
		w.linef("")
		w.linef("The bandwidth of the sources' uplinks is divided by %d, and restored. The distribution is decided about every %s s.", squeezed, number(squeeze.Period))
		w.linef("")
		var rows [][]string
		periods := func(d, period time.Duration) string {
			if d < 0 {
				return "never"
			}
			return number(round(float64(d)/float64(period), 2))
		}
		for _, r := range t.Squeeze {
			f := r.followed()
			rows = append(rows, []string{
				count(r.Seed), decimal(r.Before, 3), decimal(r.Squeezed, 3), decimal(r.After, 3), periods(r.Down, r.Period), periods(f[0], r.Period),
				periods(r.Up, r.Period), periods(f[1], r.Period),
			})
		}
		w.table("seed|>F1 before|>F1 squeezed|>F1 after|>first change (periods)|>followed (periods)|>first change back (periods)|>followed back (periods)", rows)
		w.linef("F1: what the qualities of all sources promise, 0 for one that is held. Followed: it has come to within %s of what it stays at.", number(settled))
		w.linef("")
	}
	for i := range t.arms() {
		if recs := t.Recordings[t.Arms[i].Kind]; len(recs) > 0 {
			w.linef("### Decided: %s, seed %d", safe(t.Arms[i].Name), recs[0].Seed)
			w.linef("")
			decided(w, adapted(recs[0]))
		}
	}
}

func (t *TrialRuns) arms() []Arm {
	if t == nil {
		return nil
	}
	return t.Arms
}
