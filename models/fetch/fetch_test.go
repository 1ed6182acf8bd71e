package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/models/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// content is a file of some kilobytes.
func content(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = r.Read(b)
	return b
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func fileOf(b []byte) catalog.File {
	return catalog.File{Role: catalog.RoleWeights, Name: "d/net.weights", Size: int64(len(b)), SHA256: digestOf(b)}
}

// origin is a real HTTP server with one file, and the faults that it is told to
// make: one for each request, in turn, and then none.
type originServer struct {
	*httptest.Server
	t      *testing.T
	mu     sync.Mutex
	data   []byte
	etag   string
	faults []func(http.ResponseWriter, *http.Request) // nil: none
	asked  []http.Header
}

func serve(t *testing.T, data []byte, faults ...func(http.ResponseWriter, *http.Request)) *originServer {
	t.Helper()
	o := &originServer{t: t, data: data, etag: `"` + digestOf(data)[:8] + `"`, faults: faults}
	o.Server = httptest.NewServer(o)
	t.Cleanup(o.Close)
	return o
}

func (o *originServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.asked = append(o.asked, r.Header.Clone())
	var fault func(http.ResponseWriter, *http.Request)
	if len(o.faults) > 0 {
		fault, o.faults = o.faults[0], o.faults[1:]
	}
	data, etag := o.data, o.etag
	o.mu.Unlock()
	if fault != nil {
		fault(w, r)
		return
	}
	w.Header().Set("ETag", etag)
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

func (o *originServer) source() Source { return Source{URL: o.URL + "/net.weights"} }

func (o *originServer) requests() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.asked)
}

