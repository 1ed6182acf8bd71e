package catalog_test

import (
	"bytes"
	"errors"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/models/catalog"
)

var digest = strings.Repeat("ab", 32)

func TestLockComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := catalog.Lock{}
		for range rapid.IntRange(0, 5).Draw(t, "files") {
			name := rapid.StringMatching(`[^/\x00]{1,12}`).Filter(func(s string) bool { return fs.ValidPath(s) && s != "." }).Draw(t, "name")
			l[name] = catalog.Pin{
				Size:   rapid.Int64Min(0).Draw(t, "size"),
				SHA256: rapid.StringMatching(`[0-9a-f]{64}`).Draw(t, "digest"),
				From:   rapid.StringMatching(`[ -~]{0,20}`).Draw(t, "from"),
			}
		}
		got, err := catalog.ParseLock("models.lock", l.Encode())
		if err != nil || !reflect.DeepEqual(got, l) {
			t.Fatalf("%v, %v\n%s", got, err, l.Encode())
		}
	})
}

func TestParseLockSaysWhatIsWrong(t *testing.T) {
	good := string(catalog.Lock{"a.weights": {3, digest, "https://host/a"}}.Encode())
	for _, tt := range []struct{ name, old, new, want string }{
		{"version", "weft/v1", "weft/v2", `models.lock:4:13: apiVersion: unknown version "weft/v2"; use "weft/v1"`},
		{"kind", "ModelLock", "Lock", `models.lock:5:7: kind: unknown kind "Lock"; use "ModelLock"`},
		{"path", `"a.weights"`, "/etc/passwd", `models.lock:7:11: files[0].name: "/etc/passwd" is no path below the model directory`},
		{"size", "size: 3", "size: -3", "models.lock:8:11: files[0].size: a size can't be negative"},
		{"digest", digest, "abc", `models.lock:9:13: files[0].sha256: "abc" is no SHA-256 digest; it has 64 hexadecimal digits`},
		{"cut short", "sha256:", "#", "models.lock:7:5: files[0]: missing key \"sha256\""},
	} {
		_, err := catalog.ParseLock("models.lock", []byte(strings.Replace(good, tt.old, tt.new, 1)))
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v\nwant %s", tt.name, err, tt.want)
		}
	}
}

func FuzzParseLock(f *testing.F) {
	f.Add(catalog.Lock{"a.weights": {3, digest, "https://host/a"}}.Encode())
	f.Add(catalog.Lock{}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := catalog.ParseLock("models.lock", b)
		if err != nil {
			return
		}
		again, err := catalog.ParseLock("models.lock", l.Encode())
		if err != nil || !reflect.DeepEqual(again, l) {
			t.Fatalf("%v became %v, %v", l, again, err)
		}
		if !bytes.Equal(again.Encode(), l.Encode()) {
			t.Fatal("its own text changes again")
		}
	})
}

// own is a catalogue with a file of each kind of knowledge about it.
func own(t *testing.T) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Load("mine.yaml", []byte(`
apiVersion: weft/v1
kind: Catalogue
classLists: {animals: [cat, dog]}
models:
  - name: known
    format: onnx
    files: [{role: model, name: known.onnx, size: 3, sha256: `+digest+`}]
    resolutions: [416]
    fit: stretch
    classes: coco80
  - name: sized
    format: onnx
    files: [{role: model, name: sized.onnx, size: 3}]
    resolutions: [416]
    fit: stretch
    classes: coco80
  - name: unknown
    family: odd
    format: darknet
    files: [{role: config, name: d/u.cfg, urls: ["http://host/u.cfg"]}, {role: weights, name: d/u.weights}]
    resolutions: [320, 416]
    fit: letterbox
    classes: animals
    channels: bgr
    divideBy: 1
    nms: 0
    confidence: 0.125
    accuracy: [{metric: F1, value: 0.5, dataset: "mine: all", source: me}]
    description: "it: knows"
`))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPinned(t *testing.T) {
	c := own(t)
	other := strings.Repeat("cd", 32)
	p := c.Pinned(catalog.Lock{
		"known.onnx": {9, other, ""}, "sized.onnx": {9, other, ""}, "d/u.cfg": {7, other, ""},
	})
	for name, want := range map[string]catalog.File{
		"known":   {Role: catalog.RoleModel, Name: "known.onnx", Size: 3, SHA256: digest}, // the catalogue knows better
		"sized":   {Role: catalog.RoleModel, Name: "sized.onnx", Size: 3},                 // of another size: of another file
		"unknown": {Role: catalog.RoleConfig, Name: "d/u.cfg", Size: 7, SHA256: other, URLs: []string{"http://host/u.cfg"}},
	} {
		if m, _ := p.Lookup(name); !reflect.DeepEqual(m.Files[0], want) {
			t.Errorf("%s: %+v, want %+v", name, m.Files[0], want)
		}
	}
	if m, _ := c.Lookup("unknown"); m.Files[0].SHA256 != "" {
		t.Error("the catalogue itself has changed")
	}
}

func TestEncodeComesBack(t *testing.T) {
	for _, c := range []*catalog.Catalog{own(t), catalog.Builtin()} {
		b, err := catalog.Encode(c.Models()...)
		if err != nil {
			t.Fatal(err)
		}
		again, err := catalog.Load("again.yaml", b)
		if err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		if got, want := again.Models(), c.Models(); !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v\n%s", got, want, b)
		}
	}
}

// What was measured to be nothing is a figure like any other.
func TestEncodeKeepsZeros(t *testing.T) {
	m := own(t).Models()[0]
	m.Accuracy = []catalog.Accuracy{{Metric: catalog.F1, Resolution: 416, Dataset: "fog", Source: "me"}}
	m.Rates = []catalog.Rate{{FPS: 1, Dataset: "fog", Source: "me"}}
	b, err := catalog.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	again, err := catalog.Load("again.yaml", b)
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if got := again.Models(); len(got) != 1 || !reflect.DeepEqual(got[0], m) {
		t.Errorf("got  %+v\nwant %+v\n%s", got, m, b)
	}
}

func TestOverlay(t *testing.T) {
	builtin := fstest.MapFS{"street/street.cfg": {Data: []byte("built in")}}
	disk := fstest.MapFS{"street/street.cfg": {Data: []byte("damaged")}, "x.onnx": {Data: []byte("disk")}}
	o := catalog.Overlay(builtin, disk)
	for name, want := range map[string]string{"street/street.cfg": "built in", "x.onnx": "disk"} {
		if b, err := fs.ReadFile(o, name); string(b) != want || err != nil {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if _, err := o.Open("nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if entries, err := fs.ReadDir(o, "."); err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
	if catalog.Overlay(nil, disk) == nil || catalog.Overlay(builtin, nil) == nil || catalog.Overlay(nil, nil) != nil {
		t.Error("one alone is not itself")
	}
}
