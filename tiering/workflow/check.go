package workflow

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/dnslabel"
	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/tiering"
	"github.com/weft-mesh/weft/tiering/sourceuri"
)

const (
	// allSources stands for every source in a link's from.
	allSources = "sources"

	maxSources  = 1000
	maxTasks    = 100
	maxLinks    = 1000
	maxReplicas = 1000
	maxFPS      = 1000
	maxRetain   = 1_000_000
)

// checker finds what is wrong with the meaning of a document.
type checker struct {
	*yamlfile.Document
	in       *document
	models   *catalog.Catalog
	problems yamlfile.Problems

	// What the checks find out on the way, for the checks after them and for
	// expand.
	order       []int          // of the tasks, topological
	resolutions []int          // of the sources
	names       map[string]int // of sources (negative: ^index) and tasks
}

func (c *checker) add(field, format string, args ...any) {
	c.problems = append(c.problems, c.Problem(field, format, args...))
}

// unknown reports a word that is none of the known ones.
func (c *checker) unknown(field, what, word string, known []string) {
	guess := ";"
	if len(c.problems) < 20 { // guessing costs more than checking
		guess = cmp.Or(yamlfile.DidYouMean(word, known), guess)
	}
	c.add(field, "unknown %s %q%s use %s", what, word, guess, oneOf(known))
}

func (c *checker) check() {
	spec := &c.in.Spec
	if c.in.APIVersion != APIVersion {
		c.add("apiVersion", "unknown version %q; use %q", c.in.APIVersion, APIVersion)
	}
	if c.in.Kind != Kind {
		c.add("kind", "unknown kind %q; use %q", c.in.Kind, Kind)
	}
	c.label("metadata.name", c.in.Metadata.Name)
	c.objectives(spec.Objectives)
	if spec.Adaptation != nil {
		c.adaptation(spec.Adaptation)
	}
	if !c.count("sources", len(spec.Sources), maxSources) || !c.count("tasks", len(spec.Tasks), maxTasks) ||
		!c.count("links", len(spec.Links), maxLinks) {
		return
	}
	c.names = map[string]int{}
	for i := range spec.Sources {
		c.source(i)
	}
	for i := range spec.Tasks {
		c.task(i)
	}
	analysis := func(t task) bool { _, known := operations[t.Type]; return !known || analyses(t.Type) }
	analysed := slices.ContainsFunc(spec.Tasks, analysis)
	if !analysed {
		c.add("spec.tasks", "no task analyses the frames; add one of type %s or %s", tiering.ShallowModel, tiering.DeepModel)
	}
	before := len(c.problems)
	for i := range spec.Links {
		c.link(i)
	}
	if len(c.problems) == before && len(c.names) == len(spec.Sources)+len(spec.Tasks) && analysed {
		c.graph() // whose steps and links are known now
	}
}

// count checks the length of a list of spec.
func (c *checker) count(list string, n, most int) bool {
	field := "spec." + list
	if n == 0 {
		c.add(field, "no %s; give at least one", list)
	}
	if n > most {
		c.add(field, "%d %s; at most %d are allowed", n, list, most)
	}
	return 0 < n && n <= most
}

func (c *checker) label(field, name string) {
	if !dnslabel.Valid(name) {
		c.add(field, "%q is no name; use lower-case letters, digits and dashes, at most 63, with a letter or digit at both ends", name)
	}
}

// step notes a source's or task's name, so that links to it are found even if
// the name is not right; index is that in names.
func (c *checker) step(field, name string, index int) {
	c.label(field, name)
	if name == allSources {
		c.add(field, "the name %q stands for all sources in links; use another", name)
		return
	}
	if other, ok := c.names[name]; ok {
		c.add(field, "%s has the name %q already; names of sources and tasks must differ", stepField(other), name)
		return
	}
	c.names[name] = index
}

// stepField is the path of the source or task that names holds.
func stepField(index int) string {
	if index < 0 {
		return yamlfile.Item("spec.sources", ^index)
	}
	return yamlfile.Item("spec.tasks", index)
}

