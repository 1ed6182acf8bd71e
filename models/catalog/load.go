package catalog

import (
	"cmp"
	"io/fs"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/tiering"
)

const (
	apiVersion = "weft/v1"
	kind       = "Catalogue"

	defaultConfidence = 0.25
	defaultNMS        = 0.45

	minResolution = 32
	maxResolution = 8192

	maxRate = 1000
)

// document is a catalogue file. Its comments are in builtin.yaml.
type document struct {
	APIVersion string              `yaml:"apiVersion,required"`
	Kind       string              `yaml:"kind,required"`
	ClassLists map[string][]string `yaml:"classLists,omitempty"`
	Models     []modelEntry        `yaml:"models,required"`
}

type modelEntry struct {
	Name        string      `yaml:"name,required"`
	Family      string      `yaml:"family,omitempty"`
	Format      Format      `yaml:"format,required"`
	Files       []fileEntry `yaml:"files,omitempty"`
	Resolutions []int       `yaml:"resolutions,required"`
	Fit         tiering.Fit `yaml:"fit,required"`
	Classes     string      `yaml:"classes,required"`
	Channels    *Channels   `yaml:"channels,omitempty"`
	DivideBy    *float64    `yaml:"divideBy,omitempty"`
	Confidence  *float64    `yaml:"confidence,omitempty"`
	NMS         *float64    `yaml:"nms,omitempty"`
	Accuracy    []figure    `yaml:"accuracy,omitempty"`
	Rates       []rate      `yaml:"rates,omitempty"`
	Licence     string      `yaml:"licence,omitempty"`
	Source      string      `yaml:"source,omitempty"`
	Description string      `yaml:"description,omitempty"`
}

type fileEntry struct {
	Role   Role     `yaml:"role,required"`
	Name   string   `yaml:"name,required"`
	Size   int64    `yaml:"size,omitempty"`
	SHA256 string   `yaml:"sha256,omitempty"`
	URLs   []string `yaml:"urls,omitempty"`
}

// figure is an [Accuracy].
type figure struct {
	Metric     string  `yaml:"metric,required"`
	Value      float64 `yaml:"value,required"`
	Resolution int     `yaml:"resolution,omitempty"`
	Dataset    string  `yaml:"dataset,required"`
	Source     string  `yaml:"source,required"`
}

// rate is a [Rate].
type rate struct {
	FPS     float64 `yaml:"fps,required"`
	Kept    float64 `yaml:"kept,required"`
	Dataset string  `yaml:"dataset,required"`
	Source  string  `yaml:"source,required"`
}

// Load reads a user's catalogue, which may name the built-in class lists. The
// error is yamlfile.Problems for mistakes in the file.
func Load(file string, data []byte) (*Catalog, error) {
	return load(file, data, Builtin().classes)
}

func load(file string, data []byte, classes map[string][]string) (*Catalog, error) {
	var in document
	doc, err := yamlfile.Decode(file, data, &in)
	if err != nil {
		return nil, err
	}
	l := loader{Document: doc, classes: maps.Clone(classes), models: map[string]*Model{}}
	l.header(in)
	l.classLists(in.ClassLists)
	for i, e := range in.Models {
		l.model(yamlfile.Item("models", i), e)
	}
	if err := l.problems.Err(); err != nil {
		return nil, err
	}
	return &Catalog{l.models, l.classes}, nil
}

// loader checks a catalogue and collects what is wrong with it.
type loader struct {
	*yamlfile.Document
	classes  map[string][]string
	models   map[string]*Model
	problems yamlfile.Problems
}

func (l *loader) add(field, format string, args ...any) {
	l.problems = append(l.problems, l.Problem(field, format, args...))
}

func (l *loader) header(in document) {
	if in.APIVersion != apiVersion {
		l.add("apiVersion", "unknown version %q; use %q", in.APIVersion, apiVersion)
	}
	if in.Kind != kind {
		l.add("kind", "unknown kind %q; use %q", in.Kind, kind)
	}
}

