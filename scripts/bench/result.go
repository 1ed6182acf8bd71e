package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Ratio is one comparison. Bigger is better, whatever the unit: where Better
// is "less" it is Other over Ours.
type Ratio struct {
	Name  string  `json:"name"`
	Ratio float64 `json:"ratio"` // median of the turns
	Aim   float64 `json:"aim"`   // at least; 0: none was set
	Ours  float64 `json:"ours"`  // median
	Other float64 `json:"other"` // median; of a limit: the limit
	Unit  string  `json:"unit"`

	Against string  `json:"against"` // what Other is
	Better  string  `json:"better"`  // more or less of Unit
	Low     float64 `json:"low"`     // least ratio of a turn
	High    float64 `json:"high"`    // greatest
	Turns   int     `json:"turns"`
	Met     *bool   `json:"met,omitempty"`  // the aim; nil: none was set
	Note    string  `json:"note,omitempty"` // what a reader must know to read it right
}

// The values of Ratio.Better.
const (
	more = "more"
	less = "less"
)

// compare makes a Ratio of the turns of both sides, which were taken in pairs.
func compare(name, against, unit, better string, aim float64, ours, other []float64) Ratio {
	r := Ratio{Name: name, Aim: aim, Unit: unit, Against: against, Better: better,
		Ours: median(ours), Other: median(other), Turns: min(len(ours), len(other))}
	ratios := make([]float64, r.Turns)
	for i := range ratios {
		ratios[i] = quotient(ours[i], other[i])
		if better == less {
			ratios[i] = quotient(other[i], ours[i])
		}
	}
	r.Ratio = median(ratios)
	if len(ratios) > 0 {
		r.Low, r.High = slices.Min(ratios), slices.Max(ratios)
	}
	if aim > 0 {
		r.Met = new(r.Ratio >= aim)
	}
	return r
}

// within makes a Ratio of a figure and what it must not exceed.
func within(name, unit string, limit float64, ours []float64) Ratio {
	return compare(name, "limit", unit, less, 1, ours, slices.Repeat([]float64{limit}, len(ours)))
}

// quotient is a/b for JSON, which has no infinity. Nothing is as good as
// nothing else: where neither side achieved anything, no aim is met.
func quotient(a, b float64) float64 {
	switch {
	case a == 0:
		return 0
	case b == 0:
		return most
	}
	return min(a/b, most)
}

// most is the greatest ratio that is told: the other side achieved nothing.
const most = 1000

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func (r Ratio) String() string {
	s := fmt.Sprintf("%s: %s %s, %s %s: ratio %.2f (%s)", r.Name, short(r.Ours), r.Unit, r.Against, short(r.Other), r.Ratio, r.spread())
	if r.Met != nil {
		s += fmt.Sprintf(", aim %.2g %s", r.Aim, map[bool]string{true: "met", false: "MISSED"}[*r.Met])
	}
	if r.Note != "" {
		s += "; " + r.Note
	}
	return s
}

// spread is the least and the greatest ratio of the turns.
func (r Ratio) spread() string { return fmt.Sprintf("%.2f to %.2f", r.Low, r.High) }

// short formats a figure with three significant digits.
func short(v float64) string {
	if math.Abs(v) >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// write puts the results into dir. about says what they were measured on.
func write(dir, about string, all []Ratio) error {
	if all == nil {
		all = []Ratio{}
	}
	b, err := json.MarshalIndent(map[string]any{"ratios": all}, "", "  ")
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"bench.json": append(b, '\n'), "bench.md": []byte(about + "\n\n" + table(all))} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// machine says what the figures were measured on, and when.
func machine(now time.Time) string {
	var u unix.Utsname
	_ = unix.Uname(&u) // fails for bad arguments only
	return fmt.Sprintf("Measured on %d cores, Linux %s, on %s. Ratio: the median of the turns, above 1 in Weft's favour; spread: the least and the greatest.",
		runtime.NumCPU(), unix.ByteSliceToString(u.Release[:]), now.Format("2 January 2006"))
}

// table is the results for a README.
func table(all []Ratio) string {
	var b strings.Builder
	b.WriteString("| what | Weft | against | ratio | spread | aim |\n|---|---|---|---|---|---|\n")
	for _, r := range all {
		aim := "–"
		if r.Met != nil {
			aim = fmt.Sprintf("≥ %.2g", r.Aim)
			if !*r.Met {
				aim += ", missed"
			}
		}
		name := strings.TrimSuffix(r.Name, ", against "+r.Against) // it has a column
		if r.Note != "" {
			name += " (" + r.Note + ")"
		}
		fmt.Fprintf(&b, "| %s | %s %s | %s: %s | %.2f | %s | %s |\n", name, short(r.Ours), r.Unit, r.Against, short(r.Other), r.Ratio, r.spread(), aim)
	}
	return b.String()
}