func (c *checker) objectives(o objectives) {
	if a := or(o.MinAccuracy, defaultMinAccuracy); a < 0 || a > 1 {
		c.add("spec.objectives.minAccuracy", "%g is out of range; use an F1 score from 0 to 1", a)
	}
	if d := or(o.Deadline, defaultDeadline); d <= 0 {
		c.add("spec.objectives.deadline", "%v is no deadline; use a duration above zero, such as 500ms", d)
	}
}

// What may be said of an adaptation.
const (
	maxTheta  = 1e6
	minPeriod = time.Second
	maxPeriod = time.Hour
)

func (c *checker) adaptation(a *adaptation) {
	const field = "spec.adaptation"
	rules := []tiering.AdaptingRule{tiering.AdaptUtility, tiering.AdaptFastest, tiering.AdaptOff}
	if a.Rule != nil && !slices.Contains(rules, *a.Rule) {
		c.unknown(field+".rule", "rule", string(*a.Rule), texts(rules))
	}
	if t := or(a.Theta, 0); t < 0 || t > maxTheta {
		c.add(field+".theta", "%g is out of range; use the accuracy that a second of latency is worth, from 0 to %g", t, maxTheta)
	}
	if p := or(a.Period, minPeriod); p < minPeriod || p > maxPeriod {
		c.add(field+".period", "%v is out of range; use a duration from %v to %v", p, minPeriod, maxPeriod)
	}
	knobs := []tiering.Knob{tiering.KnobResolution, tiering.KnobRate, tiering.KnobModel}
	for i, k := range a.Knobs {
		at := yamlfile.Item(field+".knobs", i)
		if !slices.Contains(knobs, k) {
			c.unknown(at, "knob", string(k), texts(knobs))
		} else if slices.Contains(a.Knobs[:i], k) {
			c.add(at, "%s is there twice; remove one", k)
		} else if name := c.unrated(); k == tiering.KnobRate && name != "" {
			c.add(at, "what fewer frames cost in accuracy was not measured of model %s; measure it with weftd eval --every and list it as rates of the model in your catalogue, or remove the knob", name)
		}
	}
}

// unrated is the first model in the document whose accuracy over the frame rate
// is not known: the knob would do nothing, which would be a surprise. Empty:
// there is none.
func (c *checker) unrated() string {
	for i := range c.in.Spec.Tasks {
		for _, m := range c.in.Spec.Tasks[i].Models {
			if known, ok := c.models.Lookup(m.Name); ok && len(known.Rates) == 0 {
				return m.Name
			}
		}
	}
	return ""
}

func (c *checker) source(i int) {
	s, field := &c.in.Spec.Sources[i], yamlfile.Item("spec.sources", i)
	c.step(field+".name", s.Name, ^i)
	if _, err := sourceuri.Parse(s.URI); err != nil {
		c.add(field+".uri", "%v", err)
	}
	if s.Node != nil && !dnslabel.Valid(*s.Node) {
		c.add(field+".node", "%q is no node name (lower-case letters, digits and dashes); remove the key to let any edge node take the source", *s.Node)
	}
	if s.FPS != nil && (*s.FPS <= 0 || *s.FPS > maxFPS) {
		c.add(field+".fps", "%g is out of range; use a rate above 0 and at most %d, or remove the key for the source's own", *s.FPS, maxFPS)
	}
}

// operations are what agents can run for each type of task, the usual first.
var operations = map[tiering.TaskType][]string{
	tiering.Preprocess:   {"resize", tiering.OperationFilter},
	tiering.ShallowModel: {"detect"},
	tiering.DeepModel:    {"detect"},
	tiering.Postprocess:  {"draw"},
}

func operationOf(t tiering.TaskType) string { return operations[t][0] }

func filters(t *task) bool {
	return t.Type == tiering.Preprocess && t.Operation != nil && *t.Operation == tiering.OperationFilter
}

func analyses(t tiering.TaskType) bool { return t == tiering.ShallowModel || t == tiering.DeepModel }

