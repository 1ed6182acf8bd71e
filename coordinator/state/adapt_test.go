package state

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/weft-mesh/weft/tiering"
)

// adapted submits people, whose detector serves two resolutions.
func adapted(t *testing.T) *fixture {
	f := newFixture(t)
	f.nodes(node("edge-1", tiering.Edge, 1), node("fog-1", tiering.Fog, 4), node("cloud-1", tiering.Cloud, 8))
	f.submit(twoQualities())
	return f
}

func twoQualities() *tiering.Workflow {
	w := pipelineOf("people", 1)
	high, model := w.Tasks[1], *w.Tasks[1].Model
	model.Resolution = 512
	high.Name, high.Model = "detect@512", &model
	w.Tasks = slices.Insert(w.Tasks, 2, high)
	w.Sources[0].Resolution = 512
	return w
}

func decision(q tiering.Quality, held string) *AdaptSources {
	c := &AdaptSources{Workflow: "people", Version: 1, Why: "because", Memory: []byte("x"), At: at(30)}
	if q != (tiering.Quality{}) {
		c.Qualities = map[string]tiering.Quality{"cam": q}
	}
	if held != "" {
		c.Held = map[string]string{"cam": held}
	}
	return c
}

func TestAdaptSources(t *testing.T) {
	f := adapted(t)
	source := func() tiering.Assignment {
		t.Helper()
		as := f.Snapshot().Assignments("edge-1")
		i := slices.IndexFunc(as, func(a tiering.Assignment) bool { return a.Source != nil })
		if i < 0 {
			t.Fatal("no source")
		}
		return as[i]
	}
	if a := source(); a.Quality != nil || a.Source.Resolution != 512 || a.Held != "" {
		t.Fatalf("before any decision: %+v", a)
	}
	low, full := tiering.Quality{Model: "yolo", Resolution: 416, Every: 1}, tiering.Quality{Model: "yolo", Resolution: 512, Every: 1}
	for _, step := range []struct {
		what   string
		do     *AdaptSources
		wakes  bool
		events []EventType
	}{
		{"reduced", decision(low, ""), true, []EventType{QualityChanged}},
		{"the same again", decision(low, ""), false, nil},
		{"held", decision(low, "0.9 is asked for"), true, []EventType{SourceHeld, QualityChanged}},
		{"admitted", decision(full, ""), true, []EventType{SourceAdmitted, QualityChanged}},
	} {
		before := f.Snapshot()
		r := f.do(step.do)
		if r.Err != nil {
			t.Fatalf("%s: %v", step.what, r.Err)
		}
		var events []EventType
		for _, e := range r.Events {
			events = append(events, e.Type)
		}
		if !slices.Equal(events, step.events) {
			t.Errorf("%s: events %v, want %v", step.what, r.Events, step.events)
		}
		if woke := f.Snapshot().Revision() != before.Revision(); woke != step.wakes {
			t.Errorf("%s: agents hear of it: %t", step.what, woke)
		}
		a := source()
		if want := step.do.Qualities["cam"]; a.Quality == nil || *a.Quality != want || a.Source.Resolution != want.Resolution || a.Held != step.do.Held["cam"] {
			t.Errorf("%s: %+v", step.what, a)
		}
		if got, ok := f.Snapshot().Adaptation("people"); !ok || !got.Since.Equal(at(30)) || got.Why != "because" || string(got.Memory) != "x" {
			t.Errorf("%s: %+v", step.what, got)
		}
	}
	if w, _ := f.Snapshot().Workflow("people"); w.Spec.Sources[0].Resolution != 512 {
		t.Error("the specification has been changed")
	}
}

func TestAdaptSourcesRefused(t *testing.T) {
	f := adapted(t)
	before := persist(t, f.Snapshot())
	full := tiering.Quality{Model: "yolo", Resolution: 512, Every: 1}
	change := func(how func(*AdaptSources)) *AdaptSources { c := decision(full, ""); how(c); return c }
	for what, tc := range map[string]struct {
		do *AdaptSources
		is error
	}{
		"no such workflow":   {change(func(c *AdaptSources) { c.Workflow = "cars" }), ErrNotFound},
		"an older version":   {change(func(c *AdaptSources) { c.Version = 0 }), ErrConflict},
		"no such source":     {change(func(c *AdaptSources) { c.Qualities["gate"] = full }), ErrInvalid},
		"no such source, 2":  {change(func(c *AdaptSources) { c.Held = map[string]string{"gate": "why"} }), ErrInvalid},
		"no such resolution": {decision(tiering.Quality{Model: "yolo", Resolution: 608, Every: 1}, ""), ErrInvalid},
		"no such model":      {decision(tiering.Quality{Model: "hog", Resolution: 512, Every: 1}, ""), ErrInvalid},
		"no frames":          {decision(tiering.Quality{Model: "yolo", Resolution: 512}, ""), ErrInvalid},
		"held for nothing":   {change(func(c *AdaptSources) { c.Held = map[string]string{"cam": ""} }), ErrInvalid},
		"a large memory":     {change(func(c *AdaptSources) { c.Memory = make([]byte, maxMemory+1) }), ErrInvalid},
	} {
		if r := f.do(tc.do); !errors.Is(r.Err, tc.is) {
			t.Errorf("%s: %v", what, r.Err)
		}
	}
	if s := f.Snapshot(); len(s.Adaptations()) != 0 || bytes.Equal(persist(t, s), before) { // the index is another
		t.Error("something was changed")
	}
}

// What was decided of a workflow ends with it. Of its next version it holds as
// far as that has the same sources and qualities.
func TestAdaptationAndVersions(t *testing.T) {
	f := adapted(t)
	if r := f.do(decision(tiering.Quality{Model: "yolo", Resolution: 416, Every: 1}, "0.9 is asked for")); r.Err != nil {
		t.Fatal(r.Err)
	}
	f.submit(twoQualities())
	a, ok := f.Snapshot().Adaptation("people")
	if !ok || len(a.Qualities) != 1 || len(a.Held) != 1 || string(a.Memory) != "x" {
		t.Fatalf("after the same again: %+v", a)
	}
	if r := f.do(decision(tiering.Quality{Model: "yolo", Resolution: 416, Every: 1}, "")); !errors.Is(r.Err, ErrConflict) {
		t.Errorf("a decision about the version before: %v", r.Err)
	}
	w := twoQualities()
	w.Tasks = slices.Delete(w.Tasks, 1, 2) // 416
	f.submit(w)
	if a, _ = f.Snapshot().Adaptation("people"); len(a.Qualities) != 0 || len(a.Held) != 1 {
		t.Errorf("without 416: %+v", a)
	}
	w.Sources[0].Name, w.Links[0].From = "gate", "gate"
	f.submit(w)
	if a, _ = f.Snapshot().Adaptation("people"); len(a.Qualities)+len(a.Held) != 0 {
		t.Errorf("without the source: %+v", a)
	}
	if r := f.do(&StopWorkflow{Name: "people", At: at(40)}); r.Err != nil {
		t.Fatal(r.Err)
	}
	if a, ok := f.Snapshot().Adaptation("people"); ok {
		t.Errorf("stopped, %+v is left", a)
	}
	if r := f.do(decision(tiering.Quality{Model: "yolo", Resolution: 512, Every: 1}, "")); !errors.Is(r.Err, ErrConflict) {
		t.Errorf("a decision about what is stopped: %v", r.Err)
	}
}
