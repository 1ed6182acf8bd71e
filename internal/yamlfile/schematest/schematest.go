// Package schematest is for tests of the JSON Schemas that editors check Weft's
// YAML documents with: whether a schema says what the parser does.
package schematest

import (
	"bytes"
	"encoding"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Compile compiles a schema.
func Compile(t *testing.T, schema []byte) *jsonschema.Schema {
	t.Helper()
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
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

// Validate checks a YAML file by the schema.
func Validate(t *testing.T, s *jsonschema.Schema, file string) error {
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

// Compare fails the test unless the schema and the type that documents are
// decoded into have the same keys, and agree on which are required and which
// are texts, lists and so on. By convention a value with a short form is an
// anyOf of the short and the long one.
func Compare(t *testing.T, schema []byte, document reflect.Type) {
	t.Helper()
	var root map[string]any
	if err := json.Unmarshal(schema, &root); err != nil {
		t.Fatal(err)
	}
	w := walker{t: t, defs: root["$defs"].(map[string]any), used: map[string]bool{}}
	w.compare("document", document, root)
	for name := range w.defs {
		if !w.used[name] {
			t.Errorf("$defs/%s is not used", name)
		}
	}
}

type walker struct {
	t    *testing.T
	defs map[string]any
	used map[string]bool
}

func (w *walker) resolve(s map[string]any) map[string]any {
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

func (w *walker) compare(path string, t reflect.Type, s map[string]any) {
	s = w.resolve(s)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Slice && reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		if s["type"] != "string" { // a list in one text
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

func (w *walker) compareStruct(path string, t reflect.Type, s map[string]any) {
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
