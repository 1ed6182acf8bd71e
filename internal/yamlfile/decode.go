package yamlfile

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// decoder fills Go values from nodes and collects what does not fit.
type decoder struct {
	doc      *Document
	problems Problems
}

func (d *decoder) add(where position, path, format string, args ...any) {
	p := at(d.doc, where, format, args...)
	p.Field = path
	d.problems = append(d.problems, p)
}

// index notes where every field stands and reports keys that are given twice.
func (d *decoder) index(n ast.Node, path string, where position) {
	d.doc.at[path] = where
	switch n := n.(type) {
	case *ast.SequenceNode:
		for i, item := range n.Values {
			d.index(item, Item(path, i), place(item))
		}
	case *ast.MappingNode, *ast.MappingValueNode:
		for _, pair := range pairs(n) {
			key, ok := keyOf(pair)
			if !ok {
				d.add(place(pair), path, "a key must be a word, not a list or a mapping")
				continue
			}
			field, keyAt := Key(path, key), place(pair)
			if first, dup := d.doc.at[field]; dup {
				d.add(keyAt, field, "duplicate key %q: it is given on line %d already; keep one", key, first.line)
				continue
			}
			valueAt := keyAt
			if isScalar(pair.Value) {
				valueAt = place(pair.Value)
			}
			d.index(pair.Value, field, valueAt)
		}
	}
}

// decode fills v from n.
func (d *decoder) decode(n ast.Node, path string, v reflect.Value) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.decode(n, path, v.Elem())
		return
	}
	if isNull(n) {
		d.add(d.doc.at[path], path, "has no value; give one or remove the key")
		return
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if text, ok := d.scalar(n, path, "a single value"); ok {
			if err := u.UnmarshalText([]byte(text)); err != nil {
				d.add(place(n), path, "%v", err)
			}
		}
		return
	}
	switch {
	case v.Kind() == reflect.Struct:
		d.decodeStruct(n, path, v)
	case v.Kind() == reflect.Slice:
		d.decodeSlice(n, path, v)
	case v.Kind() == reflect.Map:
		d.decodeMap(n, path, v)
	default:
		d.decodeScalar(n, path, v)
	}
}

func (d *decoder) decodeStruct(n ast.Node, path string, v reflect.Value) {
	fields := fieldsOf(v.Type())
	if isScalar(n) {
		if i := slices.IndexFunc(fields, func(f field) bool { return f.short }); i >= 0 {
			d.decode(n, path, v.Field(fields[i].index))
			return
		}
	}
	if !isMapping(n) {
		d.add(place(n), path, "want a mapping with the keys %s; found %s", strings.Join(names(fields), ", "), describe(n))
		return
	}
	given := map[string]bool{}
	for _, pair := range pairs(n) {
		key, ok := keyOf(pair)
		if !ok || given[key] {
			continue // index has reported it
		}
		given[key] = true
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == key })
		if i < 0 {
			d.add(place(pair), Key(path, key), "unknown key %q%s known keys: %s",
				key, cmp.Or(DidYouMean(key, names(fields)), ";"), strings.Join(names(fields), ", "))
			continue
		}
		d.decode(pair.Value, Key(path, key), v.Field(fields[i].index))
	}
	for _, f := range fields {
		if f.required && !given[f.name] {
			d.add(d.doc.at[path], path, "missing key %q", f.name)
		}
	}
}

func (d *decoder) decodeSlice(n ast.Node, path string, v reflect.Value) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		remedy := ""
		if isScalar(n) {
			remedy = "; put it in brackets"
		}
		d.add(place(n), path, "want a list; found %s%s", describe(n), remedy)
		return
	}
	out := reflect.MakeSlice(v.Type(), len(list.Values), len(list.Values))
	for i, item := range list.Values {
		d.decode(item, Item(path, i), out.Index(i))
	}
	v.Set(out)
}

func (d *decoder) decodeMap(n ast.Node, path string, v reflect.Value) {
	if !isMapping(n) {
		d.add(place(n), path, "want a mapping; found %s", describe(n))
		return
	}
	out := reflect.MakeMap(v.Type())
	for _, pair := range pairs(n) {
		key, ok := keyOf(pair)
		k := reflect.ValueOf(key).Convert(v.Type().Key())
		if !ok || out.MapIndex(k).IsValid() {
			continue // index has reported it
		}
		item := reflect.New(v.Type().Elem()).Elem()
		d.decode(pair.Value, Key(path, key), item)
		out.SetMapIndex(k, item)
	}
	v.Set(out)
}

