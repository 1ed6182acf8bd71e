package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/pipeline"
)

// DecodeYOLO reads a label file. The error is yamlfile.Problems.
func DecodeYOLO(file string, data []byte, classes []string) ([]pipeline.Truth, error) {
	var (
		out      []pipeline.Truth
		problems yamlfile.Problems
		n        int
		unknown  bool
	)
	for line := range bytes.Lines(data) {
		n++
		fields := strings.Fields(string(line))
		if len(fields) == 0 {
			continue
		}
		t, field, err := label(fields, classes)
		if errors.Is(err, errUnknown) {
			if unknown {
				continue // once says it
			}
			unknown = true
		}
		if err != nil {
			problems = append(problems, yamlfile.Problem{File: file, Line: n, Column: column(string(line), field), Message: err.Error()})
			continue
		}
		out = append(out, t)
	}
	return out, problems.Err()
}

// column is where the i-th field of a line begins.
func column(line string, i int) int {
	at, rest := 0, line
	for ; ; i-- {
		trimmed := strings.TrimLeft(rest, " \t\r\n\v\f")
		at += len(rest) - len(trimmed)
		if i == 0 {
			return utf8.RuneCountInString(line[:at]) + 1
		}
		next := strings.IndexAny(trimmed, " \t\r\n\v\f")
		if next < 0 {
			return utf8.RuneCountInString(line[:at]) + 1
		}
		at, rest = at+next, trimmed[next:]
	}
}

// errUnknown reports a class that has no name.
var errUnknown = errors.New("is beyond the names of classes")

// label is the object of a line; field is where it is wrong.
func label(fields []string, classes []string) (t pipeline.Truth, field int, err error) {
	const want = "want `class cx cy w h`, the last four in fractions of the picture (0–1)"
	switch {
	case len(fields) > 5 && len(fields)%2 == 1:
		return t, 5, fmt.Errorf("%d numbers are an outline, not a box: %s", len(fields), want)
	case len(fields) != 5:
		return t, min(len(fields)-1, 5), fmt.Errorf("%d numbers: %s", len(fields), want)
	}
	class, err := strconv.Atoi(fields[0])
	if err != nil || class < 0 {
		return t, 0, fmt.Errorf("%.20q is no class number: %s", fields[0], want)
	}
	if class >= len(classes) {
		return t, 0, fmt.Errorf("class %d %w, of which there are %d: put those of the data set, one a line, into classes.txt beside images/, or name such a file",
			class, errUnknown, len(classes))
	}
	var v [4]float64
	for i, s := range fields[1:] {
		v[i], err = strconv.ParseFloat(s, 64)
		if err != nil || !(v[i] >= 0 && v[i] <= 1) {
			return t, i + 1, fmt.Errorf("%.20q is no fraction: %s", s, want)
		}
	}
	if v[2] == 0 || v[3] == 0 {
		return t, 3, errors.New("a box without width or height: remove the line")
	}
	return pipeline.Truth{Label: classes[class], Box: pipeline.Box{X: v[0] - v[2]/2, Y: v[1] - v[3]/2, W: v[2], H: v[3]}}, 0, nil
}

// DecodeNames reads names of classes, one a line. The error is
// yamlfile.Problems.
func DecodeNames(file string, data []byte) ([]string, error) {
	var (
		out      []string
		problems yamlfile.Problems
		n        int
	)
	bad := func(layout string, args ...any) {
		problems = append(problems, yamlfile.Problem{File: file, Line: n, Column: 1, Message: fmt.Sprintf(layout, args...)})
	}
	data = bytes.TrimRight(data, " \t\r\n")
	for line := range bytes.Lines(data) {
		n++
		switch name := strings.TrimSpace(string(line)); {
		case name == "":
			bad("an empty line: the number of a class is that of its line")
		case !utf8.ValidString(name) || len(name) > 200:
			bad("no name of a class")
		case slices.Contains(out, name):
			bad("%q is there twice: give each class its own name", name)
		default:
			out = append(out, name)
		}
	}
	if n == 0 {
		n = 1
		bad("no names: want one a line")
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return out, nil
}

// ReadNames reads a file of class names.
func ReadNames(file string) ([]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDataset, err)
	}
	return DecodeNames(file, data)
}

