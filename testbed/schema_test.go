package testbed

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func compile(t *testing.T) *jsonschema.Schema {
	t.Helper()
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", parsed); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validate(t *testing.T, s *jsonschema.Schema, file string) error {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := yaml.YAMLToJSON(data)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(v)
}

// What Parse accepts, the schema accepts.
func TestSchemaAcceptsGoodDocuments(t *testing.T) {
	s := compile(t)
	for _, pattern := range []string{"testdata/good/*.yaml", "../examples/testbed/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no files %s (%v)", pattern, err)
		}
		for _, file := range files {
			if data, err := os.ReadFile(file); err != nil || bytes.Contains(data, []byte("kind: Workflow")) {
				continue
			}
			if err := validate(t, s, file); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// Of the mistakes that concern the form, the schema finds one in each document.
func TestSchemaRefusesBadForms(t *testing.T) {
	s := compile(t)
	for _, name := range []string{
		"between-one", "count-zero", "cpu-scale", "event-nothing", "event-two-actions", "for-without-end", "header", "link-values", "loss",
		"missing-keys", "name", "no-nodes", "queue", "rate-negative", "rate-unit", "rate-zero", "source-values", "sources-zero", "unknown-key", "wrong-types",
	} {
		if validate(t, s, filepath.Join("testdata/bad", name+".yaml")) == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// The schema and the types that Parse decodes into have the same keys, and
// agree on which are required and which are texts, lists and so on.
func TestSchemaHasTheKeysOfTheDocument(t *testing.T) {
	var root map[string]any
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	w := schemaWalker{t: t, defs: root["$defs"].(map[string]any), used: map[string]bool{}}
	w.compare("document", reflect.TypeFor[document](), root)
	for name := range w.defs {
		if !w.used[name] {
			t.Errorf("$defs/%s is not used", name)
		}
	}
}

type schemaWalker struct {
	t    *testing.T
	defs map[string]any
	used map[string]bool
}

func (w *schemaWalker) resolve(s map[string]any) map[string]any {
	ref, ok := s["$ref"].(string)
	if !ok {
		return s
	}
	name := strings.TrimPrefix(ref, "#/$defs/")
	w.used[name] = true
	def, ok := w.defs[name].(map[string]any)
	if !ok {
		w.t.Fatalf("no definition %s", ref)
	}
	return w.resolve(def)
}

func (w *schemaWalker) compare(path string, t reflect.Type, s map[string]any) {
	s = w.resolve(s)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[places](): // one text
		if s["type"] != "string" {
			w.t.Errorf("%s: a text for Parse, %v in the schema", path, s["type"])
		}
	case t.Kind() == reflect.Slice, t.Kind() == reflect.Map:
		kind, key := "array", "items"
		if t.Kind() == reflect.Map {
			kind, key = "object", "additionalProperties"
		}
		items, ok := s[key].(map[string]any)
		if s["type"] != kind || !ok {
			w.t.Errorf("%s: a %v for Parse, %v in the schema", path, t.Kind(), s)
			return
		}
		w.compare(path+"[]", t.Elem(), items)
	case t.Kind() == reflect.Struct:
		w.compareStruct(path, t, s)
	default:
		if s["type"] == "object" || s["type"] == "array" {
			w.t.Errorf("%s: a %s for Parse, %v in the schema", path, t, s["type"])
		}
	}
}

func (w *schemaWalker) compareStruct(path string, t reflect.Type, s map[string]any) {
	hasShort := slices.ContainsFunc(reflect.VisibleFields(t), func(f reflect.StructField) bool { return strings.Contains(f.Tag.Get("yaml"), ",short") })
	alternatives, ok := s["anyOf"].([]any)
	if ok != hasShort {
		w.t.Errorf("%s: short form for Parse %v, in the schema %v", path, hasShort, ok)
		return
	}
	if hasShort {
		w.resolve(alternatives[0].(map[string]any))
		s = alternatives[1].(map[string]any) // by convention the long form
	}
	if s["additionalProperties"] != false {
		w.t.Errorf("%s: the schema allows additional properties", path)
	}
	properties, _ := s["properties"].(map[string]any)
	required, _ := s["required"].([]any)
	seen := map[string]bool{}
	for _, f := range reflect.VisibleFields(t) {
		key, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		seen[key] = true
		p, ok := properties[key].(map[string]any)
		if !ok {
			w.t.Errorf("%s.%s: known to Parse, not in the schema", path, key)
			continue
		}
		if inSchema := slices.Contains(required, any(key)); inSchema != strings.Contains(options, "required") {
			w.t.Errorf("%s.%s: required by the schema %v, by Parse %v", path, key, inSchema, !inSchema)
		}
		w.compare(path+"."+key, f.Type, p)
	}
	for key := range properties {
		if !seen[key] {
			w.t.Errorf("%s.%s: in the schema, unknown to Parse", path, key)
		}
	}
}