func (d *decoder) decodeScalar(n ast.Node, path string, v reflect.Value) {
	want := wanted(v.Type())
	text, ok := d.scalar(n, path, want)
	if !ok {
		return
	}
	mismatch := func() { d.add(place(n), path, "want %s; found %s", want, describe(n)) }
	switch {
	case v.Type() == reflect.TypeFor[time.Duration]():
		x, err := time.ParseDuration(text)
		if err != nil {
			mismatch()
			return
		}
		v.SetInt(int64(x))
	case v.Kind() == reflect.String:
		if !isText(n) {
			d.add(place(n), path, "want %s; found %s; put it in quotes to make it text", want, describe(n))
			return
		}
		v.SetString(text)
	case v.Kind() == reflect.Bool:
		if isText(n) || text != "true" && text != "false" {
			mismatch()
			return
		}
		v.SetBool(text == "true")
	case v.CanInt():
		x, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil || isQuoted(n) {
			mismatch()
			return
		}
		v.SetInt(x)
	case v.CanUint():
		x, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil || isQuoted(n) {
			mismatch()
			return
		}
		v.SetUint(x)
	case v.CanFloat():
		x, err := strconv.ParseFloat(text, v.Type().Bits())
		if err != nil || isQuoted(n) || strings.Trim(text, "+-.0123456789eE") != "" {
			mismatch()
			return
		}
		v.SetFloat(x)
	}
}

// scalar returns a scalar's text.
func (d *decoder) scalar(n ast.Node, path, want string) (string, bool) {
	if !isScalar(n) {
		d.add(place(n), path, "want %s; found %s", want, describe(n))
		return "", false
	}
	return textOf(n), true
}

// wanted says in words what a scalar type takes.
func wanted(t reflect.Type) string {
	switch k := t.Kind(); {
	case t == reflect.TypeFor[time.Duration]():
		return "a duration such as 500ms, 10s or 1m30s"
	case k == reflect.Bool:
		return "true or false"
	case k == reflect.String:
		return "text"
	case k == reflect.Float32 || k == reflect.Float64:
		return "a number"
	case k >= reflect.Uint && k <= reflect.Uint64:
		if t.Bits() < 64 {
			return fmt.Sprintf("a whole number from 0 to %d", uint64(1)<<t.Bits()-1)
		}
		return "a whole number, not negative"
	}
	return "a whole number"
}

// field is a struct field that a key sets.
type field struct {
	name            string
	index           int
	required, short bool
}

func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			continue
		}
		opts := strings.Split(options, ",")
		out = append(out, field{name, i, slices.Contains(opts, "required"), slices.Contains(opts, "short")})
	}
	return out
}

func names(fields []field) []string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = f.name
	}
	return out
}

// targetOf checks that a document can be decoded into what into points at.
func targetOf(into any) (reflect.Value, error) {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return reflect.Value{}, fmt.Errorf("yamlfile: decode into %T: want a pointer", into)
	}
	return v.Elem(), checkType(v.Type().Elem(), map[reflect.Type]bool{})
}

var errUnsupported = errors.New("yamlfile: type can't be decoded")

func checkType(t reflect.Type, seen map[reflect.Type]bool) error {
	if seen[t] || reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return nil
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return checkType(t.Elem(), seen)
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			return fmt.Errorf("%w: %v", errUnsupported, t)
		}
		return checkType(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			tag := f.Tag.Get("yaml")
			if tag == "-" || !f.IsExported() && tag == "" {
				continue
			}
			if name, _, _ := strings.Cut(tag, ","); name == "" || !f.IsExported() {
				return fmt.Errorf("%w: %v: field %s: want an exported field with a yaml tag", errUnsupported, t, f.Name)
			}
			if err := checkType(f.Type, seen); err != nil {
				return err
			}
		}
		return nil
	case reflect.String, reflect.Bool, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return nil
	}
	return fmt.Errorf("%w: %v", errUnsupported, t)
}
