package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/weft-mesh/weft/models/catalog"
)

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func load(t *testing.T, models string) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Load("mine.yaml", []byte("apiVersion: weft/v1\nkind: Catalogue\nclassLists: {two: [a, b]}\nmodels:\n"+models))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func onnx(name, more string) string {
	return "  - {name: " + name + ", format: onnx, files: [{role: model, name: " + name + ".onnx" + more + "}], resolutions: [416], fit: stretch, classes: two}\n"
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// age has a file be written to so long ago.
func age(t *testing.T, path string, ago time.Duration) {
	t.Helper()
	when := time.Now().Add(-ago)
	if err := os.Chtimes(path, when, when); err != nil {
		t.Fatal(err)
	}
}

// A file whose digest nobody knows is not pinned while it is being copied there.
func TestWhatIsStillWrittenIsNotPinned(t *testing.T) {
	dir := t.TempDir()
	s := New(dir, load(t, onnx("unknown", "")), nil)
	c, _, _ := s.Catalogue()
	m, _ := c.Lookup("unknown")
	at := filepath.Join(dir, "unknown.onnx")
	write(t, at, "the first ha")
	if err := s.Usable(m); !errors.Is(err, ErrUnpinned) || !strings.Contains(err.Error(), "unknown.onnx: nobody knows yet what it has to be, and it was written to 0s ago") {
		t.Errorf("half copied: %v", err)
	}
	if l, err := s.Lock(); err != nil || len(l) > 0 {
		t.Fatalf("pinned to %+v, %v", l, err)
	}
	write(t, at, "the first half, and the second")
	age(t, at, time.Minute)
	if err := s.Usable(m); err != nil {
		t.Error(err)
	}
	if l, err := s.Lock(); err != nil || l["unknown.onnx"].SHA256 != digest("the first half, and the second") {
		t.Errorf("pinned to %+v, %v", l, err)
	}
}

func TestAvailable(t *testing.T) {
	base := load(t, onnx("good", ", sha256: "+digest("good"))+onnx("bad", ", sha256: "+digest("bad"))+onnx("short", ", size: 9")+
		onnx("absent", ", size: 9")+onnx("unknown", "")+onnx("built-in", ", sha256: "+digest("inside"))+
		"  - {name: hog, format: hog, resolutions: [512], fit: letterbox, classes: people}\n")
	dir := t.TempDir()
	for name, text := range map[string]string{"good": "good", "bad": "dab", "short": "short", "unknown": "what it is", "built-in": "damaged"} {
		write(t, filepath.Join(dir, name+".onnx"), text)
	}
	age(t, filepath.Join(dir, "unknown.onnx"), time.Minute)
	s := New(dir, base, fstest.MapFS{"built-in.onnx": {Data: []byte("inside")}})
	c, left, err := s.Catalogue()
	if err != nil || len(left) != 0 {
		t.Fatal(left, err)
	}
	names, damaged := s.Available(c)
	if want := []string{"built-in", "good", "hog", "unknown"}; !reflect.DeepEqual(names, want) {
		t.Errorf("available %v, want %v", names, want)
	}
	if text := errors.Join(damaged...).Error(); len(damaged) != 2 ||
		!strings.Contains(text, "model bad: bad.onnx: it is not as the catalogue says: its SHA-256 digest is "+digest("dab")) ||
		!strings.Contains(text, "model short: short.onnx: it is not as the catalogue says: it has 5 bytes and not 9") {
		t.Errorf("damaged: %s", text)
	}

	// What was pinned is held to, and blobs are what catalogues name.
	if c, _, err = s.Catalogue(); err != nil {
		t.Fatal(err)
	}
	b, size, err := s.Blob(c, digest("what it is"))
	if err != nil || size != 10 {
		t.Fatal(size, err)
	}
	if text, err := io.ReadAll(b); string(text) != "what it is" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	_ = b.Close()
	if b, _, err = s.Blob(c, digest("inside")); err != nil {
		t.Error(err)
	} else {
		_ = b.Close()
	}
	for _, d := range []string{digest("dab"), digest("damaged"), "", "x"} {
		if _, _, err := s.Blob(c, d); !errors.Is(err, ErrMissing) {
			t.Errorf("blob %q: %v", d, err)
		}
	}
	write(t, filepath.Join(dir, "unknown.onnx"), "another!!!")
	age(t, filepath.Join(dir, "unknown.onnx"), -time.Second)
	if m, _ := c.Lookup("unknown"); !errors.Is(s.Usable(m), ErrDamaged) {
		t.Errorf("changed since: %v", s.Usable(m))
	}
	write(t, filepath.Join(dir, catalog.LockFile), "garbage")
	if _, _, err := s.Catalogue(); err == nil || !strings.Contains(err.Error(), catalog.LockFile+":1:1") {
		t.Errorf("a damaged lock: %v", err)
	}
}

// A name in the directory leads nowhere else.
func TestLinksOutOfTheDirectory(t *testing.T) {
	dir, secret := t.TempDir(), filepath.Join(t.TempDir(), "secret")
	write(t, secret, "secret")
	if err := os.Symlink(secret, filepath.Join(dir, "m.onnx")); err != nil {
		t.Fatal(err)
	}
	s := New(dir, load(t, onnx("m", ", sha256: "+digest("secret"))), nil)
	c, _, _ := s.Catalogue()
	if _, _, err := s.Blob(c, digest("secret")); !errors.Is(err, ErrMissing) {
		t.Error(err)
	}
}

const cfg = "[net]\nchannels=3\n[convolutional]\nfilters=14\nsize=1\n[yolo]\nmask=0,1\nclasses=2\nnum=2\n"

// weights are of the cfg: a head of 20 bytes and 14 + 14·3 floats.
var weights = "\x00\x00\x00\x00\x02\x00\x00\x00" + strings.Repeat("\x00", 12+4*(14+14*3))

const net = "  - {name: net, format: darknet, files: [{role: config, name: own/net.cfg}, {role: weights, name: own/net.weights}], resolutions: [320], fit: stretch, classes: two}\n"

func TestAdd(t *testing.T) {
	src, dir := t.TempDir(), filepath.Join(t.TempDir(), "models")
	write(t, filepath.Join(src, "own/net.cfg"), cfg)
	write(t, filepath.Join(src, "own/net.weights"), weights)
	s := New(dir, catalog.Builtin(), nil)
	for range 2 { // twice is once
		added, err := s.Add(load(t, net), src)
		if err != nil || len(added) != 1 || added[0].Files[0].SHA256 != digest(cfg) || added[0].Files[1].Size != int64(len(weights)) {
			t.Fatal(added, err)
		}
	}
	c, left, err := New(dir, catalog.Builtin(), nil).Catalogue()
	if err != nil || len(left) != 0 {
		t.Fatal(left, err)
	}
	m, ok := c.Lookup("net")
	if !ok || s.Usable(m) != nil || !reflect.DeepEqual(m.Classes, []string{"a", "b"}) {
		t.Errorf("%+v", m)
	}
	// One that cannot be read does not keep the others from being known.
	write(t, filepath.Join(dir, installed, "broken.yaml"), "models: 3")
	write(t, filepath.Join(dir, installed, "again.yaml"), mustEncode(t, *m))
	c, left, err = s.Catalogue()
	if _, ok := c.Lookup("net"); !ok || err != nil || len(left) != 2 {
		t.Errorf("%v, %v", left, err)
	}
}

func mustEncode(t *testing.T, m catalog.Model) string {
	t.Helper()
	b, err := catalog.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAddRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		models  string
		prepare func(t *testing.T, src, dir string)
		want    string
	}{
		"a file is missing": {net, func(t *testing.T, src, _ string) { t.Helper(); mustRemove(t, filepath.Join(src, "own/net.cfg")) }, "model net: own/net.cfg: it is not there, neither in SRC nor in DIR"},
		"no config":         {net, func(t *testing.T, src, _ string) { t.Helper(); write(t, filepath.Join(src, "own/net.cfg"), "hello") }, `own/net.cfg: line 1: "hello" comes before the first section`},
		"too few weights": {net, func(t *testing.T, src, _ string) {
			t.Helper()
			write(t, filepath.Join(src, "own/net.weights"), weights[4:])
		}, "own/net.weights has 240 bytes, but its config needs 244"},
		"empty":         {net, func(t *testing.T, src, _ string) { t.Helper(); write(t, filepath.Join(src, "own/net.weights"), "") }, "net.weights is empty"},
		"other classes": {strings.Replace(net, "classes: two", "classes: coco80", 1), nil, "own/net.cfg tells 2 classes apart, the catalogue names 80"},
		"another digest": {strings.Replace(net, "own/net.cfg", "own/net.cfg, sha256: "+digest("x"), 1), nil,
			"its SHA-256 digest is " + digest(cfg) + " and not " + digest("x")},
		"a built-in name": {strings.Replace(net, "name: net", "name: yolov4", 1), nil, "the catalogue has another model yolov4: give yours another name"},
		"a built-in file": {strings.ReplaceAll(net, "own/net.cfg", "yolov4.cfg"), func(t *testing.T, src, _ string) { t.Helper(); write(t, filepath.Join(src, "yolov4.cfg"), cfg) },
			"yolov4.cfg is a file of model yolov4"},
		"another file there": {net, func(t *testing.T, _, dir string) { t.Helper(); write(t, filepath.Join(dir, "own/net.cfg"), "other") },
			"own/net.cfg is another file: move it away"},
	} {
		t.Run(name, func(t *testing.T) {
			src, dir := t.TempDir(), filepath.Join(t.TempDir(), "models")
			write(t, filepath.Join(src, "own/net.cfg"), cfg)
			write(t, filepath.Join(src, "own/net.weights"), weights)
			if c.prepare != nil {
				c.prepare(t, src, dir)
			}
			_, err := New(dir, catalog.Builtin(), nil).Add(load(t, c.models), src)
			if err == nil || !strings.Contains(strings.NewReplacer(src, "SRC", dir, "DIR").Replace(err.Error()), c.want) {
				t.Errorf("%v\nwant %s", err, c.want)
			}
			if _, err := os.Stat(filepath.Join(dir, installed)); err == nil {
				t.Error("something was installed")
			}
		})
	}
}

func mustRemove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func TestPinHoldsAcrossProcesses(t *testing.T) {
	dir := t.TempDir()
	done := make(chan error)
	const n = 8
	for i := range n { // each with its own idea of the lock
		go func() {
			s := New(dir, catalog.Builtin(), nil)
			done <- s.Pin(string(rune('a'+i)), catalog.Pin{Size: 1, SHA256: digest("x")})
		}()
	}
	for range n {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	s := New(dir, catalog.Builtin(), nil)
	if l, err := s.Lock(); err != nil || len(l) != n {
		t.Errorf("%v, %v", l, err)
	}
	if err := s.Pin("a", catalog.Pin{Size: 1, SHA256: digest("y")}); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}
