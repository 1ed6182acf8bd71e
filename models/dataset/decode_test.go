package dataset_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/models/dataset"
)

func TestMistakesInAnnotationsNameTheLine(t *testing.T) {
	if _, err := dataset.DecodeCOCO("i.json", []byte(cocoJSON)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, from, to, want string }{
		{"no object", cocoJSON, "[]", `i.json:1:1: no JSON object: want COCO's annotations, {"images": […], "annotations": […], "categories": […]}`},
		{"empty", cocoJSON, "", `i.json:1:1: no JSON object`},
		{"cut off", `"categories": [{"id": 62, "name": "couch"}, {"id": 1, "name": "person"}]` + "\n}\n", `"categories": [{"id": 62,`, `i.json:11:27: categories[0]: the file ends too early: get it again`},
		{"no comma", `"bbox": [2, 1, 2, 0.5], `, `"bbox": [2, 1, 2, 0.5] `, `i.json:4:70: annotations[0]: no JSON: invalid character '"' after object key:value pair`},
		{"something after it", "]\n}\n", "]\n}\nx", `i.json:13:1: something follows the annotations: keep one JSON object`},
		{"a list twice", `"info": {"year": 2017}`, `"images": [], "images": []`, `i.json:2:16: images: is there twice: keep one`},
		{"no list", `"info": {"year": 2017}`, `"images": {}`, `i.json:2:12: images: is no list`},
		{"a list is missing", `"images"`, `"pictures"`, `i.json:1:1: images: is missing: want COCO's annotations for detection (instances_….json)`},
		{"text for a number", `"bbox": [2, 1, 2, 0.5]`, `"bbox": "2, 1, 2, 0.5"`, `i.json:4:3: annotations[0].bbox: is a string: want a list`},
		{"too few numbers", `[2, 1, 2, 0.5]`, `[2, 1]`, `i.json:4:3: annotations[0].bbox: has 2 numbers: want [x, y, width, height] in pixels`},
		{"corners", `[2, 1, 2, 0.5]`, `[2, 1, -1, 0.5]`, `i.json:4:3: annotations[0].bbox: width and height are -1 and 0.5: want [x, y, width, height] in pixels, not two corners`},
		{"far away", `[2, 1, 2, 0.5]`, `[2e300, 1, 1, 1]`, `i.json:4:3: annotations[0].bbox: [2e+300 1 1 1] is far outside of any picture`},
		{"crowd", `"iscrowd": 1`, `"iscrowd": 2`, `i.json:5:3: annotations[1]: iscrowd is 2: use 0 or 1`},
		{"no picture", `"image_id": 9, "category_id": 62`, `"category_id": 62`, `i.json:4:3: annotations[0].image_id: is missing`},
		{"unknown picture", `"image_id": 9, "category_id": 62`, `"image_id": 8, "category_id": 62`, `i.json:4:3: annotations[0].image_id: 8 is no picture of images: add it, or remove the annotation`},
		{"no category", `"category_id": 62, `, ``, `i.json:4:3: annotations[0].category_id: is missing`},
		{"unknown category", `"category_id": 62`, `"category_id": 63`, `i.json:4:3: annotations[0].category_id: 63 is no category of categories: add it, or remove the annotation`},
		{"a category twice", `{"id": 1, "name"`, `{"id": 62, "name"`, `i.json:11:46: categories[1].id: 62 is couch, too: give each category its own`},
		{"a name twice", `"person"`, `"couch"`, `i.json:11:46: categories[1].name: "couch" is there twice: give each category its own`},
		{"no name", `, "name": "person"`, ``, `i.json:11:46: categories[1].name: is missing`},
		{"a picture twice", `{"id": 4, `, `{"id": 9, `, `i.json:9:3: images[1].id: 9 is b.png, too: give each picture its own`},
		{"a way out", `"a.png"`, `"../a.png"`, `i.json:9:3: images[1].file_name: "../a.png" is no path below the directory of the pictures: use names like 000000000139.jpg`},
		{"no known format", `"a.png"`, `"a.webp"`, `i.json:9:3: images[1].file_name: "a.webp" is no picture that can be read: use .jpg or .png`},
		{"no size", `"a.png", "width": 4`, `"a.png", "width": 0`, `i.json:9:3: images[1]: width and height must be those of a.png in pixels`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(cocoJSON, tt.from, tt.to, 1)
			if text == cocoJSON {
				t.Fatal("nothing changed")
			}
			_, err := dataset.DecodeCOCO("i.json", []byte(text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestMistakesInLabelsNameTheLine(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"0 0.5 0.5 0.5", "l.txt:2:11: 4 numbers: want `class cx cy w h`, the last four in fractions of the picture (0–1)"},
		{"0 0.5 0.5 0.5 0.5 0.9", "l.txt:2:19: 6 numbers: want `class"},
		{"0 0.1 0.1 0.2 0.2 0.3 0.1", "l.txt:2:19: 7 numbers are an outline, not a box: want `class"},
		{"cat 0.5 0.5 0.5 0.5", "l.txt:2:1: \"cat\" is no class number: want `class"},
		{" 2 0.5 0.5 0.5 0.5", "l.txt:2:2: class 2 is beyond the names of classes, of which there are 2: put those of the data set, one a line, into classes.txt beside images/"},
		{"0 12 0.5 0.5 0.5", "l.txt:2:3: \"12\" is no fraction: want `class"},
		{"0 0.5 0,5 0.5 0.5", "l.txt:2:7: \"0,5\" is no fraction: want `class"},
		{"0 0.5 0.5 NaN 0.5", "l.txt:2:11: \"NaN\" is no fraction: want `class"},
		{"0 0.5 0.5 0.5 0", "l.txt:2:11: a box without width or height: remove the line"},
	} {
		_, err := dataset.DecodeYOLO("l.txt", []byte("1 0.5 0.5 0.5 0.5\n"+tt.line+"\n"), []string{"cat", "dog"})
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%q: got  %v\nwant %s", tt.line, err, tt.want)
		}
	}
}

func TestMistakesInNamesNameTheLine(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "c.txt:1:1: no names: want one a line"},
		{"cat\n\ndog\n", "c.txt:2:1: an empty line: the number of a class is that of its line"},
		{"cat\ndog\ncat\n", "c.txt:3:1: \"cat\" is there twice: give each class its own name"},
		{"\xff\xfe", "c.txt:1:1: no name of a class"},
	} {
		if _, err := dataset.DecodeNames("c.txt", []byte(tt.text)); err == nil || err.Error() != tt.want {
			t.Errorf("%q: got  %v\nwant %s", tt.text, err, tt.want)
		}
	}
}

