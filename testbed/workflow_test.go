package testbed_test

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
	"github.com/weft-mesh/weft/tiering/workflow"
)

// wrap is a scenario of nothing but the workflow document.
func wrap(document []byte) *testbed.Scenario {
	return &testbed.Scenario{Workflow: testbed.Workflow{File: "w.yaml", Document: document}}
}

func sourcesOf(w *tiering.Workflow) []testbed.Source {
	var out []testbed.Source
	for _, s := range w.Sources {
		out = append(out, testbed.Source{Name: s.Name, URI: s.URI, Node: s.Node, FPS: s.FPS, Resolution: s.Resolution})
	}
	return out
}

// forms are ways to write one workflow down.
var forms = []string{
	`{apiVersion: weft/v1, kind: Workflow, metadata: {name: x}, spec: {sources: [{name: s, uri: "videotest:"}], tasks: [{name: d, type: deep-model, models: [hog-people], resources: {cpu: 1, memory: 1GiB}}], links: [{from: s, to: d}]}}`,
	`{"apiVersion": "weft/v1", "kind": "Workflow", "metadata": {"name": "x"},
 "spec": {"sources": [{"name": "s", "uri": "videotest:"}],
 "tasks": [{"name": "d", "type": "deep-model", "models": ["hog-people"], "resources": {"cpu": 1, "memory": "1GiB"}}], "links": [{"from": "s", "to": "d"}]}}`,
	"apiVersion: weft/v1\nkind: Workflow\nmetadata: {name: x}\nspec:\n  tasks: [{name: d, type: deep-model, models: [hog-people], resources: {cpu: 1, memory: 1GiB}}]\n" +
		"  links: [{from: s, to: d}]\n  sources: [{name: s, uri: \"videotest:\"}] # at the end, without a line's",
	"\ufeffapiVersion: weft/v1\r\nkind: Workflow\r\nmetadata: {name: x}\r\nspec:\r\n  sources:\r\n  # one\r\n  - name: s\r\n    # two\r\n    uri: \"videotest:\" # three\r\n" +
		"  # four\r\n  tasks:\r\n  - {name: d, type: deep-model, models: [hog-people], resources: {cpu: 1, memory: 1GiB}}\r\n  links: [{from: s, to: d}]\r\n",
	"---\napiVersion: weft/v1\nkind: >-\n  Workflow\nmetadata:\n  name: |-\n    x\nspec:\n  sources:\n  - name: >-\n      s\n    uri: \"videotest:\"\n  tasks:\n" +
		"    - name: d\n      type: deep-model\n      models:\n        - hog-people\n      resources:\n        cpu: 1\n        memory: 1GiB\n  links:\n    -\n      from: s\n      to: d\n...\n",
}

// A document with its own sources written anew is the same workflow.
func FuzzWorkflowDocument(f *testing.F) {
	for _, pattern := range []string{"testdata/workflows/*.yaml", "../examples/*.yaml", "../examples/testbed/*.yaml", "../tiering/workflow/testdata/good/*.yaml"} {
		for _, data := range documents(f, pattern) {
			f.Add(data)
		}
	}
	for _, form := range forms {
		if _, err := workflow.Parse("w.yaml", []byte(form), catalog.Builtin()); err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(form))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		want, err := workflow.Parse("w.yaml", data, catalog.Builtin())
		if err != nil {
			return
		}
		got, err := wrap(data).WorkflowSpec(sourcesOf(want))
		if err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v\nwant %+v", got, want)
		}
	})
}

