package yamlfile

import (
	"fmt"
	"strconv"
	"strings"
)

// Document is a file that was read: where each of its fields stands.
type Document struct {
	file string
	at   map[string]position // by field path
}

type position struct{ line, column int }

// Problem returns a problem with the field, at the field's place or, where the
// field is absent, at the place of the nearest field around it. A key's value
// is its place; a list's or mapping's is its key.
func (d *Document) Problem(field, format string, args ...any) Problem {
	p := Problem{File: d.file, Line: 1, Column: 1, Field: field, Message: fmt.Sprintf(format, args...)}
	for path := field; ; path = parent(path) {
		if at, ok := d.at[path]; ok {
			p.Line, p.Column = at.line, at.column
			return p
		}
		if path == "" {
			return p
		}
	}
}

// Has reports whether the field is in the file.
func (d *Document) Has(field string) bool {
	_, ok := d.at[field]
	return ok
}

// Key returns the path of a key of the mapping at path: spec.tasks. A key that
// is no plain word is quoted: labels["a.b"].
func Key(path, key string) string {
	if !plainKey(key) {
		return path + "[" + strconv.Quote(key) + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// Item returns the path of an item of the list at path: tasks[1].
func Item(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func plainKey(key string) bool {
	for _, r := range key {
		if !(r == '_' || r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z') {
			return false
		}
	}
	return key != ""
}

// parent cuts the last key or index off a path that Key and Item made.
func parent(path string) string {
	if !strings.HasSuffix(path, "]") {
		return path[:max(strings.LastIndexByte(path, '.'), 0)]
	}
	if !strings.HasSuffix(path, `"]`) {
		return path[:max(strings.LastIndexByte(path, '['), 0)]
	}
	// The opening quote is the last one before the end that a backslash does
	// not escape; strconv.Quote escapes every other quote.
	for i := len(path) - 3; i > 0; i-- {
		if path[i] == '"' && path[i-1] == '[' {
			return path[:i-1]
		}
	}
	return ""
}
