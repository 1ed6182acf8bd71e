package library

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/models/fetch"
	"github.com/weft-mesh/weft/models/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("gave up waiting: %s", what)
		}
	}
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// model is one of a file, as a coordinator tells of it.
func model(name string, data []byte) catalog.Model {
	return catalog.Model{
		Name: name, Family: name, Format: catalog.ONNX, Resolutions: []int{416}, Classes: []string{"cat", "dog"}, Fit: "stretch", Confidence: 0.25, NMS: 0.45,
		Files: []catalog.File{{Role: catalog.RoleModel, Name: "own/" + name + ".onnx", Size: int64(len(data)), SHA256: digest(data)}},
	}
}

// node hands out files by digest, as nodes do, or makes a fault.
type node struct {
	*httptest.Server
	asked atomic.Int64
	fault func(http.ResponseWriter, *http.Request) // nil: none
}

func serves(t *testing.T, data []byte, fault func(http.ResponseWriter, *http.Request)) *node {
	t.Helper()
	n := &node{fault: fault}
	n.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.asked.Add(1)
		hex, ok := fetch.ParseDigest(strings.TrimPrefix(r.URL.Path, fetch.BlobPath))
		switch {
		case n.fault != nil:
			n.fault(w, r)
		case !ok || hex != digest(data):
			http.NotFound(w, r)
		default:
			fetch.Serve(w, r, hex, bytes.NewReader(data))
		}
	}))
	t.Cleanup(n.Close)
	return n
}

// mostTold is how many models others can be told of.
const mostTold = 2

// running is a library that runs until the test ends.
type running struct {
	*Library
	dir string
	mu  sync.Mutex
	all [][]string // what others were told
}

func (r *running) told(names ...string) func() bool {
	return func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.all) > 0 && slices.Equal(r.all[len(r.all)-1], names)
	}
}

func start(t *testing.T, cfg Config, nodes func() []*node) *running {
	t.Helper()
	base, err := catalog.Load("base.yaml", []byte("apiVersion: weft/v1\nkind: Catalogue\nmodels:\n  - {name: built-in, format: hog, resolutions: [512], fit: letterbox, classes: people}\n"+
		"  - {name: unpinned, format: onnx, files: [{role: model, name: own/unpinned.onnx}], resolutions: [416], fit: stretch, classes: people}\n"+
		"  - {name: sized, format: onnx, files: [{role: model, name: own/sized.onnx, size: 999}], resolutions: [416], fit: stretch, classes: people}\n"))
	if err != nil {
		t.Fatal(err)
	}
	r := &running{dir: filepath.Join(t.TempDir(), "models")}
	client := fetch.NewClient()
	t.Cleanup(client.CloseIdleConnections)
	cfg.Store = store.New(r.dir, base, nil)
	cfg.Fetch = &fetch.Fetcher{HTTP: client, Pause: time.Millisecond, Stall: time.Second}
	cfg.Scan, cfg.Again = 20*time.Millisecond, 10*time.Millisecond
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Sources = func(_, digest string) []fetch.Source {
		var out []fetch.Source
		for _, n := range nodes() {
			out = append(out, fetch.Source{URL: n.URL + fetch.BlobPath + "sha256:" + digest})
		}
		return out
	}
	cfg.Tell = func(names []string) (int, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		told := min(len(names), mostTold)
		r.all = append(r.all, slices.Sorted(slices.Values(names[:told])))
		if told < len(names) {
			return told, errors.New("too many names")
		}
		return told, nil
	}
	if r.Library, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	if got := r.Models(); !slices.Equal(got, []string{"built-in"}) {
		t.Fatalf("at first %v", got)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

// put has a file be there, whole and for an hour.
func put(t *testing.T, path string, content []byte) {
	t.Helper()
	long := time.Now().Add(-time.Hour)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path+".new", content, 0o600),
		os.Chtimes(path+".new", long, long), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
}

func TestAModelComesOverTheMesh(t *testing.T) {
	data := noise(1, 400_000)
	m := model("cars", data)
	corrupt := slices.Clone(data)
	corrupt[399_999] ^= 1
	for name, fault := range map[string]func(http.ResponseWriter, *http.Request){
		"corrupt": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(corrupt) },
		"gone":    http.NotFound,
		"busy":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"breaks off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "400000")
			_, _ = w.Write(corrupt[:200_000])
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad, good := serves(t, data, fault), serves(t, data, nil)
			var (
				mu    sync.Mutex
				nodes = []*node{bad}
			)
			r := start(t, Config{}, func() []*node { mu.Lock(); defer mu.Unlock(); return slices.Clone(nodes) })
			r.Want([]catalog.Model{m})
			eventually(t, "it was asked in vain", func() bool { return bad.asked.Load() >= 2 })
			if _, err := os.Stat(filepath.Join(r.dir, "own/cars.onnx")); err == nil {
				t.Error("a file has its name that is not whole")
			}
			mu.Lock()
			nodes = append(nodes, good)
			mu.Unlock()
			eventually(t, "it is had", r.told("built-in", "cars"))
			// The entry is kept, and the file handed on.
			if got, ok := r.Catalogue().Lookup("cars"); !ok || !slices.Equal(got.Classes, m.Classes) {
				t.Errorf("known as %+v", got)
			}
			f, size, err := r.Blob(digest(data))
			if err != nil || size != int64(len(data)) {
				t.Fatal(size, err)
			}
			_ = f.Close()
			again, err := New(r.cfg)
			if err != nil || !slices.Contains(again.Models(), "cars") {
				t.Errorf("after a restart: %v", err)
			}
		})
	}
}

