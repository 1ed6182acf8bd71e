package study

import (
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/internal/yamlfile/schematest"
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

// parse reads a document of testdata as if it lay in testdata/scenarios, where
// the scenarios are that it may name.
func parse(file string, data []byte) (*Study, error) {
	return Parse(file, data, func(path string) ([]byte, error) {
		return fs.ReadFile(os.DirFS("testdata/scenarios"), path)
	})
}

func TestGoodDocuments(t *testing.T) {
	for file, data := range documents(t, "testdata/good/*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			s, err := parse(filepath.Base(file), data)
			if err != nil {
				t.Fatal(err)
			}
			for i := range s.Runs {
				s.Runs[i].Scenario = nil // they have files of their own
			}
			b, err := json.MarshalIndent(s, "", "  ")
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
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for _, file := range []string{"../../examples/houmani.yaml", "../../examples/houmani-coco.yaml"} {
		s, err := Load(file)
		if err != nil {
			t.Fatal(err)
		}
		if want := "../../examples/testbed/"; len(s.Runs) == 0 || !strings.HasPrefix(s.Runs[0].File, want) {
			t.Errorf("%s: the first run is of %v, want a file in %s", file, s.Runs, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/*/*.yaml", "../../examples/houmani*.yaml"} {
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
		for i := range s.Runs {
			r := &s.Runs[i]
			all, err := r.Variants()
			if err != nil || len(all) != len(r.Experiments) || len(all) == 0 || len(r.Methods) == 0 {
				t.Fatalf("run %s: %d variants of %d experiments, %v", r.Name, len(all), len(r.Experiments), err)
			}
		}
		if _, err := json.Marshal(s); err != nil {
			t.Fatal(err)
		}
	})
}

// What Parse accepts, the schema accepts.
func TestSchemaAcceptsGoodDocuments(t *testing.T) {
	s := schematest.Compile(t, Schema())
	for _, pattern := range []string{"testdata/good/*.yaml", "../../examples/houmani*.yaml"} {
		for file := range documents(t, pattern) {
			if err := schematest.Validate(t, s, file); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// Of the mistakes that concern the form, the schema finds one in each document.
func TestSchemaRefusesBadForms(t *testing.T) {
	s := schematest.Compile(t, Schema())
	for _, name := range []string{"header", "unknown-key", "missing-keys", "wrong-types", "experiments", "sources", "figures", "runs"} {
		if schematest.Validate(t, s, filepath.Join("testdata/bad", name+".yaml")) == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// The schema and the types that Parse decodes into have the same keys, and
// agree on which are required and which are texts, lists and so on.
func TestSchemaHasTheKeysOfTheDocument(t *testing.T) {
	schematest.Compare(t, Schema(), reflect.TypeFor[document]())
}
