package catalog_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/tiering"
)

func TestBuiltin(t *testing.T) {
	c := catalog.Builtin()
	want := map[string]struct {
		format      catalog.Format
		fit         tiering.Fit
		files       int
		classes     int
		resolutions []int
	}{
		"hog-people":              {catalog.HOG, tiering.Letterbox, 0, 1, []int{512, 640, 768, 1024}},
		"street":                  {catalog.Darknet, tiering.Stretch, 2, 5, []int{320, 416, 512, 608}},
		"yolo-fastest-1.1":        {catalog.Darknet, tiering.Stretch, 2, 80, []int{320, 416, 512}},
		"yolo-fastest-1.1-xl":     {catalog.Darknet, tiering.Stretch, 2, 80, []int{320, 416, 512}},
		"mobilenetv2-yolov3-nano": {catalog.Darknet, tiering.Stretch, 2, 80, []int{320, 416, 512}},
		"yolox-nano":              {catalog.ONNX, tiering.Letterbox, 1, 80, []int{416}},
		"yolov4":                  {catalog.Darknet, tiering.Stretch, 2, 80, []int{416, 512}},
		"yolov4-tiny":             {catalog.Darknet, tiering.Stretch, 2, 80, []int{416, 512}},
	}
	if got := len(c.Models()); got != len(want) {
		t.Errorf("%d models, want %d", got, len(want))
	}
	for name, w := range want {
		m, ok := c.Lookup(name)
		if !ok {
			t.Errorf("no model %s", name)
			continue
		}
		if m.Format != w.format || m.Fit != w.fit || len(m.Files) != w.files || len(m.Classes) != w.classes || !slices.Equal(m.Resolutions, w.resolutions) {
			t.Errorf("%s: got %+v, want %+v", name, m, w)
		}
		confidence, special := map[string]float64{"hog-people": 0.65, "street": 0.6}[name]
		if !special {
			confidence = 0.25
		}
		if m.Confidence != confidence || m.NMS != 0.45 {
			t.Errorf("%s: confidence %v, NMS %v", name, m.Confidence, m.NMS)
		}
		if m.Family == "" || m.Licence == "" || m.Source == "" || m.Description == "" {
			t.Errorf("%s: family, licence, source or description is missing", name)
		}
		for _, f := range m.Files {
			if g, ok := m.File(f.Role); !ok || g.Name != f.Name || f.Size == 0 || f.SHA256 == "" || (len(f.URLs) == 0) != (name == "street") { // which is built in
				t.Errorf("%s: file %+v", name, f)
			}
			for _, u := range f.URLs {
				if !strings.HasPrefix(u, "https://") {
					t.Errorf("%s: %s is fetched from %s", name, f.Name, u)
				}
			}
		}
		wants := map[catalog.Format]catalog.Input{catalog.Darknet: {Channels: catalog.RGB, DivideBy: 255}, catalog.ONNX: {Channels: catalog.BGR, DivideBy: 1}}
		if m.Input != wants[m.Format] || m.Wants() != m.Input {
			t.Errorf("%s: input %+v", name, m.Input)
		}
		// For OpenCV's people detector nobody has published a figure.
		if m.Format != catalog.HOG && len(m.Accuracy) == 0 {
			t.Errorf("%s: no published accuracy", name)
		}
		if !m.Offers(w.resolutions[0]) || m.Offers(333) {
			t.Errorf("%s: Offers is wrong", name)
		}
	}
	if !slices.IsSorted(c.Names()) {
		t.Errorf("names %v are not sorted", c.Names())
	}
	if _, ok := c.Lookup("resnet50"); ok {
		t.Error("found a model that is not there")
	}
}

// detectors returns the directory of the real detectors, or skips the test.
func detectors(t *testing.T) fs.FS {
	t.Helper()
	data := os.Getenv("WEFT_TEST_DATA")
	if data == "" {
		root, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // from models/catalog to the repository's root
			root = filepath.Dir(root)
		}
		data = filepath.Join(root, "..", "shared", "data")
	}
	dir := filepath.Join(data, "detectors")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the real detectors are not here (%v); set WEFT_TEST_DATA to their directory", err)
	}
	return os.DirFS(dir)
}

func TestBuiltinDescribesTheRealFiles(t *testing.T) {
	dir := detectors(t)
	c := catalog.Builtin()
	for _, m := range c.Models() {
		if m.Family == "yolov4" || m.Family == "street" {
			continue // 282 MB that are not among the test data, and what is built in
		}
		for _, f := range m.Files {
			b, err := fs.ReadFile(dir, f.Name)
			if err != nil {
				t.Error(err)
				continue
			}
			sum := sha256.Sum256(b)
			if got := hex.EncodeToString(sum[:]); got != f.SHA256 || int64(len(b)) != f.Size {
				t.Errorf("%s is %d bytes, %s; the catalogue says %d, %s", f.Name, len(b), got, f.Size, f.SHA256)
			}
		}
	}
	f, err := dir.Open("coco.names")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var names []string
	for s := bufio.NewScanner(f); s.Scan(); {
		if name := strings.TrimSpace(s.Text()); name != "" {
			names = append(names, name)
		}
	}
	if m, _ := c.Lookup("yolox-nano"); !slices.Equal(m.Classes, names) {
		t.Errorf("classes are %q, want %q", m.Classes, names)
	}
}