// What somebody puts there or takes away is seen.
func TestTheDirectoryIsWatched(t *testing.T) {
	r := start(t, Config{}, func() []*node { return nil })
	path := filepath.Join(r.dir, "own", "unpinned.onnx")
	write := func(text string) {
		t.Helper()
		put(t, path, []byte(text))
	}
	write("what it is")
	eventually(t, "it is seen", r.told("built-in", "unpinned"))
	if m, _ := r.Catalogue().Lookup("unpinned"); m.Files[0].SHA256 != digest([]byte("what it is")) {
		t.Errorf("pinned to %+v", m.Files[0])
	}
	write("something else")
	eventually(t, "it is another", r.told("built-in"))
	write("what it is")
	eventually(t, "it is the same again", r.told("built-in", "unpinned"))
}

// The mesh knows what a file has to be of which this node's catalogue does not.
func TestTheMeshPins(t *testing.T) {
	data := noise(1, 1000)
	good := serves(t, data, nil)
	r := start(t, Config{}, func() []*node { return []*node{good} })
	r.Want([]catalog.Model{model("unpinned", data)})
	eventually(t, "it is had", r.told("built-in", "unpinned"))
	if l, err := r.cfg.Store.Lock(); err != nil || l["own/unpinned.onnx"].SHA256 != digest(data) {
		t.Errorf("%v, %v", l, err)
	}
	// From then on another one of the name is refused.
	if err := r.fetch(t.Context(), model("unpinned", noise(2, 1000))); !errors.Is(err, errAnother) {
		t.Error(err)
	}
}