func status(code int, header ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

// cut sends n bytes of the data and breaks the connection off.
func cut(data []byte, n int, etag string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		if etag != "" {
			w.Header().Set("ETag", etag)
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		_, _ = w.Write(data[:n])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// sends answers 200 with other bytes than the file's, and no length.
func sends(data []byte) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		_ = http.NewResponseController(w).Flush()
		_, _ = w.Write(data)
	}
}

// stall sends a little and then nothing.
func stall(data []byte, n int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		_, _ = w.Write(data[:n])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

func fetcher(t *testing.T) *Fetcher {
	t.Helper()
	c := NewClient()
	t.Cleanup(c.CloseIdleConnections)
	return &Fetcher{HTTP: c, Pause: time.Millisecond, Stall: 2 * time.Second, Log: slog.New(slog.DiscardHandler)}
}

func newStore(t *testing.T) *store.Store {
	t.Helper()
	return store.New(filepath.Join(t.TempDir(), "models"), catalog.Builtin(), nil)
}

// files are those in the store, hidden ones included.
func files(t *testing.T, s *store.Store) []string {
	t.Helper()
	var out []string
	err := fs.WalkDir(os.DirFS(s.Path()), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == ".locks" {
			return fs.SkipDir
		}
		if err == nil && !d.IsDir() {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestFetch(t *testing.T) {
	data, other := content(1, 300_000), content(2, 300_000)
	flipped := slices.Clone(data)
	flipped[200_000] ^= 1
	etag := `"` + digestOf(data)[:8] + `"`
	type handlers = []func(http.ResponseWriter, *http.Request)
	for name, c := range map[string]struct {
		first    handlers // faults of the first source
		alone    bool     // there is no second
		requests int      // of the first
		want     string   // error; empty: none
		resumes  bool     // the last request to the first asked for a part
	}{
		"all is well":                        {nil, true, 1, "", false},
		"404, and another has it":            {handlers{status(404)}, false, 1, "", false},
		"404":                                {handlers{status(404)}, true, 1, "404 Not Found", false},
		"busy, then well":                    {handlers{status(503, "Retry-After", "0"), status(429)}, true, 3, "", false},
		"always busy":                        {handlers{status(503), status(503), status(503), status(503)}, true, 3, "503 Service Unavailable", false},
		"cut in the middle":                  {handlers{cut(data, 150_000, etag)}, true, 2, "", true},
		"cut again and again":                {handlers{cut(data, 10, etag), cut(data, 10, etag), cut(data, 10, etag), nil}, true, 3, "the connection broke off", true},
		"cut, and no Range is known":         {handlers{cut(data, 150_000, etag), sends(data)}, true, 2, "", true},
		"cut, then another part":             {handlers{cut(data, 150_000, etag), status(206, "Content-Range", "bytes 5-9/300000")}, true, 3, "", false},
		"cut, then 416":                      {handlers{cut(data, 150_000, etag), status(416)}, true, 3, "", false},
		"truncated, and called whole":        {handlers{sends(data[:100])}, true, 2, "", true},
		"of another size":                    {handlers{cut(data[:100], 100, "")}, true, 1, "it has 100 bytes there and not 300000", false},
		"wrong digest":                       {handlers{sends(flipped)}, true, 1, "its SHA-256 digest is " + digestOf(flipped) + " and not " + digestOf(data), false},
		"wrong digest, and another has it":   {handlers{sends(flipped)}, false, 1, "", false},
		"larger than it has to be":           {handlers{sends(append(slices.Clone(data), other...))}, true, 1, "it sends more than the file has", false},
		"larger, and another has it":         {handlers{sends(append(slices.Clone(data), 1))}, false, 1, "", false},
		"a web page":                         {handlers{status(200, "Content-Type", "text/html; charset=utf-8")}, true, 1, "it answers 200 OK with a web page", false},
		"stalls":                             {handlers{stall(data, 1000), stall(data, 1000), stall(data, 1000)}, true, 3, "it sends too slowly", true},
		"stalls, and another has it":         {handlers{stall(data, 1000), stall(data, 1000), stall(data, 1000)}, false, 3, "", true},
		"a redirection that goes in circles": {handlers{}, true, 0, "more than ten redirections", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first := serve(t, data, c.first...)
			from := []Source{first.source()}
			if c.requests == 0 {
				round := httptest.NewServer(http.RedirectHandler("/", http.StatusFound))
				t.Cleanup(round.Close)
				from = []Source{{URL: round.URL}}
			}
			if !c.alone {
				from = append(from, serve(t, data).source())
			}
			s, f := newStore(t), fetcher(t)
			f.Stall = 50 * time.Millisecond
			if !strings.Contains(name, "stalls") {
				f.Stall = time.Minute
			}
			want := fileOf(data)
			pin, err := f.Fetch(t.Context(), s, want, from)
			if c.want != "" {
				if !errors.Is(err, ErrNotFetched) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), from[0].URL) {
					t.Errorf("%v, want %q", err, c.want)
				}
				if slices.Contains(files(t, s), want.Name) {
					t.Error("a file has its name that is not whole")
				}
			} else if err != nil {
				t.Fatal(err)
			} else if b, err := os.ReadFile(filepath.Join(s.Path(), want.Name)); err != nil || !bytes.Equal(b, data) || pin.SHA256 != want.SHA256 {
				t.Errorf("%d bytes, %v, %+v", len(b), err, pin)
			} else if got := files(t, s); !slices.Equal(got, []string{want.Name}) {
				t.Errorf("left behind: %v", got)
			}
			if c.requests > 0 && first.requests() != c.requests {
				t.Errorf("it was asked %d times, want %d", first.requests(), c.requests)
			}
			if c.requests > 0 {
				if got := first.asked[len(first.asked)-1].Get("Range") != ""; got != c.resumes {
					t.Errorf("the last request asks for a part: %v", got)
				}
			}
		})
	}
}

// Another run goes on where the one before was ended, and with what the same
// server still has.
func TestFetchResumesAnotherRun(t *testing.T) {
	data := content(1, 300_000)
	want := fileOf(data)
	// half has a fetch be ended by its caller in the middle.
	half := func(t *testing.T, o *originServer, s *store.Store) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		f := fetcher(t)
		f.Progress = func(catalog.File, int64, int64) { cancel() }
		o.faults = append(o.faults, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", o.etag)
			w.Header().Set("Content-Length", strconv.Itoa(len(data)))
			for i := 0; i < 150_000; i += 1000 {
				_, _ = w.Write(data[i : i+1000])
				_ = http.NewResponseController(w).Flush()
				select { // progress is told after a moment
				case <-time.After(2 * time.Millisecond):
				case <-r.Context().Done():
					return
				}
			}
			<-r.Context().Done()
		})
		if _, err := f.Fetch(ctx, s, want, []Source{o.source()}); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		change func(o *originServer)
		status int // of the last answer: 206 if it went on
		digest bool
	}{
		"the same":           {func(*originServer) {}, 206, true},
		"changed meanwhile":  {func(o *originServer) { o.etag = `"other"` }, 200, true},
		"nothing to go by":   {func(*originServer) {}, 200, false},
		"another server":     {nil, 206, true},
		"weak ETag, no date": {func(o *originServer) { o.etag = `W/"x"` }, 200, true},
	} {
		t.Run(name, func(t *testing.T) {
			o, s := serve(t, data), newStore(t)
			if name == "weak ETag, no date" {
				o.etag = `W/"x"`
			}
			want := want
			half(t, o, s)
			from := o
			if c.change == nil {
				from = serve(t, data)
			} else {
				c.change(o)
			}
			if !c.digest {
				want.SHA256, want.Size = "", 0
			}
			if _, err := fetcher(t).Fetch(t.Context(), s, want, []Source{from.source()}); err != nil {
				t.Fatal(err)
			}
			last := from.asked[len(from.asked)-1]
			ranged := last.Get("Range") != ""
			went := ranged && (last.Get("If-Range") == "" || last.Get("If-Range") == from.etag)
			if name == "weak ETag, no date" {
				went = false // whether it goes on is up to the digest alone
				if !ranged || last.Get("If-Range") != "" {
					t.Errorf("asked for %v", last)
				}
			}
			if went != (c.status == 206) && name != "weak ETag, no date" {
				t.Errorf("asked for %v", last)
			}
			if b, err := os.ReadFile(filepath.Join(s.Path(), want.Name)); err != nil || !bytes.Equal(b, data) {
				t.Errorf("%d bytes, %v", len(b), err)
			}
		})
	}
}

