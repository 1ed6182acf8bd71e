package testbed_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/testbed"
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

// parse reads a document of testdata as if it lay in testdata/workflows, where
// the documents are that it may name.
func parse(file string, data []byte) (*testbed.Scenario, error) {
	return testbed.Parse(file, data, func(path string) ([]byte, error) {
		return fs.ReadFile(os.DirFS("testdata/workflows"), path)
	})
}

func TestGoodDocuments(t *testing.T) {
	for file, data := range documents(t, "testdata/good/*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			s, err := parse(filepath.Base(file), data)
			if err != nil {
				t.Fatal(err)
			}
			s.Workflow.Document = nil // it has a file of its own
			b, err := json.MarshalIndent(s, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".json", string(b)+"\n")
		})
	}
}

func TestBadDocuments(t *testing.T) {
	all := documents(t, "testdata/bad/*.yaml")
	if len(all) < 40 {
		t.Errorf("only %d documents", len(all))
	}
	for file, data := range all {
		t.Run(filepath.Base(file), func(t *testing.T) {
			s, err := parse(filepath.Base(file), data)
			var problems yamlfile.Problems
			if s != nil || !errors.As(err, &problems) {
				t.Fatalf("got %v, %v; want problems", s, err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", err.Error()+"\n")
		})
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if _, err := testbed.Load(filepath.Join(dir, "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	s, err := testbed.Load("../examples/testbed/small.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := [3]string{"../examples/testbed/people.yaml", "../out/media", ""}
	if got := [3]string{s.Workflow.File, s.Workflow.Media, s.Workflow.Models}; got != want {
		t.Errorf("paths %q, want %q", got, want)
	}
}

// What a document may hold is bounded, so that a mistaken count is a message and
// not an hour of work.
func TestLimits(t *testing.T) {
	document := func(nodes, sources, events int) string {
		var b strings.Builder
		fmt.Fprintf(&b, "apiVersion: weft/v1\nkind: Scenario\nmetadata: {name: x}\nspec:\n  nodes:\n")
		fmt.Fprintf(&b, "  - {name: cloud, count: 1, tier: cloud, cores: 1, memory: 1GiB, coordinator: true}\n")
		fmt.Fprintf(&b, "  - {name: edge, count: %d, tier: edge, cores: 1, memory: 1GiB}\n", nodes-1)
		fmt.Fprintf(&b, "  network: {tiers: [{between: [edge, edge]}, {between: [edge, cloud]}]}\n  workflow: people.yaml\n")
		fmt.Fprintf(&b, "  sources: [{name: cam, count: %d, uri: 'videotest:', fps: 1}]\n  timeline:\n", sources)
		for i := range events {
			fmt.Fprintf(&b, "  - {at: %dms, link: {between: [edge-%d, edge-%d], delay: %dms}}\n", i, i%150+1, i%150+2, i)
		}
		return b.String()
	}
	for _, tt := range []struct{ name, text, want string }{
		{"largest", document(200, 1000, 1000), ""},
		{"nodes", document(201, 1, 1), "x.yaml:7:5: spec.nodes[1]: more than 200 nodes; use fewer"},
		{"sources", document(2, 1001, 0) + "  []\n", "x.yaml:10:32: spec.sources[0].count: 1001 is out of range; use 1 to 1000"},
		{"events", document(160, 1, 1001), "x.yaml:11:3: spec.timeline: 1001 events; at most 1000 are allowed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse("x.yaml", []byte(tt.text))
			if got := fmt.Sprint(err); got != tt.want && (err != nil || tt.want != "") {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/*/*.yaml", "../examples/testbed/*.yaml"} {
		for _, data := range documents(f, pattern) {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parse("x.yaml", data)
		if err != nil {
			var problems yamlfile.Problems
			if !errors.As(err, &problems) || s != nil {
				t.Fatalf("got %v, %v; want problems", s, err)
			}
			return
		}
		checkScenario(t, s)
	})
}

// checkScenario checks what every scenario that Parse returns must be.
func checkScenario(t *testing.T, s *testbed.Scenario) {
	topology := testbed.NewTopology(s)
	for _, p := range topology.Pairs() {
		l, ok := topology.Link(p.A, p.B)
		if !ok || l.Delay < 0 || l.Jitter < 0 || l.Jitter > l.Delay || l.Rate < 0 || l.Loss < 0 || l.Loss > 1 || l.Queue < 1 {
			t.Fatalf("%v: %+v, %v", p, l, ok)
		}
	}
	nodes := map[string]bool{}
	for _, n := range s.Nodes {
		if nodes[n.Name] || n.Cores < 1 || n.Memory < 1 {
			t.Fatalf("node %+v", n)
		}
		nodes[n.Name] = true
	}
	run, most := len(s.Sources), len(s.Sources)
	for i, e := range s.Timeline {
		if e.At < 0 || e.At >= s.Measure.Duration || i > 0 && e.At < s.Timeline[i-1].At || e.Node != "" && !nodes[e.Node] || e.String() == "" {
			t.Fatalf("event %d: %+v", i, e)
		}
		if err := topology.Apply(e); err != nil {
			t.Fatalf("event %+v: %v", e, err)
		}
		run += e.Count
		most = max(most, run)
		if run < 1 {
			t.Fatalf("%d sources after %+v", run, e)
		}
	}
	if len(s.Reserve) != most-len(s.Sources) {
		t.Fatalf("%d sources in reserve to %d, want at most %d", len(s.Reserve), len(s.Sources), most)
	}
	for _, x := range append(s.Sources[:len(s.Sources):len(s.Sources)], s.Reserve...) {
		if x.Node != "" && !nodes[x.Node] || x.FPS <= 0 || x.Resolution <= 0 {
			t.Fatalf("source %+v", x)
		}
	}
	w, err := s.WorkflowSpec(nil)
	if err != nil || len(w.Sources) != len(s.Sources) {
		t.Fatalf("workflow: %v, %v", w, err)
	}
	if _, err := json.Marshal(s); err != nil {
		t.Fatal(err)
	}
}
