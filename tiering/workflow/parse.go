package workflow

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/tiering"
)

// Parse reads and checks a workflow document and expands it. The file name is
// for the messages. A user's mistakes come back as yamlfile.Problems, each with
// its place and remedy: first all those of syntax, keys and types, and once
// there are none, all those of meaning.
func Parse(file string, data []byte, models *catalog.Catalog) (*tiering.Workflow, error) {
	var in document
	doc, err := yamlfile.Decode(file, data, &in)
	if err != nil {
		return nil, err
	}
	c := checker{Document: doc, in: &in, models: models}
	c.check()
	if err := c.problems.Err(); err != nil {
		return nil, err
	}
	return c.expand(), nil
}

// expand makes the workflow of a document that was found right.
func (c *checker) expand() *tiering.Workflow {
	in := c.in
	w := &tiering.Workflow{
		Name: in.Metadata.Name,
		Objectives: tiering.Objectives{
			MinAccuracy: or(in.Spec.Objectives.MinAccuracy, defaultMinAccuracy),
			Deadline:    or(in.Spec.Objectives.Deadline, defaultDeadline),
		},
	}
	if a := in.Spec.Adaptation; a != nil {
		d := tiering.DefaultAdapting()
		w.Adapting = &tiering.Adapting{Rule: or(a.Rule, d.Rule), Theta: or(a.Theta, d.Theta), Period: or(a.Period, d.Period), Knobs: d.Knobs}
		if a.Knobs != nil {
			w.Adapting.Knobs = a.Knobs
		}
	}
	for i, s := range in.Spec.Sources {
		w.Sources = append(w.Sources, tiering.Source{
			Name: s.Name, URI: s.URI, Node: or(s.Node, ""), FPS: or(s.FPS, 0), Resolution: c.resolutions[i],
		})
	}
	for _, i := range c.order {
		w.Tasks = append(w.Tasks, expandTask(&in.Spec.Tasks[i], c.models)...)
	}
	for _, l := range in.Spec.Links {
		for _, from := range l.starts(in.Spec.Sources) {
			w.Links = append(w.Links, expandLink(from, l))
		}
	}
	return w
}

// expandTask returns one task for each model and resolution.
func expandTask(t *task, models *catalog.Catalog) []tiering.Task {
	base := tiering.Task{
		Name: t.Name, Group: t.Name, Type: t.Type,
		Operation: or(t.Operation, operationOf(t.Type)),
		Request:   tiering.Resources{CPU: int64(t.Resources.CPU), Memory: int64(t.Resources.Memory), Disk: int64(t.Resources.Disk)},
		Store:     t.Store,
		Replicas:  or(t.Replicas, defaultReplicas),
		Settings:  expandSettings(t),
	}
	if len(t.Models) == 0 {
		return []tiering.Task{base}
	}
	base.Backend = tiering.Backend{Name: defaultBackend}
	if b := t.Backend; b != nil {
		base.Backend = tiering.Backend{Name: b.Name, Required: b.Required}
		if b.Required && b.Name != defaultBackend {
			base.Platform = b.Name // nowhere else can it start
		}
	}
	several := slices.ContainsFunc(t.Models, func(m model) bool { return m.Name != t.Models[0].Name })
	var out []tiering.Task
	for _, m := range t.Models {
		known, _ := models.Lookup(m.Name)
		for _, r := range m.offered(known) {
			x := base
			x.Name = fmt.Sprintf("%s@%d", t.Name, r)
			if m.Replicas != nil {
				x.Replicas = *m.Replicas
			}
			if several {
				x.Name = fmt.Sprintf("%s:%s@%d", t.Name, m.Name, r)
			}
			x.Model = &tiering.Model{Name: m.Name, Family: known.Family, Resolution: r, Fit: known.Fit, Measured: measured(known), Rates: rates(known)}
			out = append(out, x)
		}
	}
	return out
}

// measured is what is known of the model's F1.
func measured(m *catalog.Model) []tiering.Accuracy {
	var out []tiering.Accuracy
	for _, a := range m.Accuracy {
		if a.Metric == catalog.F1 && a.Resolution > 0 {
			out = append(out, tiering.Accuracy{Resolution: a.Resolution, F1: a.Value})
		}
	}
	return out
}

// rates is what is known of the model's accuracy over the frame rate.
func rates(m *catalog.Model) []tiering.Rate {
	var out []tiering.Rate
	for _, r := range m.Rates {
		out = append(out, tiering.Rate{FPS: r.FPS, Kept: r.Kept})
	}
	return out
}

// offered returns the resolutions that the document lists, or all of them.
func (m *model) offered(known *catalog.Model) []int {
	if len(m.Resolutions) > 0 {
		return m.Resolutions
	}
	return known.Resolutions
}

// apart reports whether two entries of a model are about resolutions that differ
// in how many instances they have.
func (m *model) apart(o *model) bool {
	return (m.Replicas != nil || o.Replicas != nil) && len(m.Resolutions) > 0 && len(o.Resolutions) > 0 &&
		!slices.ContainsFunc(m.Resolutions, func(r int) bool { return slices.Contains(o.Resolutions, r) })
}

// starts returns the names that the link comes from.
func (l *link) starts(sources []source) []string {
	if l.From != allSources {
		return []string{l.From}
	}
	var out []string
	for _, s := range sources {
		out = append(out, s.Name)
	}
	return out
}

func expandLink(from string, l link) tiering.Link {
	out := tiering.Link{From: from, To: l.To, Transport: l.Transport, Encoding: l.Encoding}
	if out.Transport == "" {
		out.Transport = tiering.QUIC
	}
	if out.Encoding == "" {
		out.Encoding = tiering.JPEG
	}
	if out.Encoding == tiering.JPEG {
		out.Quality = or(l.Quality, defaultQuality)
	}
	return out
}

// expandSettings fills in what a filter keeps where the document is silent.
func expandSettings(t *task) map[string]string {
	s := t.Settings
	if filters(t) && s.Accuracy == nil && s.Threshold == nil {
		s.Accuracy = new(defaultKept)
	}
	return s.expand()
}

func (s settings) expand() map[string]string {
	out := map[string]string{}
	if s.Accuracy != nil {
		out["accuracy"] = strconv.FormatFloat(*s.Accuracy, 'g', -1, 64)
	}
	if s.Threshold != nil {
		out["threshold"] = strconv.FormatFloat(*s.Threshold, 'g', -1, 64)
	}
	if s.Retain != nil {
		out["retain"] = strconv.Itoa(*s.Retain)
	}
	if s.Publish != nil {
		out["publish"] = strconv.FormatBool(*s.Publish)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// or returns what was given, or else the default.
func or[T any](given *T, otherwise T) T {
	if given != nil {
		return *given
	}
	return otherwise
}
