package dataset

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/pipeline"
)

// Annotations are what an annotation file of COCO says.
type Annotations struct {
	Classes  []string    // by their numbers
	Pictures []Annotated // by theirs
}

// Annotated is a picture of an annotation file.
type Annotated struct {
	ID    int64
	File  string // slash-separated
	Truth []pipeline.Truth
}

// The parts of an annotation file that are read. Pointers tell what is missing.
type (
	cocoImage struct {
		ID     *int64   `json:"id"`
		File   string   `json:"file_name"`
		Width  *float64 `json:"width"`
		Height *float64 `json:"height"`
	}
	cocoCategory struct {
		ID   *int64 `json:"id"`
		Name string `json:"name"`
	}
	cocoAnnotation struct {
		Image    *int64    `json:"image_id"`
		Category *int64    `json:"category_id"`
		Box      []float64 `json:"bbox"`
		Crowd    flag      `json:"iscrowd"`
	}
)

// flag is 0 or 1; some tools write false or true.
type flag bool

func (f *flag) UnmarshalJSON(b []byte) error {
	switch s := string(b); s {
	case "0", "false", "null":
		*f = false
	case "1", "true":
		*f = true
	default:
		return fmt.Errorf("iscrowd is %.20s: use 0 or 1", s)
	}
	return nil
}

// DecodeCOCO reads an annotation file. The error is yamlfile.Problems.
func DecodeCOCO(file string, data []byte) (*Annotations, error) {
	r := cocoReader{file: file, data: data, dec: json.NewDecoder(bytes.NewReader(data))}
	if !r.document() {
		return nil, r.problems.Err()
	}
	return r.assemble()
}

// at is an element of a list and where it begins.
type at[T any] struct {
	value  T
	offset int64
}

type cocoReader struct {
	file        string
	data        []byte
	dec         *json.Decoder
	images      []at[cocoImage]
	categories  []at[cocoCategory]
	annotations []at[cocoAnnotation]
	has         map[string]bool
	problems    yamlfile.Problems
}

// maxMistakes is after how many a file is given up.
const maxMistakes = 100

func (r *cocoReader) bad(offset int64, field, layout string, args ...any) {
	before := r.data[:min(max(offset, 0), int64(len(r.data)))]
	line := bytes.LastIndexByte(before, '\n') + 1
	r.problems = append(r.problems, yamlfile.Problem{
		File: r.file, Line: bytes.Count(before, []byte{'\n'}) + 1, Column: len([]rune(string(before[line:]))) + 1,
		Field: field, Message: fmt.Sprintf(layout, args...),
	})
}

// document reads the whole file and reports whether it could.
func (r *cocoReader) document() bool {
	r.has = map[string]bool{}
	start := r.next()
	if t, err := r.dec.Token(); err != nil || t != json.Delim('{') {
		r.bad(start, "", "no JSON object: want COCO's annotations, {\"images\": […], \"annotations\": […], \"categories\": […]}")
		return false
	}
	for r.dec.More() {
		start := r.next()
		t, err := r.dec.Token()
		if err != nil {
			return r.syntax("", start, err)
		}
		key, _ := t.(string)
		if r.has[key] {
			r.bad(start, key, "is there twice: keep one")
			return false
		}
		r.has[key] = true
		ok := true
		switch key {
		case "images":
			ok = list(r, key, &r.images)
		case "categories":
			ok = list(r, key, &r.categories)
		case "annotations":
			ok = list(r, key, &r.annotations)
		default:
			var skip json.RawMessage
			if err := r.dec.Decode(&skip); err != nil {
				ok = r.syntax(key, start, err)
			}
		}
		if !ok {
			return false
		}
	}
	start = r.next()
	if _, err := r.dec.Token(); err != nil {
		return r.syntax("", start, err)
	}
	start = r.next()
	if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
		r.bad(start, "", "something follows the annotations: keep one JSON object")
		return false
	}
	return true
}

// next is where the next value begins.
func (r *cocoReader) next() int64 {
	n := r.dec.InputOffset()
	for n < int64(len(r.data)) && strings.IndexByte(" \t\r\n,:", r.data[n]) >= 0 {
		n++
	}
	return n
}

// syntax reports an error of the decoder and returns false.
func (r *cocoReader) syntax(field string, start int64, err error) bool {
	var (
		bad   *json.SyntaxError
		wrong *json.UnmarshalTypeError
	)
	switch {
	case errors.As(err, &wrong):
		if wrong.Field != "" {
			field += "." + wrong.Field
		}
		r.bad(start, field, "is a %s: want a %s", wrong.Value, kindOf(wrong))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		r.bad(int64(len(r.data)), field, "the file ends too early: get it again")
	case errors.As(err, &bad):
		// The decoder's offset leaves out what stands between values.
		var skip json.RawMessage
		if errors.As(json.NewDecoder(bytes.NewReader(r.data[start:])).Decode(&skip), &bad) {
			start += bad.Offset - 1
		}
		r.bad(start, field, "no JSON: %v", err)
	default:
		r.bad(start, field, "%v", err)
	}
	return false
}

func kindOf(e *json.UnmarshalTypeError) string {
	switch k := e.Type.Kind().String(); k {
	case "int64":
		return "whole number"
	case "float64":
		return "number"
	case "slice":
		return "list"
	case "struct":
		return "JSON object"
	default:
		return k
	}
}

