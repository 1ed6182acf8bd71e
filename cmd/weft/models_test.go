package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/models/catalog"
)

// site is a real web server with the files of a catalogue, which it also is: a
// detector whose digests are known, and one of which nobody knows any.
type site struct {
	*httptest.Server
	files     map[string][]byte
	catalogue string       // path
	cut       atomic.Int64 // so many requests are cut in the middle
	served    atomic.Int64 // bytes
	asked     chan http.Header
}

const netConfig = "[net]\nchannels=3\n[convolutional]\nfilters=255\nsize=1\n[yolo]\nmask=0,1,2\nclasses=80\nnum=3\n"

func startSite(t *testing.T) *site {
	t.Helper()
	noise := make([]byte, 4*(255+255*3))
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	s := &site{asked: make(chan http.Header, 100), files: map[string][]byte{
		"net.cfg":     []byte(netConfig),
		"net.weights": append([]byte("\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), noise...),
		"odd.onnx":    []byte("what it is"),
	}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked <- r.Header
		b, ok := s.files[strings.TrimPrefix(r.URL.Path, "/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("ETag", fmt.Sprintf("%q", digest(b)))
		if s.cut.Add(-1) >= 0 {
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
			n, _ := w.Write(b[:len(b)/2])
			s.served.Add(int64(n))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		_, _ = f.Write(b)
		info, _ := f.Stat()
		http.ServeContent(w, r, "", info.ModTime(), f)
	}))
	t.Cleanup(s.Close)
	s.catalogue = filepath.Join(t.TempDir(), "site.yaml")
	file := func(role, name string) string {
		return fmt.Sprintf("{role: %s, name: %s, size: %d, sha256: %s, urls: [\"%s/gone\", \"%s/%s\"]}", role, name, len(s.files[name]), digest(s.files[name]), s.URL, s.URL, name)
	}
	text := "apiVersion: weft/v1\nkind: Catalogue\nmodels:\n" +
		"  - {name: net, format: darknet, files: [" + file("config", "net.cfg") + ", " + file("weights", "net.weights") + "], resolutions: [320, 416], fit: stretch, classes: coco80,\n" +
		"     licence: MIT, accuracy: [{metric: AP50, value: 0.25, resolution: 320, dataset: COCO, source: me}]}\n" +
		"  - {name: odd, format: onnx, files: [{role: model, name: odd.onnx, urls: [\"" + s.URL + "/odd.onnx\"]}], resolutions: [416], fit: letterbox, classes: coco80}\n" +
		"  - {name: lost, format: onnx, files: [{role: model, name: lost.onnx, size: 3, urls: [\"" + s.URL + "/lost.onnx\"]}], resolutions: [416], fit: letterbox, classes: coco80}\n" +
		"  - {name: nowhere, format: onnx, files: [{role: model, name: nowhere.onnx}], resolutions: [416], fit: letterbox, classes: coco80, source: a friend}\n"
	if err := os.WriteFile(s.catalogue, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func TestModelsPullVerifyList(t *testing.T) {
	s, dir := startSite(t), filepath.Join(t.TempDir(), "models")
	models := func(args ...string) called {
		t.Helper()
		return weft(t, "", append(append([]string{"models"}, args...), "--dir", dir, "--catalogue", s.catalogue)...)
	}
	models("verify").want(t, exitOK, "")
	models("pull", "nett").want(t, exitUsage, "there is no model nett; known are hog-people, lost, mobilenetv2")
	models("pull").want(t, exitUsage, "usage: weft models pull NAME…")
	models("pull", "hog-people").want(t, exitOK, "hog-people needs no files")

	c := models("pull", "net").want(t, exitOK, "net.weights  4.004 KiB, fetched and verified")
	if c.out != "" {
		t.Errorf("printed %q", c.out)
	}
	before := len(s.asked)
	got := decode[[]pulled](t, models("pull", "net", "-o", "json").want(t, exitOK, "is there"))
	if len(got) != 2 || got[0].Fetched || got[1].SHA256 != digest(s.files["net.weights"]) || len(s.asked) != before {
		t.Errorf("pulled again: %+v", got)
	}
	if c := models("verify").want(t, exitOK, ""); !regexp.MustCompile(`(?m)^net +net\.weights +ok$`).MatchString(c.out) {
		t.Errorf("verified: %s", c.out)
	}

	// One that is damaged is told, and mended by another pull.
	if err := os.WriteFile(filepath.Join(dir, "net.weights"), make([]byte, len(s.files["net.weights"])), 0o600); err != nil {
		t.Fatal(err)
	}
	c = models("verify", "net", "-o", "json").want(t, exitFailure, "`weft models pull net --dir "+dir+"` gets what is missing or damaged")
	if files := decode[[]checkedFile](t, c); len(files) != 2 || files[0].State != "ok" || files[1].State != "damaged" {
		t.Errorf("verified: %+v", files)
	}
	s.cut.Store(2) // the file at the first URL is gone, the second is cut
	models("pull", "net").want(t, exitOK, "fetched and verified")
	models("verify", "net").want(t, exitOK, "")

	// Trusted the first time, and held to it.
	pull := decode[[]pulled](t, models("pull", "odd", "-o", "json").want(t, exitOK, "no digest of it was known: pinned to sha256:"+digest([]byte("what it is"))))
	if len(pull) != 1 || !pull[0].Pinned || !pull[0].Fetched {
		t.Errorf("pulled %+v", pull)
	}
	s.files["odd.onnx"] = []byte("another")
	if err := os.Remove(filepath.Join(dir, "odd.onnx")); err != nil {
		t.Fatal(err)
	}
	models("verify", "odd").want(t, exitFailure, "")
	models("pull", "odd").want(t, exitFailure, "it has 7 bytes there and not 10")

	// What somebody put there is taken for what it is, and not replaced.
	mine := filepath.Join(dir, "lost.onnx")
	if err := os.WriteFile(mine, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	models("pull", "lost").want(t, exitFailure, "it was written to 0s ago")
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(mine, long, long); err != nil {
		t.Fatal(err)
	}
	pull = decode[[]pulled](t, models("pull", "lost", "-o", "json").want(t, exitOK, "is there; no digest of it was known: pinned to sha256:"+digest([]byte("abc"))))
	if len(pull) != 1 || !pull[0].Pinned || pull[0].Fetched || pull[0].Size != 3 {
		t.Errorf("pulled %+v", pull)
	}
	if err := errors.Join(os.Remove(mine), os.Remove(filepath.Join(dir, catalog.LockFile))); err != nil {
		t.Fatal(err)
	}

	models("pull", "lost", "nowhere").want(t, exitFailure, "model lost: cannot get the file lost.onnx: "+s.URL+"/lost.onnx: 404 Not Found\nmodel nowhere: nowhere.onnx: the catalogue does not say where to get it; its source is a friend")

	// No mesh is configured: what is here.
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("WEFT_CONFIG", "")
	all := decode[[]listedModel](t, models("list", "-o", "json").want(t, exitOK, ""))
	here := map[string]string{}
	for _, m := range all {
		here[m.Name] = m.Here
	}
	if here["net"] != "yes" || here["odd"] != "no" || here["hog-people"] != "needs none" || here["yolov4"] != "no" {
		t.Errorf("here: %v", here)
	}
	if c := models("list").want(t, exitOK, ""); !strings.Contains(c.out, "AP50 25.0 % at 320, COCO") || strings.Contains(c.out, "NODES") {
		t.Errorf("listed:\n%s", c.out)
	}
	// A mesh that does not answer is no reason to show nothing.
	f := startFake(t)
	f.fail("GET /v1/models", api.Error{Status: 503, Code: api.CodeNoLeader, Detail: "nobody leads"})
	c = weft(t, f.config, "models", "list", "--dir", dir).want(t, exitOK, "warning: nothing is known of the mesh: weft: nobody leads")
	if !strings.Contains(c.out, "yolov4-tiny") {
		t.Errorf("listed:\n%s", c.out)
	}
}

func TestModelsAdd(t *testing.T) {
	s, dir, src := startSite(t), filepath.Join(t.TempDir(), "models"), t.TempDir()
	mine := filepath.Join(src, "mine.yaml")
	for name, b := range map[string][]byte{
		"my.cfg": s.files["net.cfg"], "my.weights": s.files["net.weights"],
		"mine.yaml": []byte("apiVersion: weft/v1\nkind: Catalogue\nmodels:\n  - {name: mine, format: darknet, files: [{role: config, name: my.cfg}, {role: weights, name: my.weights}], resolutions: [320], fit: stretch, classes: coco80}\n"),
		"bad.yaml":  []byte("apiVersion: weft/v1\nkind: Catalogue\nmodels: [{name: X}]\n"),
	} {
		if err := os.WriteFile(filepath.Join(src, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	weft(t, "", "models", "add", filepath.Join(src, "bad.yaml"), "--dir", dir).want(t, exitUsage, `bad.yaml:3:10: models[0]: missing key "format"`)
	weft(t, "", "models", "add", filepath.Join(src, "none.yaml"), "--dir", dir).want(t, exitFailure, "no such file")
	added := decode[[]catalog.Model](t, weft(t, "", "models", "add", mine, "--dir", dir, "-o", "json").want(t, exitOK, ""))
	if len(added) != 1 || added[0].Files[1].SHA256 != digest(s.files["net.weights"]) {
		t.Errorf("added %+v", added)
	}
	weft(t, "", "models", "verify", "mine", "--dir", dir).want(t, exitOK, "")
	if err := os.WriteFile(filepath.Join(src, "my.weights"), s.files["net.weights"][1:], 0o600); err != nil {
		t.Fatal(err)
	}
	weft(t, "", "models", "add", mine, "--dir", filepath.Join(t.TempDir(), "other")).want(t, exitFailure, "my.weights has 4099 bytes, but its config needs 4100")
}
