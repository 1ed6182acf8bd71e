package workflow_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/tiering"
	"github.com/weft-mesh/weft/tiering/workflow"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with the file, or writes it.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant (%s; -update writes it anew)\n%s", got, file, want)
	}
}

// documents returns the YAML files that match the pattern, by name.
func documents(t testing.TB, pattern string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s (%v)", pattern, err)
	}
	out := map[string][]byte{}
	for _, f := range files {
		if out[f], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestGoodDocuments(t *testing.T) {
	for file, data := range documents(t, "testdata/good/*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			w, err := workflow.Parse(filepath.Base(file), data, catalog.Builtin())
			if err != nil {
				t.Fatal(err)
			}
			b, err := json.MarshalIndent(w, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".json", string(b)+"\n")
		})
	}
}

func TestBadDocuments(t *testing.T) {
	for file, data := range documents(t, "testdata/bad/*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			w, err := workflow.Parse(filepath.Base(file), data, catalog.Builtin())
			var problems yamlfile.Problems
			if w != nil || !errors.As(err, &problems) {
				t.Fatalf("got %v, %v; want problems", w, err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", err.Error()+"\n")
		})
	}
}

func TestExamples(t *testing.T) {
	for file, data := range documents(t, "../../examples/*.yaml") {
		if bytes.Contains(data, []byte("kind: Study")) {
			continue
		}
		if _, err := workflow.Parse(file, data, catalog.Builtin()); err != nil {
			t.Error(err)
		}
	}
}

// The demo's promises: one camera's frames are analysed at 768 and so in the
// cloud, the other's at 640 and so in the fog.
func TestPeopleExample(t *testing.T) {
	data, err := os.ReadFile("../../examples/people.yaml")
	if err != nil {
		t.Fatal(err)
	}
	w, err := workflow.Parse("people.yaml", data, catalog.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]tiering.Source{
		"gate": {Name: "gate", URI: "video:vtest.avi?loop=true", Node: "edge-1", FPS: 5, Resolution: 768},
		"yard": {Name: "yard", URI: "video:vtest.avi?loop=true&start=40s", Node: "edge-2", FPS: 5, Resolution: 640},
	} {
		if got, ok := w.Source(name); !ok || *got != want {
			t.Errorf("source %s: got %+v, want %+v", name, got, want)
		}
	}
	got := tiering.Categorise(w.Tasks)
	want := map[string]tiering.Category{"resize": tiering.NI, "detect@640": tiering.LI, "detect@768": tiering.HI, "draw": tiering.HI}
	for task, category := range want {
		if got[task] != category {
			t.Errorf("task %s is %s, want %s", task, got[task], category)
		}
	}
}