func (l *loader) classLists(lists map[string][]string) {
	if l.classes == nil {
		l.classes = map[string][]string{}
	}
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		field := yamlfile.Key("classLists", name)
		list := lists[name]
		if len(list) == 0 {
			l.add(field, "no classes; list at least one")
		}
		if have, ok := l.classes[name]; ok && !slices.Equal(have, list) {
			l.add(field, "the built-in catalogue has another class list %q; give yours another name", name)
		}
		seen := map[string]bool{}
		for i, class := range list {
			switch at := yamlfile.Item(field, i); {
			case strings.TrimSpace(class) == "":
				l.add(at, "empty class name")
			case seen[class]:
				l.add(at, "class %q is listed twice", class)
			}
			seen[class] = true
		}
		l.classes[name] = list
	}
}

var modelName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)

func (l *loader) model(field string, e modelEntry) {
	key := func(name string) string { return yamlfile.Key(field, name) }
	if !modelName.MatchString(e.Name) {
		l.add(key("name"), "%q is no model name; use lower-case letters, digits, dashes and dots, at most 63", e.Name)
	} else if _, ok := l.models[e.Name]; ok {
		l.add(key("name"), "model %q is described twice", e.Name)
	}
	if e.Fit != tiering.Stretch && e.Fit != tiering.Letterbox {
		l.add(key("fit"), "unknown fit %q; use stretch or letterbox", e.Fit)
	}
	classes, ok := l.classes[e.Classes]
	if !ok {
		lists := slices.Sorted(maps.Keys(l.classes))
		l.add(key("classes"), "unknown class list %q%s known lists: %s",
			e.Classes, cmp.Or(yamlfile.DidYouMean(e.Classes, lists), ";"), strings.Join(lists, ", "))
	}
	m := &Model{
		Name: e.Name, Family: e.Family, Format: e.Format, Fit: e.Fit,
		Resolutions: l.resolutions(key("resolutions"), e),
		Files:       l.files(field, e),
		Classes:     classes,
		Input:       l.input(field, e),
		Accuracy:    l.accuracy(key("accuracy"), e),
		Rates:       l.rates(key("rates"), e),
		Confidence:  l.fraction(key("confidence"), e.Confidence, defaultConfidence),
		NMS:         l.fraction(key("nms"), e.NMS, defaultNMS),
		Licence:     e.Licence, Source: e.Source, Description: e.Description,
	}
	if m.Family == "" {
		m.Family = m.Name
	}
	l.models[m.Name] = m
}

func (l *loader) resolutions(field string, e modelEntry) []int {
	if len(e.Resolutions) == 0 {
		l.add(field, "no resolutions; list at least one")
	}
	for i, r := range e.Resolutions {
		at := yamlfile.Item(field, i)
		switch {
		case r < minResolution || r > maxResolution:
			l.add(at, "resolution %d is out of range; use %d to %d pixels", r, minResolution, maxResolution)
		case e.Format == Darknet && r%32 != 0:
			l.add(at, "resolution %d is no multiple of 32, which darknet models need", r)
		case slices.Contains(e.Resolutions[:i], r):
			l.add(at, "resolution %d is listed twice", r)
		}
	}
	return slices.Sorted(slices.Values(e.Resolutions))
}

// input returns how the values of a picture are wanted.
func (l *loader) input(field string, e modelEntry) Input {
	in := inputs[e.Format]
	if c := e.Channels; c != nil {
		if in.Channels = *c; *c != RGB && *c != BGR {
			l.add(yamlfile.Key(field, "channels"), "unknown order %q; use rgb or bgr", *c)
		}
	}
	if d := e.DivideBy; d != nil {
		if in.DivideBy = *d; !(*d > 0 && *d <= 1<<16) {
			l.add(yamlfile.Key(field, "divideBy"), "%g is out of range; values are 0 to 255: use 255 for a network that wants 0 to 1, and 1 for one that wants them as they are", *d)
		}
	}
	if e.Format == HOG && in != (Input{}) {
		l.add(yamlfile.Key(field, "format"), "a hog model takes pictures as they are: leave out channels and divideBy")
	}
	return in
}

