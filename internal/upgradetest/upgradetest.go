// Package upgradetest holds what an earlier version wrote against what today's
// code makes of it. The files are under testdata/v1 of each package that has a
// format: they were written by the code of commit 4f00ce4 and are never written
// anew. A format that breaks with them takes a new version number and a new
// directory, and reads both.
//
// Only tests import it.
package upgradetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"testing"
)

// Read returns a file.
func Read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Holds fails the test unless the JSON of got holds all that the JSON has:
// every key with the same value. Keys may be added, and one whose value is
// nothing (zero, empty, null) may be left out.
func Holds(t *testing.T, what string, got any, want []byte) {
	t.Helper()
	b, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range missing(what, parse(t, b), parse(t, want)) {
		t.Error(d)
	}
}

func parse(t *testing.T, b []byte) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber() // an index may need all 64 bits
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return v
}

// missing says what of want is not in got.
func missing(at string, got, want any) (out []string) {
	if nothing(want) && nothing(got) {
		return nil
	}
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok && !nothing(got) {
			break
		}
		for key, v := range w {
			out = append(out, missing(at+"."+key, g[key], v)...)
		}
		return out
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			break
		}
		for i, v := range w {
			out = append(out, missing(fmt.Sprintf("%s[%d]", at, i), g[i], v)...)
		}
		return out
	default:
		if reflect.DeepEqual(got, want) {
			return nil
		}
	}
	return []string{fmt.Sprintf("%s is now %v; the earlier version wrote %v", at, got, want)}
}

func nothing(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == ""
	case json.Number:
		f, err := v.Float64()
		return err == nil && f == 0
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// WithMore returns the JSON with a key in every object that nobody knows, but
// for those by these names, whose keys are data.
func WithMore(t *testing.T, b []byte, maps ...string) []byte {
	t.Helper()
	v := parse(t, b)
	add(v, maps)
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func add(v any, maps []string) {
	switch v := v.(type) {
	case map[string]any:
		for key, x := range v {
			if !slices.Contains(maps, key) {
				add(x, maps)
			}
		}
		v["added_since"] = map[string]any{"x": []int{1}}
	case []any:
		for _, x := range v {
			add(x, maps)
		}
	}
}
