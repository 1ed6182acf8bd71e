package testbed

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/tiering"
	"github.com/weft-mesh/weft/tiering/workflow"
)

// DocumentOptions are what WorkflowDocument replaces.
type DocumentOptions struct {
	Name    string   // of the workflow; empty: as it is
	Sources []Source // nil: those that run from the start
	FPS     float64  // of all sources; 0: each its own
}

// WorkflowDocument returns the workflow document to submit to the mesh: the
// scenario's, with other sources. The rest of it, comments included, stays.
func (s *Scenario) WorkflowDocument(o DocumentOptions) ([]byte, error) {
	sources := o.Sources
	if sources == nil {
		sources = s.Sources
	}
	out, err := replace(s.Workflow.Document, o.Name, sources, o.FPS)
	if err != nil {
		return nil, fmt.Errorf("replace the sources of %s: %w", s.Workflow.File, err)
	}
	return out, nil
}

// WorkflowSpec returns the workflow with the given sources, for the simulator;
// nil: those that run from the start.
func (s *Scenario) WorkflowSpec(sources []Source) (*tiering.Workflow, error) {
	document, err := s.WorkflowDocument(DocumentOptions{Sources: sources})
	if err != nil {
		return nil, err
	}
	return workflow.Parse(s.Workflow.File, document, catalog.Builtin())
}

// Adapting returns the scenario with these sources from the start, and their
// quality adapted by that rule, with these knobs (nil: those of the document);
// off: each keeps its resolution. The workflow document must name a rule,
// whichever.
func (s *Scenario) Adapting(sources []Source, rule tiering.AdaptingRule, knobs []tiering.Knob) (*Scenario, error) {
	return s.adapting(sources, func(a *tiering.Adapting) {
		a.Rule = rule
		if knobs != nil {
			a.Knobs = knobs
		}
	})
}

// Weighing returns the scenario with another Θ. The workflow document must name
// a rule of adaptation, whichever.
func (s *Scenario) Weighing(theta float64) (*Scenario, error) {
	return s.adapting(s.Sources, func(a *tiering.Adapting) { a.Theta = theta })
}

func (s *Scenario) adapting(sources []Source, change func(*tiering.Adapting)) (*Scenario, error) {
	was, err := s.WorkflowSpec(sources)
	if err != nil {
		return nil, err
	}
	if was.Adapting != nil {
		next := *was.Adapting
		change(&next)
		form := struct {
			Rule   tiering.AdaptingRule `yaml:"rule"`
			Theta  float64              `yaml:"theta"`
			Period string               `yaml:"period"`
			Knobs  []tiering.Knob       `yaml:"knobs,flow"`
		}{next.Rule, next.Theta, next.Period.String(), next.Knobs}
		file, err := parser.ParseBytes(s.Workflow.Document, parser.ParseComments)
		if err == nil {
			err = replaceValue(file, "$.spec.adaptation", form)
		}
		if err != nil {
			return nil, fmt.Errorf("replace the adaptation of %s: %w", s.Workflow.File, err)
		}
		out := *s
		out.Sources, out.Workflow.Document = sources, []byte(file.String())
		spec, err := out.WorkflowSpec(sources)
		if err != nil {
			return nil, err
		}
		if spec.Adapting != nil && spec.Adapting.Rule == next.Rule && spec.Adapting.Theta == next.Theta {
			return &out, nil
		}
	}
	return nil, fmt.Errorf("%s has no rule of adaptation to replace; write adaptation: {rule: utility} under spec", s.Workflow.File)
}

// Asking returns the scenario with another accuracy asked for. The workflow
// document must ask for one, whichever.
func (s *Scenario) Asking(minAccuracy float64) (*Scenario, error) {
	file, err := parser.ParseBytes(s.Workflow.Document, parser.ParseComments)
	if err == nil {
		err = replaceValue(file, "$.spec.objectives.minAccuracy", minAccuracy)
	}
	if err != nil {
		return nil, fmt.Errorf("replace the accuracy that %s asks for; it must have objectives: {minAccuracy: 0.5}: %w", s.Workflow.File, err)
	}
	out := *s
	out.Workflow.Document = []byte(file.String())
	spec, err := out.WorkflowSpec(nil)
	if err != nil {
		return nil, err
	}
	if spec.Objectives.MinAccuracy != minAccuracy {
		return nil, fmt.Errorf("%s asks for no accuracy to replace; write objectives: {minAccuracy: 0.5} under spec", s.Workflow.File)
	}
	return &out, nil
}

