package experiment

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// SweepsSummary is sweeps.json.
type SweepsSummary struct {
	Scenario string         `json:"scenario"`
	Sweeps   []SweepSummary `json:"sweeps"`
	Map      *MapSummary    `json:"map,omitempty"`
	Optimum  *Optimum       `json:"optimum,omitempty"`
	// Worst is the point at which ours comes to the least of the best arm.
	Worst *WorstPoint `json:"worst,omitempty"`
}

// WorstPoint is a point of a sweep.
type WorstPoint struct {
	Parameter Parameter `json:"parameter"`
	Value     float64   `json:"value"`
	Ratio     float64   `json:"utility_ratio_to_best"`
	Best      string    `json:"best"`
}

// SweepSummary is one sweep.
type SweepSummary struct {
	Parameter Parameter      `json:"parameter"`
	Points    []PointSummary `json:"points"`
}

// PointSummary is the arms at one value.
type PointSummary struct {
	Value float64      `json:"value"`
	Arms  []ArmAtPoint `json:"arms"`
	Best  string       `json:"best"`
	Ratio float64      `json:"utility_ratio_to_best"`
}

// ArmAtPoint is an arm at one value, over the runs.
type ArmAtPoint struct {
	Name      string   `json:"name"`
	Kind      ArmKind  `json:"kind"`
	Utility   Estimate `json:"utility"`
	Makespan  Estimate `json:"makespan_s"`
	F1        Estimate `json:"f1"`
	Latency   float64  `json:"latency_ms_mean"`
	Delivered float64  `json:"delivered_fraction"`
	// Admissible: it keeps the accuracy that is asked for.
	Admissible bool `json:"admissible"`
}

// Summary sets the arms of each point against each other.
func (r *SweepRuns) Summary() SweepSummary {
	out := SweepSummary{Parameter: r.Parameter}
	for i := range r.Points {
		p := &r.Points[i]
		s := PointSummary{Value: p.Value}
		for k := range p.Arms {
			of := func(f func(*ArmRun) float64) Estimate { return armEstimate(p.Runs[k], f) }
			s.Arms = append(s.Arms, ArmAtPoint{
				Name: p.Arms[k].Name, Kind: p.Arms[k].Kind, Utility: p.utility(k), Admissible: p.admissible(k),
				Makespan: of(func(r *ArmRun) float64 { return r.Makespan }), F1: of(func(r *ArmRun) float64 { return r.F1 }),
				Latency: of(func(r *ArmRun) float64 { return 1000 * r.Latency }).Mean, Delivered: of((*ArmRun).shown).Mean,
			})
		}
		best, ratio := p.best()
		s.Best, s.Ratio = p.Arms[best].Name, ratio
		out.Points = append(out.Points, s)
	}
	return out
}

func (s *SweepSummary) arms() []string {
	var out []string
	for _, p := range s.Points {
		for _, a := range p.Arms {
			if !slices.Contains(out, a.Name) {
				out = append(out, a.Name)
			}
		}
	}
	return out
}

func (p *PointSummary) arm(name string) *ArmAtPoint {
	for i := range p.Arms {
		if p.Arms[i].Name == name {
			return &p.Arms[i]
		}
	}
	return nil
}