func (c *checker) task(i int) {
	t, field := &c.in.Spec.Tasks[i], yamlfile.Item("spec.tasks", i)
	c.step(field+".name", t.Name, i)
	known, ok := operations[t.Type]
	if !ok {
		types := []tiering.TaskType{tiering.Preprocess, tiering.ShallowModel, tiering.DeepModel, tiering.Postprocess}
		c.unknown(field+".type", "task type", string(t.Type), texts(types))
		return // what else is right depends on it
	}
	operation := or(t.Operation, known[0])
	if !slices.Contains(known, operation) {
		c.add(field+".operation", "a %s task has no operation %q; use %s", t.Type, operation, oneOf(known))
	}
	if t.Replicas != nil && (*t.Replicas < 1 || *t.Replicas > maxReplicas) {
		c.add(field+".replicas", "%d is out of range; use 1 to %d", *t.Replicas, maxReplicas)
	}
	if t.Replicas != nil && filters(t) {
		c.add(field+".replicas", "a filter compares the frames of a source with each other, so there is one on each node with a source; remove the key")
	}
	c.taskModels(field, t)
	c.taskResources(field, t)
	c.taskSettings(field+".settings", t)
}

func (c *checker) taskModels(field string, t *task) {
	if !analyses(t.Type) {
		if c.Has(field + ".models") {
			c.add(field+".models", "a %s task has no models; remove the key, or make the type %s or %s", t.Type, tiering.ShallowModel, tiering.DeepModel)
		}
		if t.Backend != nil {
			c.add(field+".backend", "a %s task has no backend; remove the key", t.Type)
		}
		return
	}
	if b := t.Backend; b != nil && b.Name != "cpu" && b.Name != "cuda" {
		at := field + ".backend"
		if c.Has(at + ".name") {
			at += ".name"
		}
		c.add(at, "unknown backend %q; use cpu or cuda", b.Name)
	}
	if len(t.Models) == 0 {
		c.add(field+".models", "a %s task needs at least one model, such as models: [{name: hog-people, resolutions: [512]}]", t.Type)
	}
	for i, m := range t.Models {
		at := yamlfile.Item(field+".models", i)
		known, ok := c.models.Lookup(m.Name)
		if !ok {
			if c.Has(at + ".name") {
				at += ".name"
			}
			c.unknown(at, "model", m.Name, c.models.Names())
			continue
		}
		if slices.ContainsFunc(t.Models[:i], func(o model) bool { return o.Name == m.Name && !m.apart(&o) }) {
			c.add(at, "model %q is listed twice; list its resolutions together", m.Name)
		}
		if r := m.Replicas; r != nil && (*r < 1 || *r > maxReplicas) {
			c.add(at+".replicas", "%d is out of range; use 1 to %d", *r, maxReplicas)
		}
		at += ".resolutions"
		if len(m.Resolutions) == 0 && c.Has(at) {
			c.add(at, "no resolutions; list some of %s, or remove the key for all", numbers(known.Resolutions))
		}
		for j, r := range m.Resolutions {
			if !known.Offers(r) {
				c.add(yamlfile.Item(at, j), "%s does not offer %d; it offers %s", m.Name, r, numbers(known.Resolutions))
			} else if slices.Contains(m.Resolutions[:j], r) {
				c.add(yamlfile.Item(at, j), "resolution %d is listed twice", r)
			}
		}
	}
}

// taskResources wants to be told what intensive tasks (Houmani et al., VI-A)
// take, since that much is reserved; the others live on what is free.
func (c *checker) taskResources(field string, t *task) {
	if !analyses(t.Type) && !t.Store {
		return
	}
	why := fmt.Sprintf("a %s task", t.Type)
	if t.Store {
		why = "a task with a store"
	}
	if t.Resources.CPU == 0 {
		c.add(field+".resources.cpu", "%s needs processor time; give cores such as 500m or 2", why)
	}
	if t.Resources.Memory == 0 {
		c.add(field+".resources.memory", "%s needs memory; give an amount such as 512MiB", why)
	}
}

func (c *checker) taskSettings(field string, t *task) {
	if r := t.Settings.Retain; r != nil {
		switch {
		case t.Type != tiering.Postprocess || !t.Store:
			c.add(field+".retain", "only a %s task with store: true keeps pictures; remove the key, or set both", tiering.Postprocess)
		case *r < 1 || *r > maxRetain:
			c.add(field+".retain", "%d is out of range; keep 1 to %d pictures", *r, maxRetain)
		}
	}
	c.filterSettings(field, t)
	if t.Settings.Publish != nil && t.Type != tiering.Postprocess {
		c.add(field+".publish", "only a %s task is asked whether to publish its pictures, and detections always are published; remove the key", tiering.Postprocess)
	}
}