// Unfiltered returns the scenario without the filters of its workflow: what came
// to one goes to what followed it. Comments of the workflow document are lost.
func (s *Scenario) Unfiltered() (*Scenario, error) {
	var doc yaml.MapSlice
	if err := yaml.UnmarshalWithOptions(s.Workflow.Document, &doc, yaml.UseOrderedMap()); err != nil {
		return nil, err
	}
	spec, ok := valueOf(doc, "spec").(yaml.MapSlice)
	tasks, some := valueOf(spec, "tasks").([]any)
	links, also := valueOf(spec, "links").([]any)
	if !ok || !some || !also {
		return nil, fmt.Errorf("%s: no tasks and links under spec", s.Workflow.File)
	}
	for i := 0; i < len(tasks); i++ {
		task, _ := tasks[i].(yaml.MapSlice)
		if valueOf(task, "operation") != tiering.OperationFilter {
			continue
		}
		links = bypass(links, valueOf(task, "name"))
		tasks = slices.Delete(tasks, i, i+1)
		i--
	}
	set := func(key string, v any) {
		for i := range spec {
			if spec[i].Key == key {
				spec[i].Value = v
			}
		}
	}
	set("tasks", tasks)
	set("links", links)
	text, err := yaml.Marshal(doc)
	if err != nil {
		return nil, err
	}
	out := *s
	out.Workflow.Document = text
	_, err = out.WorkflowSpec(nil)
	return &out, err
}

func valueOf(m yaml.MapSlice, key string) any {
	for _, item := range m {
		if item.Key == key {
			return item.Value
		}
	}
	return nil
}

// bypass leads links past a task.
func bypass(links []any, task any) []any {
	var in []any
	for _, l := range links {
		if m, _ := l.(yaml.MapSlice); valueOf(m, "to") == task {
			in = append(in, valueOf(m, "from"))
		}
	}
	var out []any
	for _, l := range links {
		m, _ := l.(yaml.MapSlice)
		switch {
		case valueOf(m, "to") == task:
		case valueOf(m, "from") == task:
			for _, from := range in {
				next := slices.Clone(m)
				for i := range next {
					if next[i].Key == "from" {
						next[i].Value = from
					}
				}
				out = append(out, next)
			}
		default:
			out = append(out, l)
		}
	}
	return out
}

// replace returns the workflow document with another name and other sources.
func replace(document []byte, name string, sources []Source, fps float64) ([]byte, error) {
	type source struct {
		Name       string  `yaml:"name"`
		URI        string  `yaml:"uri"`
		Node       string  `yaml:"node,omitempty"`
		FPS        float64 `yaml:"fps,omitempty"`
		Resolution int     `yaml:"resolution,omitempty"`
	}
	list := make([]source, len(sources))
	for i, s := range sources {
		list[i] = source{s.Name, s.URI, s.Node, cmp.Or(fps, s.FPS), s.Resolution}
	}
	file, err := parser.ParseBytes(document, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	if err := replaceValue(file, "$.spec.sources", list); err != nil {
		return nil, err
	}
	if name != "" {
		if err := replaceValue(file, "$.metadata.name", name); err != nil {
			return nil, err
		}
	}
	return []byte(file.String()), nil
}

func replaceValue(file *ast.File, at string, v any) error {
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return errors.New("the document is empty")
	}
	path, err := yaml.PathString(at)
	if err != nil {
		return err
	}
	node, err := yaml.ValueToNode(v, yaml.IndentSequence(true))
	if err != nil {
		return err
	}
	return path.ReplaceWithNode(file, node)
}

// workflow reads the workflow document and checks it with the scenario's
// sources. Mistakes in the document itself are returned, since they are about
// another file.
func (c *checker) workflow(read func(string) ([]byte, error)) error {
	in := &c.in.Spec
	at := func(path string) string {
		if path == "" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(filepath.Dir(c.file), path)
	}
	w := &c.s.Workflow
	w.File, w.Media, w.Models = at(in.Workflow), at(in.Media), at(in.Models)
	if in.Workflow == "" {
		c.add("spec.workflow", "no file; name a workflow document, such as people.yaml")
		return nil
	}
	var err error
	if w.Document, err = read(w.File); err != nil {
		c.add("spec.workflow", "%v; name a workflow document, with its path from this file's directory", err)
		return nil
	}
	spec, err := workflow.Parse(w.File, w.Document, catalog.Builtin())
	if err != nil {
		return err
	}
	w.Name = spec.Name
	switch complete := len(c.problems) == 0; {
	case complete && len(in.Sources) == 0:
		c.ownSources(spec)
	case complete:
		c.withSources(spec)
	}
	c.costTasks(spec)
	return nil
}

