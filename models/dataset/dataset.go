package dataset

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/pipeline"
)

// The conditions that Open and For report.
var (
	// ErrDataset: there is no such data set, or it lacks a part.
	ErrDataset = errors.New("data set can't be used")
	// ErrClasses: a detector and a data set have no class in common.
	ErrClasses = errors.New("no class in common")
)

// Sample is a picture and what is in it.
type Sample struct {
	Name    string
	Picture pipeline.Image
	Truth   []pipeline.Truth
}

// Set is a data set. It is immutable, and safe for concurrent use.
type Set struct {
	classes []string
	length  int
	load    func(i int) (Sample, error)
}

// Classes are the names of what the set tells apart.
func (s *Set) Classes() []string { return s.classes }

// Len is how many pictures there are.
func (s *Set) Len() int { return s.length }

// Load returns the i-th picture.
func (s *Set) Load(i int) (Sample, error) { return s.load(i) }

// Words are names for a set that has only numbers of classes.
type Words struct {
	Names   []string // these, whatever the set has; nil: its own
	Default []string // these, if it has none
}

// kinds are the data sets that there are.
var kinds = []struct {
	scheme, form string
	named        bool // its own labels are names
	open         func(rest string, w Words) (*Set, error)
}{
	{"coco", "coco:DIR", true, func(dir string, _ Words) (*Set, error) { return openCOCO(dir) }},
	{"yolo", "yolo:DIR", false, openYOLO},
	{"street", "street:seeds=A-B", true, func(rest string, _ Words) (*Set, error) { return openStreet(rest) }},
}

// Open opens the data set of a name such as "coco:DIR".
func Open(name string, w Words) (*Set, error) {
	scheme, rest, ok := strings.Cut(name, ":")
	var forms, schemes []string
	for _, k := range kinds {
		if ok && k.scheme == scheme {
			if rest == "" {
				return nil, fmt.Errorf("%w: %q names nothing after the colon: use %s", ErrDataset, name, k.form)
			}
			if k.named && w.Names != nil {
				return nil, fmt.Errorf("%w: a %s: set names its classes itself: leave out the names", ErrDataset, k.scheme)
			}
			return k.open(rest, w)
		}
		forms, schemes = append(forms, k.form), append(schemes, k.scheme)
	}
	if !ok {
		return nil, fmt.Errorf("%w: %q does not say of what kind it is: use %s", ErrDataset, name, strings.Join(forms, " or "))
	}
	return nil, fmt.Errorf("%w: unknown kind %q%s use %s", ErrDataset, scheme,
		cmp.Or(yamlfile.DidYouMean(scheme, schemes), ";"), strings.Join(forms, " or "))
}

// synonyms are COCO's names of what darknet's list calls otherwise.
var synonyms = [][2]string{
	{"motorcycle", "motorbike"}, {"airplane", "aeroplane"}, {"couch", "sofa"},
	{"potted plant", "pottedplant"}, {"dining table", "diningtable"}, {"tv", "tvmonitor"},
}

// For returns the set as a detector of the classes can know it: objects of
// other classes left out, the others called as the detector calls them.
// Without any it is ErrClasses.
func (s *Set) For(classes []string) (*Set, error) {
	words := s.words(classes)
	if len(words) == 0 {
		return nil, fmt.Errorf("%w: the data set has %s, the detector %s", ErrClasses, some(s.classes), some(classes))
	}
	out := &Set{length: s.length}
	for _, c := range s.classes {
		if word, ok := words[c]; ok {
			out.classes = append(out.classes, word)
		}
	}
	out.load = func(i int) (Sample, error) {
		x, err := s.load(i)
		if err != nil {
			return Sample{}, err
		}
		var truth []pipeline.Truth
		for _, t := range x.Truth {
			if word, ok := words[t.Label]; ok {
				t.Label = word
				truth = append(truth, t)
			}
		}
		x.Truth = truth
		return x, nil
	}
	return out, nil
}

// Unknown are the set's classes that a detector of the classes cannot know.
func (s *Set) Unknown(classes []string) []string {
	words := s.words(classes)
	return slices.DeleteFunc(slices.Clone(s.classes), func(c string) bool { return words[c] != "" })
}

// words are what a detector calls those of the set's classes that it knows.
func (s *Set) words(classes []string) map[string]string {
	out := map[string]string{}
	for _, c := range s.classes {
		for _, word := range otherWords(c) {
			if slices.Contains(classes, word) {
				out[c] = word
				break
			}
		}
	}
	return out
}

// otherWords are the names of a class, its own first.
func otherWords(class string) []string {
	for _, s := range synonyms {
		switch class {
		case s[0]:
			return s[:]
		case s[1]:
			return []string{s[1], s[0]}
		}
	}
	return []string{class}
}

// some lists the first few names.
func some(names []string) string {
	const few = 5
	if more := len(names) - few; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), more)
	}
	return strings.Join(names, ", ")
}

// maxPicture bounds the file of one picture.
const maxPicture = 256 << 20

// format is what a picture's name says that it is; empty if it is none.
func format(name string) pipeline.Format {
	switch strings.ToLower(path.Ext(name)) {
	case ".jpg", ".jpeg":
		return pipeline.JPEG
	case ".png":
		return pipeline.PNG
	}
	return ""
}

// readPicture reads a picture of the directory; name is slash-separated.
func readPicture(dir, name string) (pipeline.Image, error) {
	f, err := os.OpenInRoot(dir, filepath.FromSlash(name))
	if err != nil {
		return pipeline.Image{}, fmt.Errorf("open a picture of %s: %w", dir, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPicture+1))
	if err == nil && len(data) > maxPicture {
		err = fmt.Errorf("more than %d MiB", maxPicture>>20)
	}
	if err != nil {
		return pipeline.Image{}, fmt.Errorf("read %s: %w", filepath.Join(dir, name), err)
	}
	return pipeline.Image{Format: format(name), Data: data}, nil
}

// directory says what is wrong if dir is none.
func directory(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s does not exist", ErrDataset, dir)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrDataset, err)
	case !info.IsDir():
		return fmt.Errorf("%w: %s is no directory", ErrDataset, dir)
	}
	return nil
}