func isProblems(t *testing.T, err error) {
	t.Helper()
	var problems yamlfile.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("error %v, want problems", err)
	}
	for _, p := range problems {
		if p.Line < 1 || p.Column < 1 || p.Message == "" {
			t.Fatalf("problem %+v", p)
		}
	}
}

func FuzzDecodeCOCO(f *testing.F) {
	f.Add([]byte(cocoJSON))
	f.Add([]byte(`{"images":[{"id":1,"file_name":"a.jpg","width":1e300,"height":1}],"categories":[{"id":1,"name":"a"}],"annotations":[{"image_id":1,"category_id":1,"bbox":[1e9,-1e9,0,0],"iscrowd":true}]}`))
	f.Add([]byte(`{"images":[null],"annotations":[{}],"categories":[{"id":1e3}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := dataset.DecodeCOCO("i.json", data)
		if err != nil {
			isProblems(t, err)
			return
		}
		for _, p := range got.Pictures {
			if p.File == "" || strings.HasPrefix(p.File, "/") || slices.Contains(strings.Split(p.File, "/"), "..") {
				t.Fatalf("picture %q", p.File)
			}
			for _, o := range p.Truth {
				b := o.Box
				if !slices.Contains(got.Classes, o.Label) || math.IsNaN(b.X+b.Y+b.W+b.H) || math.IsInf(b.X+b.Y+b.W+b.H, 0) || b.W < 0 || b.H < 0 {
					t.Fatalf("object %+v", o)
				}
			}
		}
	})
}

func FuzzDecodeYOLO(f *testing.F) {
	f.Add([]byte("0 0.5 0.5 0.5 0.5\n1 0 1 1 1e-300\n"), 2)
	f.Add([]byte("\t\v 1 0x1p-1 .5 +.5 1_0\n"), 2)
	f.Add([]byte("0 0.1 0.1 0.2 0.2 0.3 0.1 0.4\r\n"), 1)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		classes := []string{"a", "b", "c"}[:max(n, 0)%4]
		got, err := dataset.DecodeYOLO("l.txt", data, classes)
		if err != nil {
			isProblems(t, err)
			return
		}
		for _, o := range got {
			b := o.Box
			if !slices.Contains(classes, o.Label) || !(b.W > 0 && b.W <= 1 && b.H > 0 && b.H <= 1) || !(b.X >= -0.5 && b.X <= 1 && b.Y >= -0.5 && b.Y <= 1) {
				t.Fatalf("object %+v", o)
			}
		}
	})
}

func FuzzDecodeNames(f *testing.F) {
	f.Add([]byte("cat\ndog\n\n"))
	f.Add([]byte("cat\r\ndog"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := dataset.DecodeNames("c.txt", data)
		if err != nil {
			isProblems(t, err)
			return
		}
		again, err := dataset.DecodeNames("c.txt", []byte(strings.Join(got, "\n")))
		if err != nil || !slices.Equal(got, again) || len(got) == 0 {
			t.Fatalf("%q, again %q, %v", got, again, err)
		}
	})
}