func TestLoadAndMerge(t *testing.T) {
	mine, err := catalog.Load("mine.yaml", []byte(`
apiVersion: weft/v1
kind: Catalogue
classLists: {animals: [cat, dog]}
models:
  - name: pets
    format: onnx
    files: [{role: model, name: pets.onnx, sha256: `+strings.Repeat("AB", 32)+`}]
    resolutions: [640, 320]
    fit: letterbox
    classes: animals
    confidence: 0.5
    nms: 0
`))
	if err != nil {
		t.Fatal(err)
	}
	both, err := catalog.Builtin().Merge(mine)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(both.Models()), len(catalog.Builtin().Models())+1; got != want {
		t.Errorf("%d models, want %d", got, want)
	}
	m, ok := both.Lookup("pets")
	if !ok {
		t.Fatal("pets is lost")
	}
	if m.Family != "pets" || m.Confidence != 0.5 || m.NMS != 0 || !slices.Equal(m.Resolutions, []int{320, 640}) ||
		!slices.Equal(m.Classes, []string{"cat", "dog"}) || m.Files[0].SHA256 != strings.Repeat("ab", 32) {
		t.Errorf("got %+v", m)
	}
	if _, err := both.Merge(mine); !errors.Is(err, catalog.ErrDuplicate) {
		t.Errorf("merged twice: error %v, want ErrDuplicate", err)
	}
}

