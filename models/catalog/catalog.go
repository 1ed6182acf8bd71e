package catalog

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/weft-mesh/weft/tiering"
)

// Format is how a detector is stored, and so what loads it.
type Format string

// The formats.
const (
	HOG     Format = "hog"     // OpenCV's people detector, no files
	Darknet Format = "darknet" // config and weights
	ONNX    Format = "onnx"    // one model file, YOLOX-style output
)

// Role is what a file is to its detector.
type Role string

// The roles.
const (
	RoleConfig  Role = "config"  // darknet .cfg
	RoleWeights Role = "weights" // darknet .weights
	RoleModel   Role = "model"   // .onnx
)

// File is one of a model's files.
type File struct {
	Role   Role   `json:"role"`
	Name   string `json:"name"`             // slash-separated, below the model directory
	Size   int64  `json:"size,omitempty"`   // bytes; 0: unknown
	SHA256 string `json:"sha256,omitempty"` // hexadecimal; empty: unknown
}

// Model is a detector.
type Model struct {
	Name        string      `json:"name"`
	Family      string      `json:"family"`
	Format      Format      `json:"format"`
	Files       []File      `json:"files,omitempty"`
	Resolutions []int       `json:"resolutions"` // pixels, ascending
	Classes     []string    `json:"classes"`     // in the order of the output
	Fit         tiering.Fit `json:"fit"`
	Confidence  float64     `json:"confidence"` // least score that counts, 0–1
	NMS         float64     `json:"nms"`        // IoU above which the weaker box goes, 0–1
	Licence     string      `json:"licence,omitempty"`
	Source      string      `json:"source,omitempty"` // where it comes from
	Description string      `json:"description,omitempty"`
}

// Offers reports whether the model takes the input resolution.
func (m *Model) Offers(resolution int) bool { return slices.Contains(m.Resolutions, resolution) }

// File returns the model's file of the role.
func (m *Model) File(role Role) (File, bool) {
	i := slices.IndexFunc(m.Files, func(f File) bool { return f.Role == role })
	if i < 0 {
		return File{}, false
	}
	return m.Files[i], true
}

// ErrDuplicate reports a model that two catalogues describe.
var ErrDuplicate = errors.New("model is in both catalogues")

// Catalog is a set of models. It is immutable; so are its models.
type Catalog struct {
	models  map[string]*Model
	classes map[string][]string
}

//go:embed builtin.yaml
var builtin []byte

// Builtin returns the catalogue of the detectors that Weft knows by itself.
func Builtin() *Catalog {
	c, err := load("builtin.yaml", builtin, nil)
	if err != nil {
		panic(fmt.Sprintf("the built-in catalogue: %v", err)) // a test loads it
	}
	return c
}

// Merge returns the models of both catalogues; ErrDuplicate if one is in both.
func (c *Catalog) Merge(o *Catalog) (*Catalog, error) {
	out := &Catalog{maps.Clone(c.models), maps.Clone(c.classes)}
	for _, m := range o.Models() {
		if _, ok := out.models[m.Name]; ok {
			return nil, fmt.Errorf("%w: %q; give yours another name", ErrDuplicate, m.Name)
		}
		out.models[m.Name] = &m
	}
	maps.Copy(out.classes, o.classes)
	return out, nil
}

// Lookup returns the model of that name.
func (c *Catalog) Lookup(name string) (*Model, bool) {
	m, ok := c.models[name]
	return m, ok
}

// Names returns the names of all models, sorted.
func (c *Catalog) Names() []string { return slices.Sorted(maps.Keys(c.models)) }

// Models returns all models, sorted by name.
func (c *Catalog) Models() []Model {
	out := make([]Model, 0, len(c.models))
	for _, m := range c.models {
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b Model) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Available returns the names of the models that can be loaded from the model
// directory, sorted: all their files are there, with the right size where the
// catalogue knows it. Digests are not computed. A nil directory has no files.
func (c *Catalog) Available(dir fs.FS) []string {
	names, _ := c.survey(dir)
	return names
}

// Damaged says what keeps models from being available although files of
// theirs are in the model directory: one is missing, or has the wrong size.
func (c *Catalog) Damaged(dir fs.FS) []error {
	_, damaged := c.survey(dir)
	return damaged
}

// ErrFile reports a model's file that is not as the catalogue has it.
var ErrFile = errors.New("model file is not as the catalogue says")

func (c *Catalog) survey(dir fs.FS) (available []string, damaged []error) {
	for _, m := range c.Models() {
		var errs []error
		absent := 0
		for _, f := range m.Files {
			err := check(dir, f)
			if errors.Is(err, fs.ErrNotExist) {
				absent++
			}
			errs = append(errs, err)
		}
		switch err := errors.Join(errs...); {
		case err == nil:
			available = append(available, m.Name)
		case absent < len(m.Files):
			damaged = append(damaged, fmt.Errorf("model %s: %w", m.Name, err))
		}
	}
	return available, damaged
}

// check says what is wrong with a model's file.
func check(dir fs.FS, f File) error {
	if dir == nil {
		return fs.ErrNotExist
	}
	info, err := fs.Stat(dir, f.Name)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrFile, err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: %s is no regular file", ErrFile, f.Name)
	case f.Size != 0 && info.Size() != f.Size:
		return fmt.Errorf("%w: %s has %d bytes, not %d: fetch it again", ErrFile, f.Name, info.Size(), f.Size)
	}
	return nil
}
