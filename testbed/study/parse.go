package study

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/dnslabel"
	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// What a document may hold.
const (
	maxExperiments = 50
	maxRuns        = 20
	maxRepeat      = 100
	maxSources     = 1000
)

// Load reads a study, and the scenarios that it names.
func Load(path string) (*Study, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the study: %w", err)
	}
	return Parse(path, data, os.ReadFile)
}

// Parse reads and checks a study. file is its name, for the messages; paths in
// the document are relative to file's directory, and read reads the scenarios
// and the documents that they name. A user's mistakes come back as
// yamlfile.Problems; those of a scenario name its file.
func Parse(file string, data []byte, read func(path string) ([]byte, error)) (*Study, error) {
	var in document
	doc, err := yamlfile.Decode(file, data, &in)
	if err != nil {
		return nil, err
	}
	c := checker{Document: doc, file: file, in: &in.Spec, s: &Study{}, read: read, scenarios: map[string]*testbed.Scenario{}}
	c.header(&in)
	c.experiments()
	c.targets()
	c.figures()
	c.runs()
	switch here := c.problems.Err(); {
	case len(c.elsewhere) > 0:
		return nil, errors.Join(append([]error{here}, c.elsewhere...)...)
	case here != nil:
		return nil, here
	}
	return c.s, nil
}

// checker checks what the form says nothing of, and makes the study.
type checker struct {
	*yamlfile.Document
	file      string
	in        *specForm
	s         *Study
	read      func(path string) ([]byte, error)
	scenarios map[string]*testbed.Scenario // that were read, by path; nil: with mistakes
	problems  yamlfile.Problems
	elsewhere []error // mistakes in scenarios
}

func (c *checker) add(field, format string, args ...any) {
	c.problems = append(c.problems, c.Problem(field, format, args...))
}

func (c *checker) header(in *document) {
	if in.APIVersion != APIVersion {
		c.add("apiVersion", "unknown version %q; use %q", in.APIVersion, APIVersion)
	}
	if in.Kind != Kind {
		c.add("kind", "unknown kind %q; use %q", in.Kind, Kind)
	}
	c.label("metadata.name", in.Metadata.Name)
	c.s.Name, c.s.Title = in.Metadata.Name, in.Spec.Title
	if c.s.Title == "" {
		c.s.Title = c.s.Name
	}
	c.s.Repeat = or(c.in.Repeat, defaultRepeat)
	if c.s.Repeat < 1 || c.s.Repeat > maxRepeat {
		c.add("spec.repeat", "%d is out of range; use 1 to %d", c.s.Repeat, maxRepeat)
	}
	c.s.Remarks = c.in.Remarks
	c.s.Agreement = float64(or(c.in.Agreement, defaultAgreement))
	if p := c.in.Paper; p != nil {
		if p.Duration <= 0 {
			c.add("spec.paper.duration", "%v is out of range; give the time of the sources that was analysed, such as 20m", p.Duration)
		}
		c.s.Paper = &Paper{Cite: p.Cite, Duration: p.Duration}
	}
	if len(c.in.Runs) == 0 {
		c.add("spec.runs", "none; name the scenarios on which experiments are run")
	}
}

func (c *checker) label(field, name string) {
	if !dnslabel.Valid(name) {
		c.add(field, "%q is no name; use lower-case letters, digits and dashes, at most 63, with a letter or digit at both ends", name)
	}
}

func (c *checker) atMost(what, field string, n, most int) {
	if n > most {
		c.add(field, "%d %s; at most %d are allowed", n, what, most)
	}
}