func (l *loader) accuracy(field string, e modelEntry) []Accuracy {
	var out []Accuracy
	for i, f := range e.Accuracy {
		at := yamlfile.Item(field, i)
		if f.Metric != "AP50" && f.Metric != "AP" && f.Metric != F1 {
			l.add(yamlfile.Key(at, "metric"), "unknown metric %q; use AP50, AP or F1", f.Metric)
		}
		if f.Value < 0 || f.Value > 1 {
			l.add(yamlfile.Key(at, "value"), "%g is out of range; use 0 to 1", f.Value)
		}
		if f.Resolution != 0 && !slices.Contains(e.Resolutions, f.Resolution) {
			l.add(yamlfile.Key(at, "resolution"), "the model does not offer %d", f.Resolution)
		}
		out = append(out, Accuracy(f))
	}
	return out
}

func (l *loader) rates(field string, e modelEntry) []Rate {
	var out []Rate
	for i, r := range e.Rates {
		at := yamlfile.Item(field, i)
		if !(r.FPS > 0 && r.FPS <= maxRate) {
			l.add(yamlfile.Key(at, "fps"), "%g is out of range; use frames analysed a second, above 0 and at most %d", r.FPS, maxRate)
		}
		if !(r.Kept >= 0 && r.Kept <= 1) {
			l.add(yamlfile.Key(at, "kept"), "%g is out of range; use 0 to 1, the share of F1 that is left", r.Kept)
		}
		if slices.ContainsFunc(out, func(o Rate) bool { return o.FPS == r.FPS }) {
			l.add(yamlfile.Key(at, "fps"), "%g is there twice; remove one", r.FPS)
		}
		out = append(out, Rate(r))
	}
	slices.SortFunc(out, func(a, b Rate) int { return cmp.Compare(a.FPS, b.FPS) })
	return out
}

// fraction returns the value given, or the default; a problem outside 0–1.
func (l *loader) fraction(field string, given *float64, otherwise float64) float64 {
	if given == nil {
		return otherwise
	}
	if *given < 0 || *given > 1 {
		l.add(field, "%g is out of range; use 0 to 1", *given)
	}
	return *given
}

func (l *loader) files(field string, e modelEntry) []File {
	want, ok := map[Format][]Role{HOG: {}, Darknet: {RoleConfig, RoleWeights}, ONNX: {RoleModel}}[e.Format]
	if !ok {
		l.add(yamlfile.Key(field, "format"), "unknown format %q; use hog, darknet or onnx", e.Format)
		return nil
	}
	field = yamlfile.Key(field, "files")
	var out []File
	have := map[Role]bool{}
	for i, f := range e.Files {
		at := yamlfile.Item(field, i)
		switch {
		case !slices.Contains(want, f.Role):
			l.add(yamlfile.Key(at, "role"), "a %s model has no file with the role %q; it has %s", e.Format, f.Role, list(want))
		case have[f.Role]:
			l.add(yamlfile.Key(at, "role"), "a second file with the role %q; keep one", f.Role)
		}
		have[f.Role] = true
		if !fs.ValidPath(f.Name) || f.Name == "." {
			l.add(yamlfile.Key(at, "name"), "%q is no path below the model directory; use names like yolo/model.onnx", f.Name)
		}
		if f.Size < 0 {
			l.add(yamlfile.Key(at, "size"), "a size can't be negative")
		}
		if f.SHA256 != "" && !isDigest(f.SHA256) {
			l.add(yamlfile.Key(at, "sha256"), "%q is no SHA-256 digest; it has 64 hexadecimal digits", f.SHA256)
		}
		for k, u := range f.URLs {
			if p, err := url.Parse(u); err != nil || p.Host == "" || p.Scheme != "https" && p.Scheme != "http" {
				l.add(yamlfile.Item(yamlfile.Key(at, "urls"), k), "%q is no URL that starts with https:// or http://", u)
			}
		}
		out = append(out, File{f.Role, f.Name, f.Size, strings.ToLower(f.SHA256), f.URLs})
	}
	for _, role := range want {
		if !have[role] {
			l.add(field, "a %s model needs a file with the role %q", e.Format, role)
		}
	}
	return out
}

func list(roles []Role) string {
	if len(roles) == 0 {
		return "no files"
	}
	words := make([]string, len(roles))
	for i, r := range roles {
		words[i] = string(r)
	}
	return strings.Join(words, " and ")
}