// openYOLO opens a directory with the folders images and labels.
func openYOLO(dir string, w Words) (*Set, error) {
	for _, d := range []string{dir, filepath.Join(dir, "images"), filepath.Join(dir, "labels")} {
		if err := directory(d); err != nil {
			return nil, fmt.Errorf("%w: want a directory with the folders images and labels", err)
		}
	}
	classes := w.Names
	if classes == nil {
		own, err := namesIn(dir)
		if err != nil {
			return nil, err
		}
		if classes = own; classes == nil {
			classes = w.Default
		}
	}
	pictures, texts, err := listYOLO(dir)
	if err != nil {
		return nil, err
	}
	truth := make([][]pipeline.Truth, len(pictures))
	var errs []error
	for i, p := range pictures {
		name := stem(p)
		if !texts[name] {
			continue // nothing in the picture
		}
		delete(texts, name)
		file := filepath.Join(dir, "labels", filepath.FromSlash(name)+".txt")
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDataset, err)
		}
		if truth[i], err = DecodeYOLO(file, data, classes); err != nil {
			errs = append(errs, err)
		}
		if len(errs) == 5 {
			break // nobody corrects more at once
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if len(texts) > 0 {
		name := slices.Sorted(maps.Keys(texts))[0]
		return nil, fmt.Errorf("%w: %s has no picture: put %s.jpg or .png into images/, or remove the labels (%d such files)",
			ErrDataset, filepath.Join(dir, "labels", filepath.FromSlash(name)+".txt"), name, len(texts))
	}
	return &Set{classes: classes, length: len(pictures), load: func(i int) (Sample, error) {
		img, err := readPicture(filepath.Join(dir, "images"), pictures[i])
		return Sample{Name: pictures[i], Picture: img, Truth: truth[i]}, err
	}}, nil
}

func stem(name string) string { return strings.TrimSuffix(name, path.Ext(name)) }

// listYOLO returns the pictures below images, sorted, and the names of the
// files below labels, without .txt.
func listYOLO(dir string) (pictures []string, labels map[string]bool, err error) {
	labels = map[string]bool{}
	root := os.DirFS(dir)
	err = fs.WalkDir(root, "images", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && format(name) != "" {
			pictures = append(pictures, strings.TrimPrefix(name, "images/"))
		}
		return err
	})
	if err == nil {
		err = fs.WalkDir(root, "labels", func(name string, d fs.DirEntry, err error) error {
			// Label tools leave the names of the classes here.
			if err == nil && !d.IsDir() && path.Ext(name) == ".txt" && path.Base(name) != "classes.txt" {
				labels[stem(strings.TrimPrefix(name, "labels/"))] = true
			}
			return err
		})
	}
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%w: %w", ErrDataset, err)
	case len(pictures) == 0:
		return nil, nil, fmt.Errorf("%w: %s has no pictures (.jpg or .png)", ErrDataset, filepath.Join(dir, "images"))
	}
	slices.Sort(pictures)
	for i, p := range pictures[1:] {
		if stem(p) == stem(pictures[i]) {
			return nil, nil, fmt.Errorf("%w: %s and %s share their labels: keep one of them", ErrDataset, pictures[i], p)
		}
	}
	return pictures, labels, nil
}

// namesIn are the class names that the directory has, nil if none.
func namesIn(dir string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(escape(dir), "*.names"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDataset, err)
	}
	for _, f := range []string{"classes.txt", filepath.Join("labels", "classes.txt")} {
		if f = filepath.Join(dir, f); exists(f) {
			found = append(found, f)
		}
	}
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
		return ReadNames(found[0])
	}
	return nil, fmt.Errorf("%w: %s has several lists of class names (%s): keep one", ErrDataset, dir, strings.Join(found, ", "))
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
