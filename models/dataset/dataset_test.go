package dataset_test

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/png"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/models/dataset"
	"github.com/weft-mesh/weft/models/street"
	"github.com/weft-mesh/weft/pipeline"
)

// tree writes files to a new directory; a picture's content is "picture".
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if content == "picture" {
			var b bytes.Buffer
			if err := png.Encode(&b, image.NewRGBA(image.Rect(0, 0, 4, 2))); err != nil {
				t.Fatal(err)
			}
			content = b.String()
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// truths loads everything.
func truths(t *testing.T, s *dataset.Set) map[string][]pipeline.Truth {
	t.Helper()
	out := map[string][]pipeline.Truth{}
	for i := range s.Len() {
		x, err := s.Load(i)
		if err != nil {
			t.Fatal(err)
		}
		if len(x.Picture.Data) == 0 || x.Picture.Format != pipeline.PNG {
			t.Errorf("%s: picture %s of %d bytes", x.Name, x.Picture.Format, len(x.Picture.Data))
		}
		out[x.Name] = x.Truth
	}
	return out
}

const cocoJSON = `{
 "info": {"year": 2017},
 "annotations": [
  {"id": 1, "image_id": 9, "category_id": 62, "bbox": [2, 1, 2, 0.5], "iscrowd": 0, "segmentation": [[1, 2, 3]]},
  {"id": 2, "image_id": 9, "category_id": 1, "bbox": [0, 0, 4, 2], "iscrowd": 1, "segmentation": {"counts": [3, 4], "size": [2, 4]}}
 ],
 "images": [
  {"id": 9, "file_name": "b.png", "width": 4, "height": 2},
  {"id": 4, "file_name": "a.png", "width": 4, "height": 2}
 ],
 "categories": [{"id": 62, "name": "couch"}, {"id": 1, "name": "person"}]
}
`

var cocoTruths = map[string][]pipeline.Truth{
	"a.png": nil,
	"b.png": {
		{Label: "couch", Box: pipeline.Box{X: 0.5, Y: 0.5, W: 0.5, H: 0.25}},
		{Label: "person", Box: pipeline.Box{W: 1, H: 1}, Ignore: true},
	},
}

func TestCOCO(t *testing.T) {
	for _, where := range []string{"val2017", "images/val2017", "images", "."} {
		dir := tree(t, map[string]string{
			"annotations/instances_val2017.json": cocoJSON,
			where + "/a.png":                     "picture", where + "/b.png": "picture",
		})
		for _, name := range []string{dir, filepath.Join(dir, "annotations", "instances_val2017.json")} {
			s, err := dataset.Open("coco:"+name, dataset.Words{Default: []string{"nothing"}})
			if err != nil {
				t.Fatalf("%s: %v", where, err)
			}
			if want := []string{"person", "couch"}; !slices.Equal(s.Classes(), want) {
				t.Errorf("%s: classes %q, want %q", where, s.Classes(), want)
			}
			if got := truths(t, s); !reflect.DeepEqual(got, cocoTruths) {
				t.Errorf("%s: %+v, want %+v", where, got, cocoTruths)
			}
			if x, _ := s.Load(0); x.Name != "a.png" {
				t.Errorf("%s: the first picture is %s, want the one with the lowest number", where, x.Name)
			}
		}
	}
}

func TestYOLO(t *testing.T) {
	files := map[string]string{
		"images/a.png": "picture", "images/day/b.png": "picture", "images/c.png": "picture", "images/notes.md": "x",
		"labels/a.txt":     "1 0.5 0.5 0.5 0.25\n\n0 0.25 0.5 0.5 1\r\n",
		"labels/day/b.txt": "",
	}
	want := map[string][]pipeline.Truth{
		"a.png": {
			{Label: "dog", Box: pipeline.Box{X: 0.25, Y: 0.375, W: 0.5, H: 0.25}},
			{Label: "cat", Box: pipeline.Box{X: 0, Y: 0, W: 0.5, H: 1}},
		},
		"c.png": nil, "day/b.png": nil,
	}
	for _, tt := range []struct {
		name  string
		with  map[string]string
		words dataset.Words
	}{
		{"the detector's names", nil, dataset.Words{Default: []string{"cat", "dog"}}},
		{"its own names", map[string]string{"classes.txt": "cat\ndog\n"}, dataset.Words{Default: []string{"x"}}},
		{"names of a label tool", map[string]string{"labels/classes.txt": "cat\ndog\n"}, dataset.Words{}},
		{"darknet's names", map[string]string{"pets.names": "cat\ndog\n\n"}, dataset.Words{}},
		{"names that are told", map[string]string{"classes.txt": "x\ny\n"}, dataset.Words{Names: []string{"cat", "dog"}}},
	} {
		dir := tree(t, files)
		for name, text := range tt.with {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		s, err := dataset.Open("yolo:"+dir, tt.words)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := truths(t, s); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", tt.name, got, want)
		}
		if !slices.Equal(s.Classes(), []string{"cat", "dog"}) {
			t.Errorf("%s: classes %q", tt.name, s.Classes())
		}
	}
}

func TestStreet(t *testing.T) {
	s, err := dataset.Open("street:seeds=18446744073709551613-18446744073709551615", dataset.Words{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Len() != 3 || !slices.Equal(s.Classes(), street.Classes()) {
		t.Errorf("%d pictures of %q", s.Len(), s.Classes())
	}
	for i := range s.Len() {
		x, err := s.Load(i)
		if err != nil {
			t.Fatal(err)
		}
		seed := math.MaxUint64 - 2 + uint64(i)
		drawn, err := street.New(street.Options{Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, drawn.Bytes())
		objects := drawn.RenderAt(1, want)
		if x.Name != fmt.Sprintf("seed %d", seed) || x.Picture.Format != pipeline.BGR || !bytes.Equal(x.Picture.Data, want) ||
			len(want) != 3*x.Picture.Width*x.Picture.Height {
			t.Errorf("%s: %d × %d", x.Name, x.Picture.Width, x.Picture.Height)
		}
		if len(x.Truth) != len(objects) {
			t.Fatalf("%s: %d objects, want %d", x.Name, len(x.Truth), len(objects))
		}
		for k, o := range objects {
			want := pipeline.Truth{Label: o.Class.String(), Box: pipeline.Box(o.Box), Ignore: o.Ignore}
			if x.Truth[k] != want {
				t.Errorf("%s: %+v, want %+v", x.Name, x.Truth[k], want)
			}
		}
	}
}

func TestForADetector(t *testing.T) {
	dir := tree(t, map[string]string{
		"annotations/instances_x.json": cocoJSON, "x/a.png": "picture", "x/b.png": "picture",
	})
	s, err := dataset.Open("coco:"+dir, dataset.Words{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.Unknown([]string{"dog", "sofa"}), []string{"person"}; !slices.Equal(got, want) {
		t.Errorf("unknown are %q, want %q", got, want)
	}
	narrow, err := s.For([]string{"dog", "sofa"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]pipeline.Truth{"a.png": nil, "b.png": {{Label: "sofa", Box: cocoTruths["b.png"][0].Box}}}
	if got := truths(t, narrow); !reflect.DeepEqual(got, want) || !slices.Equal(narrow.Classes(), []string{"sofa"}) {
		t.Errorf("%+v of %q, want %+v", got, narrow.Classes(), want)
	}
	if got := truths(t, s); !reflect.DeepEqual(got, cocoTruths) {
		t.Errorf("the set itself changed: %+v", got)
	}
	_, err = s.For([]string{"a", "b", "c", "d", "e", "f", "g"})
	const message = "no class in common: the data set has person, couch, the detector a, b, c, d, e and 2 more"
	if !errors.Is(err, dataset.ErrClasses) || err.Error() != message {
		t.Errorf("error %v, want %s", err, message)
	}
}

func TestMistakesInASetAreExplained(t *testing.T) {
	coco := map[string]string{"annotations/instances_x.json": cocoJSON, "x/a.png": "picture", "x/b.png": "picture"}
	yolo := map[string]string{"images/a.png": "picture", "labels/a.txt": "0 0.5 0.5 0.5 0.5"}
	for _, tt := range []struct {
		name, open string
		files      map[string]string
		change     map[string]string // "-": removed
		words      dataset.Words
		want       string
	}{
		{"no kind", "DIR", coco, nil, dataset.Words{}, `data set can't be used: "DIR" does not say of what kind it is: use coco:DIR or yolo:DIR or street:seeds=A-B`},
		{"unknown kind", "cocoo:DIR", coco, nil, dataset.Words{}, `data set can't be used: unknown kind "cocoo"; did you mean "coco"? use coco:DIR or yolo:DIR or street:seeds=A-B`},
		{"no directory", "coco:", coco, nil, dataset.Words{}, `data set can't be used: "coco:" names nothing after the colon: use coco:DIR`},
		{"names for names", "coco:DIR", coco, nil, dataset.Words{Names: []string{"a"}}, `a coco: set names its classes itself: leave out the names`},
		{"names for streets", "street:seeds=1-2", nil, nil, dataset.Words{Names: []string{"a"}}, `a street: set names its classes itself: leave out the names`},
		{"streets without seeds", "street:?fps=25", nil, nil, dataset.Words{}, `data set can't be used: "street:?fps=25" says no seeds: use street:seeds=A-B, such as street:seeds=1-200`},
		{"no range of seeds", "street:seeds=9-1", nil, nil, dataset.Words{}, `data set can't be used: no such street: seeds "9-1"; write a range such as 1-200`},
		{"too many streets", "street:seeds=0-18446744073709551615", nil, nil, dataset.Words{}, `data set can't be used: more than 16777216 seeds`},
		{"absent", "coco:DIR/none", coco, nil, dataset.Words{}, `data set can't be used: DIR/none does not exist`},
		{"no annotations", "coco:DIR/x", coco, nil, dataset.Words{}, `DIR/x has no annotations/instances_*.json; name another file as coco:FILE`},
		{"two annotation files", "coco:DIR", coco, map[string]string{"annotations/instances_y.json": "{}"}, dataset.Words{}, `DIR has 2 annotation files: choose one, such as coco:DIR/annotations/instances_y.json`},
		{"a missing picture", "coco:DIR", coco, map[string]string{"x/b.png": "-"}, dataset.Words{}, `1 of the 2 pictures of DIR/annotations/instances_x.json are not in DIR/x, the first of them b.png: get them, or list only those that are there`},
		{"no pictures", "coco:DIR", coco, map[string]string{"x/a.png": "-", "x/b.png": "-"}, dataset.Words{}, `the pictures of DIR/annotations/instances_x.json, such as a.png, are in none of DIR/x, DIR/images/x, DIR/images, DIR`},
		{"an empty list", "coco:DIR", coco, map[string]string{"annotations/instances_x.json": `{"images": [], "annotations": [], "categories": []}`}, dataset.Words{}, `DIR/annotations/instances_x.json lists no pictures`},
		{"no labels", "yolo:DIR", yolo, map[string]string{"labels/a.txt": "-", "labels": "-"}, dataset.Words{}, `DIR/labels does not exist: want a directory with the folders images and labels`},
		{"no picture", "yolo:DIR", yolo, map[string]string{"images/a.png": "-"}, dataset.Words{}, `DIR/images has no pictures (.jpg or .png)`},
		{"labels of no picture", "yolo:DIR", yolo, map[string]string{"labels/b.txt": ""}, dataset.Words{Default: []string{"cat"}}, `DIR/labels/b.txt has no picture: put b.jpg or .png into images/, or remove the labels (1 such files)`},
		{"one name for two pictures", "yolo:DIR", yolo, map[string]string{"images/a.jpg": "picture"}, dataset.Words{}, `a.jpg and a.png share their labels: keep one of them`},
		{"two lists of names", "yolo:DIR", yolo, map[string]string{"classes.txt": "cat", "x.names": "dog"}, dataset.Words{}, `DIR has several lists of class names (DIR/x.names, DIR/classes.txt): keep one`},
		{"an unknown class", "yolo:DIR", yolo, nil, dataset.Words{}, `DIR/labels/a.txt:1:1: class 0 is beyond the names of classes, of which there are 0: put those of the data set, one a line, into classes.txt beside images/, or name such a file`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := tree(t, tt.files)
			for _, name := range slices.Backward(slices.Sorted(maps.Keys(tt.change))) { // what is in a folder before it
				text, file := tt.change[name], filepath.Join(dir, filepath.FromSlash(name))
				err := os.Remove(file)
				if text != "-" {
					err = os.WriteFile(file, []byte(text), 0o644)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			open := tt.open
			if open != "DIR" {
				open = strings.Replace(open, "DIR", dir, 1)
			}
			_, err := dataset.Open(open, tt.words)
			if err == nil {
				t.Fatal("no error")
			}
			var problems yamlfile.Problems
			if !errors.Is(err, dataset.ErrDataset) && !errors.As(err, &problems) {
				t.Errorf("error %v is of no kind", err)
			}
			if got := strings.ReplaceAll(err.Error(), dir, "DIR"); !strings.Contains(got, tt.want) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// A set may come from anywhere: a name in it opens nothing elsewhere.
func TestPicturesStayInTheirDirectory(t *testing.T) {
	outside := tree(t, map[string]string{"secret.png": "picture"})
	dir := tree(t, map[string]string{"labels/a.txt": "", "images/b.png": "picture"})
	if err := os.Symlink(filepath.Join(outside, "secret.png"), filepath.Join(dir, "images", "a.png")); err != nil {
		t.Fatal(err)
	}
	s, err := dataset.Open("yolo:"+dir, dataset.Words{})
	if err != nil {
		t.Fatal(err)
	}
	if x, err := s.Load(0); err == nil {
		t.Errorf("read %s through a link out of the directory", x.Name)
	}
	if _, err := s.Load(1); err != nil {
		t.Error(err)
	}
}
