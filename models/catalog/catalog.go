package catalog

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
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
	Role Role   `json:"role"`
	Name string `json:"name"`           // slash-separated, below the model directory
	Size int64  `json:"size,omitempty"` // bytes; 0: unknown
	// SHA256 is its digest, in hexadecimal; empty: none is known from a reliable
	// source, and the file is pinned on first use (see [Lock]).
	SHA256 string   `json:"sha256,omitempty"`
	URLs   []string `json:"urls,omitempty"` // where to get it, the best first
}

// Channels is the order of a picture's colours.
type Channels string

// The orders.
const (
	RGB Channels = "rgb"
	BGR Channels = "bgr"
)

// Input is how a network wants the values of a picture: in which order, and
// divided by what. HOG has none of it.
type Input struct {
	Channels Channels `json:"channels,omitempty"`
	DivideBy float64  `json:"divide_by,omitempty"`
}

// inputs are how networks of a format usually want it.
var inputs = map[Format]Input{Darknet: {RGB, 255}, ONNX: {BGR, 1}}

// F1 is the metric of an Accuracy that adaptation goes by: IoU ≥ 0.5 and the
// right label, at the model's own confidence.
const F1 = "F1"

// Accuracy is a figure that somebody has published or measured.
type Accuracy struct {
	Metric     string  `json:"metric"` // AP50, AP (the mean over IoU 0.5 to 0.95, as COCO has it) or F1
	Value      float64 `json:"value"`  // 0–1
	Resolution int     `json:"resolution,omitempty"`
	Dataset    string  `json:"dataset"`
	Source     string  `json:"source"`
}

// Rate is what somebody has measured to be left of the accuracy at a frame
// rate, where the last detections are seen until the next ones.
type Rate struct {
	FPS     float64 `json:"fps"`  // frames analysed a second
	Kept    float64 `json:"kept"` // the share of F1 with every frame analysed, 0–1
	Dataset string  `json:"dataset"`
	Source  string  `json:"source"`
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
	Input       Input       `json:"input"`
	Confidence  float64     `json:"confidence"`         // least score that counts, 0–1
	NMS         float64     `json:"nms"`                // IoU above which the weaker box goes, 0–1
	Accuracy    []Accuracy  `json:"accuracy,omitempty"` // as published
	Rates       []Rate      `json:"rates,omitempty"`    // ascending
	Licence     string      `json:"licence,omitempty"`
	Source      string      `json:"source,omitempty"` // where it comes from
	Description string      `json:"description,omitempty"`
}

// Wants is how the model wants the values of a picture: what its entry says, or
// else what is usual of its format.
func (m *Model) Wants() Input {
	in := inputs[m.Format]
	return Input{cmp.Or(m.Input.Channels, in.Channels), cmp.Or(m.Input.DivideBy, in.DivideBy)}
}

// Size is how many bytes the model's files are, as far as they are known.
func (m *Model) Size() int64 {
	var n int64
	for _, f := range m.Files {
		n += f.Size
	}
	return n
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