func (c *checker) experiments() {
	if len(c.in.Experiments) == 0 {
		c.add("spec.experiments", "none; give those that are run")
	}
	c.atMost("experiments", "spec.experiments", len(c.in.Experiments), maxExperiments)
	for i := range c.in.Experiments {
		in, field := &c.in.Experiments[i], yamlfile.Item("spec.experiments", i)
		// As the paper writes it: E1.
		if !dnslabel.Valid(strings.ToLower(in.Name)) {
			c.add(field+".name", "%q is no name; use letters, digits and dashes, such as E1", in.Name)
		} else if slices.ContainsFunc(c.s.Experiments, func(e Experiment) bool { return strings.EqualFold(e.Name, in.Name) }) {
			c.add(field+".name", "there is an experiment %q already; names must differ", in.Name)
		}
		rules := []tiering.AdaptingRule{tiering.AdaptUtility, tiering.AdaptFastest, tiering.AdaptOff}
		if !slices.Contains(rules, in.Adapt) {
			c.unknown(field+".adapt", "rule", string(in.Adapt), words(rules))
		}
		knobs := []tiering.Knob{tiering.KnobResolution, tiering.KnobRate, tiering.KnobModel}
		for k, knob := range in.Knobs {
			if !slices.Contains(knobs, knob) {
				c.unknown(yamlfile.Item(field+".knobs", k), "knob", string(knob), words(knobs))
			}
		}
		if in.Sources > maxSources {
			c.add(field+".sources", "%d is out of range; use 1 to %d, or all", in.Sources, maxSources)
		}
		e := Experiment{Name: in.Name, About: in.About, Sources: int(in.Sources), Rule: in.Adapt, Knobs: in.Knobs}
		if p := in.Published; p != nil {
			if c.in.Paper == nil {
				c.add(field+".published", "it is not said where that was published; add paper: {cite: …, duration: …} under spec")
			}
			if p.Makespan != nil && *p.Makespan <= 0 {
				c.add(field+".published.makespan", "%v is out of range; use a time above 0", *p.Makespan)
			}
			if p.F1 != nil && !(*p.F1 >= 0 && *p.F1 <= 1) {
				c.add(field+".published.f1", "%g is out of range; use 0 to 1", *p.F1)
			}
			e.Published = &Published{p.Makespan, p.F1}
		}
		c.s.Experiments = append(c.s.Experiments, e)
	}
}

func words[T ~string](of []T) []string {
	out := make([]string, len(of))
	for i, w := range of {
		out[i] = string(w)
	}
	return out
}

func (c *checker) unknown(field, what, name string, known []string) {
	c.add(field, "unknown %s %q%s use %s", what, name, cmp.Or(yamlfile.DidYouMean(name, known), ";"), strings.Join(known, ", "))
}

// experiment is the index of the experiment of that name; −1: there is none.
func (c *checker) experiment(field, name string) int {
	var known []string
	for i := range c.in.Experiments {
		if c.in.Experiments[i].Name == name {
			return i
		}
		known = append(known, c.in.Experiments[i].Name)
	}
	if len(known) > 0 { // else that is what has to be mended
		c.unknown(field, "experiment", name, known)
	}
	return -1
}

// run checks that there is a run of that name.
func (c *checker) run(field, name string) {
	var known []string
	for i := range c.in.Runs {
		known = append(known, c.in.Runs[i].Name)
	}
	if !slices.Contains(known, name) {
		c.unknown(field, "run", name, known)
	}
}

func (c *checker) targets() {
	for i, in := range c.in.Targets {
		field := yamlfile.Item("spec.targets", i)
		a, b := c.experiment(field+".experiment", in.Experiment), c.experiment(field+".against", in.Against)
		if a >= 0 && a == b {
			c.add(field+".against", "an experiment is always like itself; name another one")
		}
		if in.Makespan == nil && in.F1 == nil {
			c.add(field, "it says nothing that is to be reached; give makespan, f1 or both")
		}
		for k, name := range in.Runs {
			c.run(yamlfile.Item(field+".runs", k), name)
		}
		t := Target{Experiment: in.Experiment, Against: in.Against, Runs: in.Runs, Makespan: (*float64)(in.Makespan), F1: in.F1}
		if in.Aim != nil {
			t.AimMakespan, t.AimF1 = (*float64)(in.Aim.Makespan), in.Aim.F1
			if t.AimMakespan != nil && (t.Makespan == nil || *t.AimMakespan > *t.Makespan) {
				c.add(field+".aim.makespan", "an aim is beyond what must be reached; give makespan beside aim, and less here")
			}
			if t.AimF1 != nil && (t.F1 == nil || *t.AimF1 < *t.F1) {
				c.add(field+".aim.f1", "an aim is beyond what must be reached; give f1 beside aim, and more here")
			}
		}
		for _, f := range []struct {
			key string
			x   *float64
		}{{".f1", t.F1}, {".aim.f1", t.AimF1}} {
			if f.x != nil && !(*f.x >= -1 && *f.x <= 1) {
				c.add(field+f.key, "%g is out of range; use -1 to 1, such as -0.074", *f.x)
			}
		}
		c.s.Targets = append(c.s.Targets, t)
	}
}

