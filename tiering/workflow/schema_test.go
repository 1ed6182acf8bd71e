package workflow

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/weft-mesh/weft/internal/yamlfile/schematest"
)

// What Parse accepts, the schema accepts.
func TestSchemaAcceptsGoodDocuments(t *testing.T) {
	s := schematest.Compile(t, Schema())
	for _, pattern := range []string{"testdata/good/*.yaml", "../../examples/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no files %s (%v)", pattern, err)
		}
		for _, file := range files {
			if data, err := os.ReadFile(file); err != nil || bytes.Contains(data, []byte("kind: Study")) {
				continue
			}
			if err := schematest.Validate(t, s, file); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// Of the mistakes that concern the form, the schema finds one in each document.
func TestSchemaRefusesBadForms(t *testing.T) {
	s := schematest.Compile(t, Schema())
	for _, name := range []string{
		"unknown-key", "missing-keys", "wrong-types", "header", "names", "objectives", "source-values",
		"task-types", "models-misplaced", "links-values", "resources", "empty-lists", "settings", "adaptation", "filter",
	} {
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