// list reads a list of objects and reports whether it could.
func list[T any](r *cocoReader, key string, into *[]at[T]) bool {
	start := r.next()
	t, err := r.dec.Token()
	if err != nil {
		return r.syntax(key, start, err)
	}
	if t != json.Delim('[') {
		r.bad(start, key, "is no list")
		return false
	}
	for r.dec.More() {
		x := at[T]{offset: r.next()}
		if err := r.dec.Decode(&x.value); err != nil {
			return r.syntax(yamlfile.Item(key, len(*into)), x.offset, err)
		}
		*into = append(*into, x)
	}
	start = r.next()
	if _, err = r.dec.Token(); err != nil {
		return r.syntax(key, start, err)
	}
	return true
}

// assemble puts the lists together.
func (r *cocoReader) assemble() (*Annotations, error) {
	for _, key := range []string{"images", "annotations", "categories"} {
		if !r.has[key] {
			r.bad(0, key, "is missing: want COCO's annotations for detection (instances_….json)")
		}
	}
	names := r.names()
	pictures := r.pictures()
	for i, a := range r.annotations {
		if len(r.problems) >= maxMistakes {
			break
		}
		r.annotation(yamlfile.Item("annotations", i), a.offset, a.value, names, pictures)
	}
	if err := r.problems.Err(); err != nil {
		return nil, err
	}
	out := &Annotations{}
	slices.SortFunc(r.categories, func(a, b at[cocoCategory]) int { return cmp.Compare(*a.value.ID, *b.value.ID) })
	for _, c := range r.categories {
		out.Classes = append(out.Classes, c.value.Name)
	}
	for _, p := range pictures {
		out.Pictures = append(out.Pictures, p.Annotated)
	}
	slices.SortFunc(out.Pictures, func(a, b Annotated) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

func (r *cocoReader) names() map[int64]string {
	names, seen := map[int64]string{}, map[string]bool{}
	for i, c := range r.categories {
		field := yamlfile.Item("categories", i)
		switch {
		case c.value.ID == nil:
			r.bad(c.offset, field+".id", "is missing")
			continue
		case names[*c.value.ID] != "":
			r.bad(c.offset, field+".id", "%d is %s, too: give each category its own", *c.value.ID, names[*c.value.ID])
		case strings.TrimSpace(c.value.Name) == "":
			r.bad(c.offset, field+".name", "is missing")
		case seen[c.value.Name]:
			r.bad(c.offset, field+".name", "%q is there twice: give each category its own", c.value.Name)
		}
		names[*c.value.ID], seen[c.value.Name] = c.value.Name, true
	}
	return names
}

type sizedPicture struct {
	Annotated
	width, height float64
}

func (r *cocoReader) pictures() map[int64]*sizedPicture {
	out := map[int64]*sizedPicture{}
	for i, p := range r.images {
		field, v := yamlfile.Item("images", i), p.value
		switch {
		case v.ID == nil:
			r.bad(p.offset, field+".id", "is missing")
			continue
		case out[*v.ID] != nil:
			r.bad(p.offset, field+".id", "%d is %s, too: give each picture its own", *v.ID, out[*v.ID].File)
		case !fs.ValidPath(v.File) || v.File == ".":
			r.bad(p.offset, field+".file_name", "%q is no path below the directory of the pictures: use names like 000000000139.jpg", v.File)
		case format(v.File) == "":
			r.bad(p.offset, field+".file_name", "%q is no picture that can be read: use .jpg or .png", v.File)
		case v.Width == nil || v.Height == nil || !(*v.Width >= 1) || !(*v.Height >= 1):
			r.bad(p.offset, field, "width and height must be those of %s in pixels", v.File)
		default:
			out[*v.ID] = &sizedPicture{Annotated{ID: *v.ID, File: v.File}, *v.Width, *v.Height}
		}
		if len(r.problems) >= maxMistakes {
			break
		}
	}
	return out
}

func (r *cocoReader) annotation(field string, offset int64, a cocoAnnotation, names map[int64]string, pictures map[int64]*sizedPicture) {
	switch {
	case a.Image == nil:
		r.bad(offset, field+".image_id", "is missing")
	case a.Category == nil:
		r.bad(offset, field+".category_id", "is missing")
	case pictures[*a.Image] == nil:
		r.bad(offset, field+".image_id", "%d is no picture of images: add it, or remove the annotation", *a.Image)
	case names[*a.Category] == "":
		r.bad(offset, field+".category_id", "%d is no category of categories: add it, or remove the annotation", *a.Category)
	case len(a.Box) != 4:
		r.bad(offset, field+".bbox", "has %d numbers: want [x, y, width, height] in pixels", len(a.Box))
	case a.Box[2] < 0 || a.Box[3] < 0:
		r.bad(offset, field+".bbox", "width and height are %g and %g: want [x, y, width, height] in pixels, not two corners", a.Box[2], a.Box[3])
	case slices.ContainsFunc(a.Box, func(v float64) bool { return math.Abs(v) > 1e9 }):
		r.bad(offset, field+".bbox", "%v is far outside of any picture", a.Box)
	default:
		p := pictures[*a.Image]
		p.Truth = append(p.Truth, pipeline.Truth{Label: names[*a.Category], Ignore: bool(a.Crowd), Box: pipeline.Box{
			X: a.Box[0] / p.width, Y: a.Box[1] / p.height, W: a.Box[2] / p.width, H: a.Box[3] / p.height,
		}})
	}
}