func TestWhatIsNotFetched(t *testing.T) {
	data := noise(1, 1000)
	good := serves(t, data, nil)
	r := start(t, Config{Room: func(context.Context) (int64, error) { return 256<<20 + 999, nil }}, func() []*node { return []*node{good} })
	if err := r.fetch(t.Context(), model("cars", data)); !errors.Is(err, ErrRoom) ||
		!strings.Contains(err.Error(), "256 MiB are unused, the model needs 1000 B, and 256 MiB are left alone: make room") {
		t.Error(err)
	}
	m := model("cars", data)
	m.Files[0].SHA256 = ""
	if err := r.fetch(t.Context(), m); err == nil || !strings.Contains(err.Error(), "does not know its digest") {
		t.Error(err)
	}
	for _, name := range []string{"../cars.onnx", "models.lock", "catalogue.d/x.yaml", "own/.hidden"} {
		m := model("cars", data)
		m.Files[0].Name = name
		r.cfg.Room = nil
		if err := r.fetch(t.Context(), m); err == nil || !strings.Contains(err.Error(), "is no name for a model's file") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if good.asked.Load() != 0 {
		t.Error("it was asked all the same")
	}
}

// A model of the mesh does not take the place of another one's file, however
// often it is wanted.
func TestTheFilesOfOthersStay(t *testing.T) {
	mine, theirs := noise(1, 1000), noise(2, 1000)
	good := serves(t, theirs, nil)
	r := start(t, Config{}, func() []*node { return []*node{good} })
	path := filepath.Join(r.dir, "own", "unpinned.onnx")
	put(t, path, mine)
	eventually(t, "it is seen", r.told("built-in", "unpinned"))
	m := model("cars", theirs)
	m.Files[0].Name = "own/unpinned.onnx"
	if err := r.fetch(t.Context(), m); !errors.Is(err, store.ErrConflict) || !strings.Contains(err.Error(), "own/unpinned.onnx is a file of model unpinned") {
		t.Error(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, mine) {
		t.Errorf("the file is another now, %v", err)
	}
}

// What keeps a model from being had is said, until it is had.
func TestWhyAModelIsNotHad(t *testing.T) {
	data := noise(1, 1000)
	var (
		mu    sync.Mutex
		nodes = []*node{serves(t, data, http.NotFound)}
	)
	r := start(t, Config{}, func() []*node { mu.Lock(); defer mu.Unlock(); return slices.Clone(nodes) })
	if got := r.Lacking(); len(got) != 0 {
		t.Errorf("nothing is wanted: %v", got)
	}
	r.Want([]catalog.Model{model("cars", data)})
	eventually(t, "it is said", func() bool { return strings.Contains(r.Lacking()["cars"], "404 Not Found") })
	mu.Lock()
	nodes = []*node{serves(t, data, nil)}
	mu.Unlock()
	eventually(t, "it is had", r.told("built-in", "cars"))
	eventually(t, "nothing is lacking", func() bool { return len(r.Lacking()) == 0 })

	// Where others cannot be told of all, it is of those that are wanted.
	buses, vans := noise(2, 1000), noise(3, 1000)
	mu.Lock()
	nodes = []*node{serves(t, buses, nil)}
	mu.Unlock()
	r.Want([]catalog.Model{model("cars", data), model("buses", buses)})
	eventually(t, "others hear of what is wanted", r.told("buses", "cars"))
	if got := r.Lacking(); len(got) > 0 {
		t.Errorf("others know of all that is wanted: %v", got)
	}
	r.Want([]catalog.Model{model("cars", data)})
	eventually(t, "what is wanted comes first", r.told("built-in", "cars"))

	// What is wanted and cannot be told of is here, and nobody knows.
	mu.Lock()
	nodes = []*node{serves(t, vans, nil)}
	mu.Unlock()
	r.Want([]catalog.Model{model("cars", data), model("buses", buses), model("vans", vans)})
	eventually(t, "it is said", func() bool {
		return r.Lacking()["vans"] == "others cannot be told of all models that are here: too many names"
	})
	if why, ok := r.Lacking()["cars"]; ok {
		t.Errorf("cars, which others know to be here: %s", why)
	}

	// This node's catalogue has a file of another size.
	r.Want([]catalog.Model{model("sized", data)})
	eventually(t, "it is said", func() bool { return r.Lacking()["sized"] == errAnother.Error() })
	r.Want(nil)
	eventually(t, "it is not wanted", func() bool { return len(r.Lacking()) == 0 })
}

// While a model comes slowly, or not at all, the directory is watched all the
// same; and a model that is not wanted any more is not waited for.
func TestAFetchHoldsNothingUp(t *testing.T) {
	data := noise(1, 1000)
	gone := make(chan struct{}, 100)
	slow := serves(t, data, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		gone <- struct{}{}
	})
	r := start(t, Config{}, func() []*node { return []*node{slow} })
	r.Want([]catalog.Model{model("cars", data)})
	eventually(t, "it is asked", func() bool { return slow.asked.Load() == 1 })
	path := filepath.Join(r.dir, "own", "unpinned.onnx")
	put(t, path, data)
	eventually(t, "what is put there is seen", r.told("built-in", "unpinned"))
	select {
	case <-gone:
		t.Error("it did not come while another was waited for: this test shows nothing")
	default:
	}
	r.Want(nil)
	eventually(t, "it is given up", func() bool { return len(gone) == 1 })
}