func (c *checker) figures() {
	for i, in := range c.in.Figures {
		field := yamlfile.Item("spec.figures", i)
		c.label(field+".name", in.Name)
		if slices.ContainsFunc(c.s.Figures, func(f Figure) bool { return f.Name == in.Name }) {
			c.add(field+".name", "there is a figure %q already; names must differ", in.Name)
		}
		if shown := []Shown{ShowMakespan, ShowF1}; !slices.Contains(shown, in.Shows) {
			c.unknown(field+".shows", "figure", string(in.Shows), words(shown))
		}
		if len(in.Experiments) == 0 {
			c.add(field+".experiments", "none; name those that it shows")
		}
		for k, name := range in.Experiments {
			c.experiment(yamlfile.Item(field+".experiments", k), name)
		}
		c.s.Figures = append(c.s.Figures, Figure(in))
	}
}

// methods are those that a document's word stands for.
var methods = []struct {
	word string
	are  []testbed.Method
}{
	{string(testbed.Simulated), []testbed.Method{testbed.Simulated}},
	{string(testbed.Emulated), []testbed.Method{testbed.Emulated}},
	{"both", []testbed.Method{testbed.Simulated, testbed.Emulated}},
}

func (c *checker) runs() {
	c.atMost("runs", "spec.runs", len(c.in.Runs), maxRuns)
	for i := range c.in.Runs {
		in, field := &c.in.Runs[i], yamlfile.Item("spec.runs", i)
		c.label(field+".name", in.Name)
		if slices.ContainsFunc(c.s.Runs, func(r Run) bool { return r.Name == in.Name }) {
			c.add(field+".name", "there is a run %q already; names must differ", in.Name)
		}
		r := Run{Name: in.Name, Title: in.Title, About: in.About, File: c.path(in.Scenario)}
		if r.Title == "" {
			r.Title = r.Name
		}
		var known []string
		for _, m := range methods {
			known = append(known, m.word)
			if m.word == in.Method {
				r.Methods = m.are
			}
		}
		if r.Methods == nil {
			c.unknown(field+".method", "method", in.Method, known)
		}
		for k, name := range in.Experiments {
			c.experiment(yamlfile.Item(field+".experiments", k), name)
		}
		for _, e := range c.s.Experiments {
			if len(in.Experiments) == 0 || slices.Contains(in.Experiments, e.Name) {
				r.Experiments = append(r.Experiments, e)
			}
		}
		r.Scenario = c.scenario(field+".scenario", in.Scenario)
		if r.Scenario != nil && len(c.problems) == 0 {
			if _, err := r.Variants(); err != nil {
				c.add(field+".scenario", "%v", err)
			}
		}
		c.s.Runs = append(c.s.Runs, r)
	}
}

// path is a path of the document from where weft was called.
func (c *checker) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(filepath.Dir(c.file), p)
}

// scenario reads a scenario; nil: it has mistakes, which are noted once.
func (c *checker) scenario(field, name string) *testbed.Scenario {
	if name == "" {
		c.add(field, "no file; name a scenario")
		return nil
	}
	path := c.path(name)
	if s, ok := c.scenarios[path]; ok {
		return s
	}
	c.scenarios[path] = nil
	data, err := c.read(path)
	if err != nil {
		c.add(field, "%v; name a scenario, with its path from this file's directory", err)
		return nil
	}
	s, err := testbed.Parse(path, data, c.read)
	if err != nil {
		c.elsewhere = append(c.elsewhere, err)
		return nil
	}
	if len(s.Timeline) > 0 {
		c.add(field, "its timeline has %s at %s, and what an experiment comes to is of a time in which nothing else happens; take that out",
			s.Timeline[0], s.Timeline[0].At)
		return nil
	}
	c.scenarios[path] = s
	return s
}