func TestWorkflowDocument(t *testing.T) {
	s := examples(t)["small"]
	b, err := s.WorkflowDocument(testbed.DocumentOptions{Name: "calibration", FPS: 0.5, Sources: s.Sources[1:]})
	if err != nil {
		t.Fatal(err)
	}
	w, err := workflow.Parse("w.yaml", b, catalog.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	want := []tiering.Source{
		{Name: "cam-2", URI: "video:vtest.avi?loop=true", Node: "edge-2", FPS: 0.5, Resolution: 512},
		{Name: "gate", URI: "video:vtest.avi?loop=true&start=40s", Node: "edge-1", FPS: 0.5, Resolution: 640},
	}
	if w.Name != "calibration" || !slices.Equal(w.Sources, want) {
		t.Errorf("workflow %s of %+v, want calibration of %+v", w.Name, w.Sources, want)
	}
	for line := range bytes.Lines(s.Workflow.Document) {
		if text := strings.TrimSpace(string(line)); strings.HasPrefix(text, "#") && !bytes.Contains(b, []byte(text)) {
			t.Errorf("the comment %q is lost", text)
		}
	}
	if s.Sources[0].FPS != examples(t)["small"].Sources[0].FPS || s.Workflow.Name != "people" {
		t.Error("the scenario has changed")
	}
	if _, err := wrap([]byte("spec: [")).WorkflowDocument(testbed.DocumentOptions{}); err == nil {
		t.Error("no error for a document that is no YAML")
	}
}

// Whatever sources are written into a document, the same are read back.
func TestWorkflowSources(t *testing.T) {
	base := documents(t, "testdata/workflows/people.yaml")["testdata/workflows/people.yaml"]
	rapid.Check(t, func(t *rapid.T) {
		label := rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?`)
		path := rapid.StringMatching(`[ -~]{0,20}[!->@-~]`)
		var sources []testbed.Source
		for i := range rapid.IntRange(1, 5).Draw(t, "n") {
			sources = append(sources, testbed.Source{
				Name: label.Draw(t, "name") + fmt.Sprint(i), URI: "mqtt:" + path.Draw(t, "path"), Node: label.Draw(t, "node"),
				FPS: rapid.Float64Range(0.001, 1000).Draw(t, "fps"), Resolution: rapid.SampledFrom([]int{512, 640}).Draw(t, "resolution"),
			})
		}
		w, err := wrap(base).WorkflowSpec(sources)
		if err != nil {
			if strings.Contains(err.Error(), "invalid source URI") {
				t.Skip(err)
			}
			t.Fatal(err)
		}
		if got := sourcesOf(w); !slices.Equal(got, sources) {
			t.Fatalf("got %+v, want %+v", got, sources)
		}
	})
}

func TestRunning(t *testing.T) {
	s := &testbed.Scenario{Sources: []testbed.Source{{Name: "a"}, {Name: "b"}}, Reserve: []testbed.Source{{Name: "c"}}}
	for n, want := range map[int]string{-1: "", 0: "", 1: "a", 2: "ab", 3: "abc", 4: "abc"} {
		got := ""
		for _, x := range s.Running(n) {
			got += x.Name
		}
		if got != want {
			t.Errorf("%d run: %q, want %q", n, got, want)
		}
	}
}

// A scenario is run with another rule, other knobs and another accuracy in place
// of its workflow's; the rest of the document stays.
func TestAdaptingAndAsking(t *testing.T) {
	s := examples(t)["adaptation"]
	x, err := s.Adapting(s.Sources[:2], tiering.AdaptFastest, []tiering.Knob{tiering.KnobResolution, tiering.KnobRate})
	if err != nil {
		t.Fatal(err)
	}
	if x, err = x.Asking(0.123); err != nil {
		t.Fatal(err)
	}
	w, err := x.WorkflowSpec(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := tiering.DefaultAdapting()
	want.Rule, want.Knobs = tiering.AdaptFastest, []tiering.Knob{tiering.KnobResolution, tiering.KnobRate}
	if !reflect.DeepEqual(*w.Adapting, want) || w.Objectives.MinAccuracy != 0.123 || len(w.Sources) != 2 {
		t.Errorf("%+v, %+v, %d sources", *w.Adapting, w.Objectives, len(w.Sources))
	}
	was, err := s.WorkflowSpec(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(w.Tasks, was.Tasks) || was.Adapting.Rule != tiering.AdaptUtility || was.Objectives.MinAccuracy == 0.123 {
		t.Error("other tasks, or the scenario itself was changed")
	}
}