// costTasks checks that costs are of tasks that the workflow has.
func (c *checker) costTasks(spec *tiering.Workflow) {
	var known []string
	for _, t := range spec.Tasks {
		known = append(known, t.Name)
	}
	for _, name := range sortedKeys(c.in.Spec.Costs.Tasks) {
		field := yamlfile.Key("spec.costs.tasks", name)
		t, ok := spec.Task(name)
		if !ok {
			c.unknown(field, "task", name, known)
			continue
		}
		x := c.in.Spec.Costs.Tasks[name]
		if x.Filtered != nil && t.Operation != tiering.OperationFilter {
			c.add(field+".filtered", "%s is no filter; remove the key", name)
		}
		if x.Kept != nil && t.Operation != tiering.OperationFilter {
			c.add(field+".kept", "%s is no filter; remove the key", name)
		}
	}
}

// ownSources takes the workflow document's sources where the scenario has none.
func (c *checker) ownSources(spec *tiering.Workflow) {
	for _, s := range spec.Sources {
		if s.Node != "" && !c.has(s.Node) {
			c.add("spec.workflow", "source %q of %s is on node %q, which is none of the scenario's; use that name for a node, or give the scenario sources of its own",
				s.Name, c.s.Workflow.File, s.Node)
		}
		if s.FPS == 0 {
			c.add("spec.workflow", "source %q of %s has no fps, which an experiment has to know; add it there, or give the scenario sources of its own",
				s.Name, c.s.Workflow.File)
		}
		c.s.Sources = append(c.s.Sources, Source{Name: s.Name, URI: s.URI, Node: s.Node, FPS: s.FPS, Resolution: s.Resolution})
	}
}

// withSources checks the workflow with the scenario's sources in place of its
// own, all of those that may ever run, and fills in their resolutions.
func (c *checker) withSources(own *tiering.Workflow) {
	if c.namedSources(own) || c.namedTasks(own) {
		return
	}
	all := slices.Concat(c.s.Sources, c.s.Reserve)
	spec, err := c.s.WorkflowSpec(all)
	var problems yamlfile.Problems
	if errors.As(err, &problems) {
		c.translate(problems)
		return
	} else if err != nil {
		c.add("spec.sources", "%v", err)
		return
	}
	for i := range spec.Sources {
		if n := len(c.s.Sources); i < n {
			c.s.Sources[i].Resolution = spec.Sources[i].Resolution
		} else {
			c.s.Reserve[i-n].Resolution = spec.Sources[i].Resolution
		}
	}
}

// namedSources reports links that start at a source which the scenario's
// replace.
func (c *checker) namedSources(own *tiering.Workflow) bool {
	var in struct {
		Spec struct {
			Links []struct{ From string }
		}
	}
	if err := yaml.Unmarshal(c.s.Workflow.Document, &in); err != nil {
		c.add("spec.workflow", "%v", err)
		return true
	}
	before := len(c.problems)
	for _, l := range in.Spec.Links {
		_, was := own.Source(l.From)
		stays := slices.ContainsFunc(c.s.Sources, func(s Source) bool { return s.Name == l.From })
		if was && !stays {
			c.add("spec.sources", "these replace the source %q, from which %s has a link; write from: sources there, or name a source so here",
				l.From, c.s.Workflow.File)
		}
	}
	return len(c.problems) > before
}

// namedTasks reports sources that have the name of a task.
func (c *checker) namedTasks(own *tiering.Workflow) bool {
	before := len(c.problems)
	for i, s := range slices.Concat(c.s.Sources, c.s.Reserve) {
		if slices.ContainsFunc(own.Tasks, func(t tiering.Task) bool { return t.Group == s.Name }) {
			c.add(yamlfile.Item("spec.sources", c.entries[i])+".name", "%s has a task %q; names of sources and tasks must differ",
				c.s.Workflow.File, s.Name)
		}
	}
	return len(c.problems) > before
}

// translate reports what is wrong with the scenario's sources, once for each
// key of an item of spec.sources.
func (c *checker) translate(problems yamlfile.Problems) {
	seen := map[string]bool{}
	for _, p := range problems {
		var i int
		field, message := "spec.sources", p.Message
		if _, err := fmt.Sscanf(p.Field, "spec.sources[%d]", &i); err == nil && i < len(c.entries) {
			_, key, _ := strings.Cut(p.Field, "]")
			field = yamlfile.Item(field, c.entries[i]) + key
		} else {
			message = fmt.Sprintf("with these, %s does not hold together: %s: %s", c.s.Workflow.File, p.Field, p.Message)
		}
		if !seen[field] {
			seen[field] = true
			c.add(field, "%s", message)
		}
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