// filterSettings are those of a filter.
func (c *checker) filterSettings(field string, t *task) {
	s := &t.Settings
	for _, x := range []struct {
		name string
		v    *float64
	}{{"accuracy", s.Accuracy}, {"threshold", s.Threshold}} {
		switch {
		case x.v == nil:
		case !filters(t):
			c.add(field+"."+x.name, "only a %s task with operation: %s has it; remove the key", tiering.Preprocess, tiering.OperationFilter)
		case x.name == "accuracy" && !(*x.v > 0 && *x.v <= 1):
			c.add(field+".accuracy", "%g is out of range; use the share of accuracy to keep, above 0 and at most 1", *x.v)
		case !(*x.v >= 0 && *x.v <= 1):
			c.add(field+".threshold", "%g is out of range; use a share of the picture, from 0 to 1", *x.v)
		}
	}
	if filters(t) && s.Accuracy != nil && s.Threshold != nil {
		c.add(field+".threshold", "the threshold is learnt to keep the accuracy; remove one of the two keys")
	}
}

func (c *checker) link(i int) {
	l, field := &c.in.Spec.Links[i], yamlfile.Item("spec.links", i)
	if _, ok := c.names[l.From]; !ok && l.From != allSources {
		c.unknown(field+".from", "step", l.From, append(c.steps(true), allSources))
	}
	switch to, ok := c.names[l.To]; {
	case l.To == allSources || ok && to < 0:
		c.add(field+".to", "%q is a source, which frames only leave; name a task", l.To)
	case !ok:
		c.unknown(field+".to", "task", l.To, c.steps(false))
	}
	for j, o := range c.in.Spec.Links[:i] {
		if o.To == l.To && (o.From == l.From || c.covers(o.From, l.From) || c.covers(l.From, o.From)) {
			c.add(field, "%s leads from %q to %q already; keep one", yamlfile.Item("spec.links", j), o.From, o.To)
			break
		}
	}
	if to, ok := c.names[l.To]; ok && to >= 0 && filters(&c.in.Spec.Tasks[to]) {
		if from, known := c.names[l.From]; known && from >= 0 {
			c.add(field+".from", "a filter looks at frames as they are captured, on their source's node; link sources to %q", l.To)
		}
	}
	transports := []tiering.Transport{tiering.QUIC, tiering.MQTT}
	if c.Has(field+".transport") && !slices.Contains(transports, l.Transport) {
		c.unknown(field+".transport", "transport", string(l.Transport), texts(transports))
	}
	encodings := []tiering.Encoding{tiering.JPEG, tiering.PNG, tiering.Raw}
	if c.Has(field+".encoding") && !slices.Contains(encodings, l.Encoding) {
		c.unknown(field+".encoding", "encoding", string(l.Encoding), texts(encodings))
	}
	if q := l.Quality; q != nil {
		switch {
		case *q < 1 || *q > 100:
			c.add(field+".quality", "%d is out of range; use a JPEG quality from 1 to 100", *q)
		case l.Encoding != "" && l.Encoding != tiering.JPEG:
			c.add(field+".quality", "only jpeg has a quality; remove the key")
		}
	}
}

// covers reports whether from stands for all sources and name is one of them.
func (c *checker) covers(from, name string) bool {
	i, ok := c.names[name]
	return from == allSources && ok && i < 0
}

// steps returns the names of the tasks, after those of the sources if wanted.
func (c *checker) steps(sources bool) []string {
	var out []string
	if sources {
		for _, s := range c.in.Spec.Sources {
			out = append(out, s.Name)
		}
	}
	for _, t := range c.in.Spec.Tasks {
		out = append(out, t.Name)
	}
	return out
}

func texts[T any](words []T) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = fmt.Sprint(w)
	}
	return out
}

// oneOf lists alternatives: "a, b or c"; a long list is cut.
func oneOf(words []string) string {
	const most = 12
	if len(words) > most {
		return strings.Join(words[:most], ", ") + ", …"
	}
	return enumerate(words, "or")
}

// numbers lists numbers: "512, 640 and 768".
func numbers(ns []int) string { return enumerate(texts(ns), "and") }

func enumerate(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	n := len(words) - 1
	return strings.Join(words[:n], ", ") + " " + last + " " + words[n]
}