func TestLoadSaysWhatIsWrong(t *testing.T) {
	const good = `apiVersion: weft/v1
kind: Catalogue
classLists:
  own: [a, b]
models:
  - name: m
    format: darknet
    files: [{role: config, name: m.cfg}, {role: weights, name: m.weights}]
    resolutions: [320]
    fit: stretch
    classes: own
`
	if _, err := catalog.Load("c.yaml", []byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, replace, with, want string }{
		{"version", "weft/v1", "weft/v2", `1:13: apiVersion: unknown version "weft/v2"; use "weft/v1"`},
		{"kind", "Catalogue", "Catalog", `2:7: kind: unknown kind "Catalog"; use "Catalogue"`},
		{"unknown key", "fit:", "fits:", "6:5: models[0]: missing key \"fit\"\nc.yaml:10:5: models[0].fits: unknown key \"fits\"; did you mean \"fit\"? known keys: name, family, format, files, resolutions, fit, classes, channels, divideBy, confidence, nms, accuracy, rates, licence, source, description"},
		{"name", "name: m\n", "name: M\n", `6:11: models[0].name: "M" is no model name; use lower-case letters, digits, dashes and dots, at most 63`},
		{"format", "format: darknet", "format: tflite", `7:13: models[0].format: unknown format "tflite"; use hog, darknet or onnx`},
		{"missing file", ", {role: weights, name: m.weights}", "", `8:5: models[0].files: a darknet model needs a file with the role "weights"`},
		{"role", "role: weights", "role: model", "8:5: models[0].files: a darknet model needs a file with the role \"weights\"\nc.yaml:8:49: models[0].files[1].role: a darknet model has no file with the role \"model\"; it has config and weights"},
		{"files of hog", "format: darknet", "format: hog", "8:20: models[0].files[0].role: a hog model has no file with the role \"config\"; it has no files\nc.yaml:8:49: models[0].files[1].role: a hog model has no file with the role \"weights\"; it has no files"},
		{"two files of a role", "role: weights", "role: config", "8:5: models[0].files: a darknet model needs a file with the role \"weights\"\nc.yaml:8:49: models[0].files[1].role: a second file with the role \"config\"; keep one"},
		{"path", "m.cfg", "../m.cfg", `8:34: models[0].files[0].name: "../m.cfg" is no path below the model directory; use names like yolo/model.onnx`},
		{"size", "m.cfg", "m.cfg, size: -1", "8:47: models[0].files[0].size: a size can't be negative"},
		{"digest", "m.cfg", "m.cfg, sha256: abc", `8:49: models[0].files[0].sha256: "abc" is no SHA-256 digest; it has 64 hexadecimal digits`},
		{"url", "m.cfg", "m.cfg, urls: [ftp://x/y]", `8:48: models[0].files[0].urls[0]: "ftp://x/y" is no URL that starts with https:// or http://`},
		{"channels", "classes: own", "classes: own\n    channels: grb", `12:15: models[0].channels: unknown order "grb"; use rgb or bgr`},
		{"divideBy", "classes: own", "classes: own\n    divideBy: 0", "12:15: models[0].divideBy: 0 is out of range; values are 0 to 255: use 255 for a network that wants 0 to 1, and 1 for one that wants them as they are"},
		{"metric", "classes: own", "classes: own\n    accuracy: [{metric: mAP, value: 0.5, dataset: d, source: s}]", `12:25: models[0].accuracy[0].metric: unknown metric "mAP"; use AP50, AP or F1`},
		{"figure", "classes: own", "classes: own\n    accuracy: [{metric: AP, value: 50, dataset: d, source: s}]", `12:36: models[0].accuracy[0].value: 50 is out of range; use 0 to 1`},
		{"figure's resolution", "classes: own", "classes: own\n    accuracy: [{metric: AP, value: 0.5, resolution: 416, dataset: d, source: s}]", `12:53: models[0].accuracy[0].resolution: the model does not offer 416`},
		{"rate", "classes: own", "classes: own\n    rates: [{fps: 0, kept: 0.5, dataset: d, source: s}]", `12:19: models[0].rates[0].fps: 0 is out of range; use frames analysed a second, above 0 and at most 1000`},
		{"share of a rate", "classes: own", "classes: own\n    rates: [{fps: 2, kept: 85, dataset: d, source: s}]", `12:28: models[0].rates[0].kept: 85 is out of range; use 0 to 1, the share of F1 that is left`},
		{"rate twice", "classes: own", "classes: own\n    rates: [{fps: 2, kept: 0.5, dataset: d, source: s}, {fps: 2, kept: 0.5, dataset: d, source: s}]", `12:63: models[0].rates[1].fps: 2 is there twice; remove one`},
		{"no resolutions", "[320]", "[]", "9:5: models[0].resolutions: no resolutions; list at least one"},
		{"resolution", "[320]", "[320, 16]", "9:24: models[0].resolutions[1]: resolution 16 is out of range; use 32 to 8192 pixels"},
		{"resolution of darknet", "[320]", "[330]", "9:19: models[0].resolutions[0]: resolution 330 is no multiple of 32, which darknet models need"},
		{"resolution twice", "[320]", "[320, 320]", "9:24: models[0].resolutions[1]: resolution 320 is listed twice"},
		{"fit", "stretch", "crop", `10:10: models[0].fit: unknown fit "crop"; use stretch or letterbox`},
		{"classes", "classes: own", "classes: coco", `11:14: models[0].classes: unknown class list "coco"; did you mean "coco80"? known lists: coco80, own, people, street`},
		{"confidence", "classes: own", "classes: own\n    confidence: 25", "12:17: models[0].confidence: 25 is out of range; use 0 to 1"},
		{"nms", "classes: own", "classes: own\n    nms: -0.1", "12:10: models[0].nms: -0.1 is out of range; use 0 to 1"},
		{"empty class list", "[a, b]", "[]", "4:3: classLists.own: no classes; list at least one"},
		{"class twice", "[a, b]", "[a, a]", `4:12: classLists.own[1]: class "a" is listed twice`},
		{"empty class", "[a, b]", `[a, ""]`, `4:12: classLists.own[1]: empty class name`},
		{"built-in class list", "own: [a, b]", "people: [a, b]\n  own: [a]", `4:3: classLists.people: the built-in catalogue has another class list "people"; give yours another name`},
		{"model twice", "    classes: own\n", "    classes: own\n  - {name: m, format: hog, resolutions: [512], fit: stretch, classes: own}\n", `12:12: models[1].name: model "m" is described twice`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(good, tt.replace, tt.with, 1)
			if text == good {
				t.Fatal("nothing replaced")
			}
			_, err := catalog.Load("c.yaml", []byte(text))
			var problems yamlfile.Problems
			if !errors.As(err, &problems) || err.Error() != "c.yaml:"+tt.want {
				t.Errorf("got\n%v\nwant\nc.yaml:%s", err, tt.want)
			}
		})
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte("apiVersion: weft/v1\nkind: Catalogue\nmodels:\n  - {name: m, format: hog, resolutions: [512], fit: stretch, classes: people}\n"))
	f.Add([]byte("apiVersion: weft/v1\nkind: Catalogue\nclassLists: {a: [b]}\nmodels:\n  - name: m\n    format: onnx\n    files: [{role: model, name: a/b, size: 1}]\n    resolutions: [32]\n    fit: letterbox\n    classes: a\n    nms: 1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := catalog.Load("c.yaml", data)
		if err != nil {
			var problems yamlfile.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("error %v, want problems", err)
			}
			return
		}
		for _, m := range c.Models() {
			if len(m.Resolutions) == 0 || len(m.Classes) == 0 || !slices.IsSorted(m.Resolutions) {
				t.Fatalf("model %+v", m)
			}
			for _, f := range m.Files {
				if !fs.ValidPath(f.Name) {
					t.Fatalf("file %+v", f)
				}
			}
		}
	})
}