func TestLimits(t *testing.T) {
	document := func(sources, tasks, links int) string {
		var b strings.Builder
		b.WriteString("apiVersion: weft/v1\nkind: Workflow\nmetadata: {name: x}\nspec:\n  sources:\n")
		for i := range sources {
			fmt.Fprintf(&b, "  - {name: s%d, uri: 'videotest:'}\n", i)
		}
		b.WriteString("  tasks:\n")
		for i := range tasks {
			fmt.Fprintf(&b, "  - {name: t%d, type: deep-model, models: [hog-people], resources: {cpu: 1, memory: 1GiB}}\n", i)
		}
		b.WriteString("  links:\n  - {from: sources, to: t0}\n")
		for i := range links - 1 {
			fmt.Fprintf(&b, "  - {from: t%d, to: t%d}\n", i, i+1)
		}
		return b.String()
	}
	for _, tt := range []struct {
		name, text, want string
	}{
		{"largest", document(1000, 100, 100), ""},
		{"sources", document(1001, 1, 1), "x.yaml:5:3: spec.sources: 1001 sources; at most 1000 are allowed"},
		{"tasks", document(1, 101, 101), "x.yaml:7:3: spec.tasks: 101 tasks; at most 100 are allowed"},
		{"links", document(1, 1, 1001), "x.yaml:9:3: spec.links: 1001 links; at most 1000 are allowed"},
		{"bytes", document(1, 1, 1) + strings.Repeat("# padding\n", 110_000), "x.yaml:1:1: the document has 1100242 bytes; at most 1048576 (1 MiB) are read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := workflow.Parse("x.yaml", []byte(tt.text), catalog.Builtin())
			if got := fmt.Sprint(err); got != tt.want && (err != nil || tt.want != "") {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Whatever the graph, a document is accepted exactly if the graph is acyclic
// and every step is on a way from a source, and then the tasks are in an order
// in which every link leads forward.
func TestGraphs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "tasks")
		edges := map[[2]int]bool{} // from -1: the source
		for range rapid.IntRange(1, 9).Draw(t, "links") {
			edges[[2]int{rapid.IntRange(-1, n-1).Draw(t, "from"), rapid.IntRange(0, n-1).Draw(t, "to")}] = true
		}
		var b strings.Builder
		b.WriteString("apiVersion: weft/v1\nkind: Workflow\nmetadata: {name: x}\nspec:\n  sources: [{name: s, uri: 'videotest:'}]\n  tasks:\n")
		for i := range n {
			fmt.Fprintf(&b, "  - {name: t%d, type: shallow-model, models: [yolox-nano], resources: {cpu: 1, memory: 1GiB}}\n", i)
		}
		b.WriteString("  links:\n")
		name := func(i int) string {
			if i < 0 {
				return "s"
			}
			return fmt.Sprintf("t%d", i)
		}
		// way[i][j]: j is behind i; the last row is the source's.
		way := make([][]bool, n+1)
		for i := range way {
			way[i] = make([]bool, n)
		}
		for e := range edges {
			fmt.Fprintf(&b, "  - {from: %s, to: %s}\n", name(e[0]), name(e[1]))
			way[(e[0]+n+1)%(n+1)][e[1]] = true
		}
		for k := range n {
			for i := range n + 1 {
				for j := range n {
					way[i][j] = way[i][j] || way[i][k] && way[k][j]
				}
			}
		}
		want := true
		for i := range n {
			want = want && !way[i][i] && way[n][i]
		}
		w, err := workflow.Parse("x.yaml", []byte(b.String()), catalog.Builtin())
		if (err == nil) != want {
			t.Fatalf("error %v, want accepted: %v\n%s", err, want, b.String())
		}
		if err != nil {
			return
		}
		at := func(group string) int {
			return slices.IndexFunc(w.Tasks, func(t tiering.Task) bool { return t.Group == group })
		}
		for _, l := range w.Links {
			if at(l.From) >= at(l.To) {
				t.Fatalf("%s comes after %s", l.From, l.To)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/*/*.yaml", "../../examples/*.yaml"} {
		for _, data := range documents(f, pattern) {
			f.Add(data)
		}
	}
	models := catalog.Builtin()
	f.Fuzz(func(t *testing.T, data []byte) {
		w, err := workflow.Parse("x.yaml", data, models)
		if err != nil {
			var problems yamlfile.Problems
			if !errors.As(err, &problems) || w != nil {
				t.Fatalf("got %v, %v; want problems", w, err)
			}
			return
		}
		names := map[string]bool{}
		for _, task := range w.Tasks {
			if names[task.Name] || task.Replicas < 1 || task.Operation == "" || task.Request.CPU < 0 {
				t.Fatalf("task %+v", task)
			}
			names[task.Name] = true
			if task.Model != nil {
				if m, ok := models.Lookup(task.Model.Name); !ok || !m.Offers(task.Model.Resolution) {
					t.Fatalf("model %+v", task.Model)
				}
			}
		}
		for _, s := range w.Sources {
			if s.Resolution <= 0 || s.FPS < 0 {
				t.Fatalf("source %+v", s)
			}
		}
		if w.Objectives.Deadline <= 0 || w.Objectives.Deadline > 1<<62 || w.Objectives.MinAccuracy < 0 || w.Objectives.MinAccuracy > 1 {
			t.Fatalf("objectives %+v", w.Objectives)
		}
		if _, err := json.Marshal(w); err != nil {
			t.Fatal(err)
		}
	})
}