// What another run left is not what it should be: all is fetched anew.
func TestFetchDropsWhatDoesNotFit(t *testing.T) {
	data := content(1, 300_000)
	want := fileOf(data)
	for name, left := range map[string][]byte{
		"other bytes": content(3, 150_000), "as many other bytes": content(3, len(data)), "more bytes": content(3, len(data)+1),
	} {
		o, s := serve(t, data), newStore(t)
		if err := os.MkdirAll(filepath.Join(s.Path(), "d"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.Path(), "d", ".net.weights.part"), left, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.Path(), "d", ".net.weights.part.from"), []byte(`{"url":"http://elsewhere"}`), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := fetcher(t).Fetch(t.Context(), s, want, []Source{o.source()}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Check(want); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A file without a known digest is what it was the first time.
func TestFetchPinsOnFirstUse(t *testing.T) {
	first, second := content(1, 5000), content(2, 5000)
	want := catalog.File{Role: catalog.RoleModel, Name: "own.onnx"}
	o, s := serve(t, first), newStore(t)
	pin, err := fetcher(t).Fetch(t.Context(), s, want, []Source{o.source()})
	if err != nil || pin.SHA256 != digestOf(first) || pin.From != o.source().URL {
		t.Fatalf("%+v, %v", pin, err)
	}
	if l, err := s.Lock(); err != nil || l["own.onnx"] != pin {
		t.Errorf("locked %+v, %v", l, err)
	}
	if err := os.Remove(filepath.Join(s.Path(), "own.onnx")); err != nil {
		t.Fatal(err)
	}
	o.data = second
	_, err = fetcher(t).Fetch(t.Context(), s, want, []Source{o.source()})
	if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "it was "+digestOf(first)+" at first") || slices.Contains(files(t, s), "own.onnx") {
		t.Errorf("another file: %v, %v", err, files(t, s))
	}
	o.data = first
	if _, err = fetcher(t).Fetch(t.Context(), s, want, []Source{o.source()}); err != nil {
		t.Error(err)
	}
	t.Run("no end in sight", func(t *testing.T) {
		f := fetcher(t)
		f.Most = 1000
		if _, err := f.Fetch(t.Context(), newStore(t), want, []Source{serve(t, nil, sends(first)).source()}); !errors.Is(err, ErrTooLarge) {
			t.Error(err)
		}
	})
	t.Run("no length, and the connection ends", func(t *testing.T) {
		o := serve(t, first, func(w http.ResponseWriter, _ *http.Request) {
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			fmt.Fprintf(rw, "HTTP/1.0 200 OK\r\n\r\n%s", first[:100])
			_ = rw.Flush()
			_ = c.Close()
		})
		if _, err := fetcher(t).Fetch(t.Context(), newStore(t), want, []Source{o.source()}); err == nil || !strings.Contains(err.Error(), "does not say how long") {
			t.Error(err)
		}
	})
	t.Run("cut without anything to go by", func(t *testing.T) {
		o := serve(t, first, cut(first, 1000, ""))
		if _, err := fetcher(t).Fetch(t.Context(), newStore(t), want, []Source{o.source()}); err != nil || o.asked[1].Get("Range") != "" {
			t.Error(err, o.asked)
		}
	})
}

// A server may send less than the rest that was asked for. What the whole has is
// in its answer.
func TestFetchIsNotContentWithAPart(t *testing.T) {
	data := content(1, 5000)
	o := serve(t, data)
	o.faults = []func(http.ResponseWriter, *http.Request){cut(data, 1000, o.etag), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Range", "bytes 1000-1999/5000")
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(data[1000:2000])
	}}
	pin, err := fetcher(t).Fetch(t.Context(), newStore(t), catalog.File{Role: catalog.RoleModel, Name: "own.onnx"}, []Source{o.source()})
	if err != nil || pin.SHA256 != digestOf(data) {
		t.Errorf("%d bytes are taken for all of it, %v", pin.Size, err)
	}
}

func TestFetchInTwoProcesses(t *testing.T) {
	data := content(1, 5000)
	s := newStore(t)
	other := store.New(s.Path(), catalog.Builtin(), nil)
	p, err := other.Begin(fileOf(data))
	if err != nil {
		t.Fatal(err)
	}
	o := serve(t, data)
	if _, err := fetcher(t).Fetch(t.Context(), s, fileOf(data), []Source{o.source()}); !errors.Is(err, store.ErrInUse) {
		t.Errorf("another has it: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := fetcher(t).Fetch(t.Context(), s, fileOf(data), []Source{o.source()}); err != nil {
		t.Error(err)
	}
}

func TestFetchGoesToNoPlainServerFromAProtectedOne(t *testing.T) {
	data := content(1, 5000)
	plain := serve(t, data)
	protected := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	defer protected.Close()
	c := protected.Client()
	c.CheckRedirect = noDowngrade
	defer c.CloseIdleConnections()
	_, err := fetcher(t).Fetch(t.Context(), newStore(t), fileOf(data), []Source{{URL: protected.URL, HTTP: c}})
	if err == nil || !strings.Contains(err.Error(), "which is not protected") || plain.requests() != 0 {
		t.Error(err)
	}
}

func TestFetchGoesThroughTheProxyOfTheEnvironment(t *testing.T) {
	tr := NewClient().Transport.(*http.Transport)
	if tr.Proxy == nil {
		t.Error("no proxy")
	}
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 0-9/10")
	f.Add("bytes 5-9/*")
	f.Add("bytes 0-1/-5")
	f.Fuzz(func(t *testing.T, v string) {
		first, total, ok := contentRange(v)
		if ok && (first < 0 || total < -1 || total == 0 || total > 0 && first >= total) {
			t.Errorf("%q: %d of %d", v, first, total)
		}
	})
}

// A node that leads elsewhere is passed over: it would have others ask whom it
// likes.
func TestPeersLeadNowhereElse(t *testing.T) {
	data := content(1, 1000)
	elsewhere := serve(t, data)
	peer := serve(t, data, http.RedirectHandler(elsewhere.URL+"/net.weights", http.StatusFound).ServeHTTP)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	s := peer.source()
	s.HTTP = NewPeerClient(transport)
	_, err := fetcher(t).Fetch(t.Context(), newStore(t), fileOf(data), []Source{s})
	if !errors.Is(err, ErrNotFetched) || !strings.Contains(err.Error(), "302 Found") || elsewhere.requests() != 0 {
		t.Errorf("%v, %d requests elsewhere", err, elsewhere.requests())
	}
}