// WriteSweeps writes what became of sweeps into a folder: sweeps.md,
// sweeps.json, raw.csv, and for each sweep and the map plots, each in place of an
// earlier one.
func WriteSweeps(dir string, about About, scenario string, sweeps []*SweepRuns, m *MapRuns, o *Optimum) (*SweepsSummary, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	if err := sweepsCSV(filepath.Join(dir, "raw.csv"), sweeps, m); err != nil { // whatever becomes of the rest
		return nil, err
	}
	s := &SweepsSummary{Scenario: scenario, Sweeps: []SweepSummary{}, Optimum: o}
	for _, r := range sweeps {
		s.Sweeps = append(s.Sweeps, r.Summary())
	}
	for i := range s.Sweeps {
		for _, p := range s.Sweeps[i].Points {
			if s.Worst == nil || p.Ratio < s.Worst.Ratio {
				s.Worst = &WorstPoint{s.Sweeps[i].Parameter, p.Value, p.Ratio, p.Best}
			}
		}
	}
	if m != nil {
		s.Map = m.summary()
	}
	encoded, err := encodeJSON(s)
	if err != nil {
		return nil, err
	}
	files := []namedFile{{"sweeps.json", encoded}, {"sweeps.md", sweepsTable(about, s)}}
	draw := func(name string, c *chart) error {
		png, err := c.png()
		files = append(files, namedFile{name + ".png", png})
		return err
	}
	for i := range s.Sweeps {
		for _, pic := range sweepCharts(&s.Sweeps[i]) {
			if err := draw(pic.name, pic.chart); err != nil {
				return nil, err
			}
		}
	}
	if s.Map != nil {
		if err := draw("map-"+string(s.Map.Link), mapChart(s.Map)); err != nil {
			return nil, err
		}
	}
	for _, f := range files {
		if err := writeFile(filepath.Join(dir, f.name), f.data); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func sweepsCSV(path string, sweeps []*SweepRuns, m *MapRuns) error {
	var rows [][]string
	add := func(sweep, at string, p *SweepPoint) {
		for i := range p.Arms {
			for _, r := range p.Runs[i] {
				rows = append(rows, []string{
					sweep, at, p.Arms[i].Name, string(p.Arms[i].Kind), string(p.Arms[i].Rule), strconv.Itoa(len(p.Arms[i].Scenario.Sources)), strconv.Itoa(r.Run), count(r.Seed),
					decimal(r.Asked, 1), count(r.Captured), count(r.Delivered), count(r.Filtered), decimal(1000*r.Latency, 3), decimal(1000*r.P95, 3), decimal(1000*r.Stale, 3),
					decimal(r.F1, 6), decimal(r.Utility, 6), decimal(r.Makespan, 3), strconv.Itoa(len(r.Decisions)),
				})
			}
		}
	}
	for _, s := range sweeps {
		for i := range s.Points {
			add(string(s.Parameter), s.Parameter.number(s.Points[i].Value), &s.Points[i])
		}
	}
	if m != nil {
		for i := range m.Points {
			for k := range m.Points[i] {
				add("map "+string(m.Link), m.Link.number(m.Rates[i]), &m.Points[i][k])
			}
		}
	}
	return writeTable(path, []string{
		"sweep", "value", "arm", "kind", "rule", "sources", "run", "seed", "asked", "captured", "delivered", "filtered",
		"latency_mean_ms", "latency_p95_ms", "stale_mean_ms", "f1", "utility", "makespan_s_mean", "decisions",
	}, rows)
}

func sweepsTable(about About, s *SweepsSummary) []byte {
	w := &markdown{}
	w.linef("# Sweeps: %s", safe(s.Scenario))
	w.linef("")
	w.linef("Simulated, %s. Utility of each arm; that of the best in bold. *%s* is our placement, adapted by utility with all knobs. "+
		"An arm in italics misses the accuracy that is asked for. Ratio: what %s comes to of the best.", safe(about.Version), armOurs, armOurs)
	w.linef("")
	for i := range s.Sweeps {
		sweep := &s.Sweeps[i]
		w.linef("## %s", title(sweep.Parameter.label()))
		w.linef("")
		header := "arm"
		for _, p := range sweep.Points {
			header += "|>" + sweep.Parameter.number(p.Value)
		}
		var rows [][]string
		for _, name := range sweep.arms() {
			row := []string{safe(name)}
			for _, p := range sweep.Points {
				cell := ""
				if a := p.arm(name); a != nil {
					cell = decimal(a.Utility.Mean, 3)
					switch {
					case name == p.Best:
						cell = "**" + cell + "**"
					case !a.Admissible:
						cell = "*" + cell + "*"
					}
				}
				row = append(row, cell)
			}
			rows = append(rows, row)
		}
		last := []string{"ratio"}
		for _, p := range sweep.Points {
			last = append(last, decimal(p.Ratio, 3))
		}
		w.table(header, append(rows, last))
		for _, pic := range sweepCharts(sweep) {
			w.linef("![%s](%s.png)", pic.caption, pic.name)
		}
		w.linef("")
	}
	s.Map.write(w)
	s.Optimum.write(w)
	if about.Command != "" {
		w.linef("```sh")
		w.linef("%s", strings.ReplaceAll(about.Command, "```", "` ` `"))
		w.linef("```")
	}
	return []byte(strings.TrimRight(w.String(), "\n") + "\n")
}

// WorstText says where ours comes to the least.
func (s *SweepsSummary) WorstText() string {
	if s.Worst == nil {
		return ""
	}
	return fmt.Sprintf("%s at %s: %.3f of %s", s.Worst.Parameter, s.Worst.Parameter.number(s.Worst.Value), s.Worst.Ratio, s.Worst.Best)
}
