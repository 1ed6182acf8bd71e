package gallery

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

func serve(t *testing.T, g *Gallery) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(g.Handler())
	t.Cleanup(srv.Close)
	return srv
}

func get(t *testing.T, url string) (status int, header http.Header, body string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(b)
}

// watch opens a stream; next reads one picture of it.
func watch(t *testing.T, url string) (next func() (string, error)) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	kind, params, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/x-mixed-replace" {
		t.Fatalf("content type %q (%v)", kind, err)
	}
	parts := multipart.NewReader(res.Body, params["boundary"])
	return func() (string, error) {
		p, err := parts.NextPart()
		if err != nil {
			return "", err
		}
		if got := p.Header.Get("Content-Type"); got != "image/jpeg" {
			return "", fmt.Errorf("part of type %q", got)
		}
		b, err := io.ReadAll(p)
		return string(b), err
	}
}

func TestStreamShowsEachPicture(t *testing.T) {
	g := open(t, t.TempDir(), 0)
	srv := serve(t, g)
	add(t, g, "people", "gate", 1)
	next := watch(t, srv.URL+"/v1/streams/people/gate")
	for seq := uint64(1); seq <= 5; seq++ {
		if seq > 1 {
			add(t, g, "people", "gate", seq)
		}
		if got, err := next(); err != nil || got != string(picture(seq)) {
			t.Fatalf("got %q (%v), want picture %d", got, err, seq)
		}
	}
	g.End("people")
	if got, err := next(); err == nil {
		t.Errorf("after End: %q", got)
	}
	if status, _, body := get(t, srv.URL+"/v1/streams/people/gate"); status != http.StatusNotFound || !strings.Contains(body, "no live stream") {
		t.Errorf("after End: %d %q", status, body)
	}
}

// slowWriter is a connection whose other end takes a write when it likes.
type slowWriter struct {
	header http.Header
	writes chan string
}

func (w *slowWriter) Header() http.Header { return w.header }
func (w *slowWriter) WriteHeader(int)     {}
func (w *slowWriter) Flush()              {}
func (w *slowWriter) Write(b []byte) (int, error) {
	w.writes <- string(b)
	return len(b), nil
}

// A reader that takes nothing does not hold up Add; when it reads again it
// gets the newest picture, not all it has missed.
func TestSlowReaderSkips(t *testing.T) {
	g := open(t, t.TempDir(), 0)
	add(t, g, "people", "gate", 1)
	w := &slowWriter{header: http.Header{}, writes: make(chan string)}
	served := make(chan struct{})
	go func() {
		defer close(served)
		defer close(w.writes)
		g.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/v1/streams/people/gate", nil))
	}()
	var got []string
	take := func(until uint64) {
		for b := range w.writes {
			if strings.HasPrefix(b, "\xff\xd8") {
				got = append(got, b)
			}
			if b == string(picture(until)) {
				return
			}
		}
		t.Fatalf("the stream ended before picture %d", until)
	}
	take(1)
	for seq := uint64(2); seq <= 100; seq++ { // the reader has the handler in the middle of a write
		add(t, g, "people", "gate", seq)
	}
	take(100)
	if want := []string{string(picture(1)), string(picture(100))}; !slices.Equal(got, want) {
		t.Errorf("the reader got %q, want %q", got, want)
	}
	g.End("people")
	for range w.writes {
	}
	<-served
}

func TestCloseEndsStreams(t *testing.T) {
	g := open(t, t.TempDir(), 0)
	srv := serve(t, g)
	add(t, g, "people", "gate", 1)
	next := watch(t, srv.URL+"/v1/streams/people/gate")
	if _, err := next(); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := next(); err == nil {
		t.Errorf("after Close: %q", got)
	}
}

func TestPicturesOverHTTP(t *testing.T) {
	g := open(t, t.TempDir(), 2)
	srv := serve(t, g)
	add(t, g, "people", "yard", 1)
	add(t, g, "people", "gate", 1, 2, 3)
	status, header, body := get(t, srv.URL+"/v1/pictures/people")
	if status != http.StatusOK || header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %q", status, header)
	}
	var list []Picture
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range list {
		got = append(got, fmt.Sprintf("%s %d", p.Source, p.Seq))
		status, header, jpeg := get(t, srv.URL+"/v1/pictures/people/"+p.Source+"/"+p.File)
		if status != http.StatusOK || header.Get("Content-Type") != "image/jpeg" || jpeg != string(picture(p.Seq)) || int64(len(jpeg)) != p.Bytes {
			t.Errorf("%s/%s: %d %q %q", p.Source, p.File, status, header, jpeg)
		}
	}
	if want := []string{"gate 2", "gate 3", "yard 1"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("listed %q, want %q", got, want)
	}
	if _, _, body := get(t, srv.URL+"/v1/pictures/nothing"); body != "[]" {
		t.Errorf("a workflow without pictures: %q, want []", body)
	}
}

func TestBadRequests(t *testing.T) {
	g := open(t, t.TempDir(), 2)
	srv := serve(t, g)
	add(t, g, "people", "gate", 1)
	for path, want := range map[string]int{
		"/v1/streams/people/yard":                                      http.StatusNotFound,
		"/v1/streams/People/gate":                                      http.StatusBadRequest,
		"/v1/streams/%2e%2e/gate":                                      http.StatusBadRequest,
		"/v1/pictures/a.b":                                             http.StatusBadRequest,
		"/v1/pictures/people/gate/notes.txt":                           http.StatusBadRequest,
		"/v1/pictures/people/gate/..%2f..%2fetc":                       http.StatusBadRequest,
		"/v1/pictures/people/%2e%2e/" + fileName(time.Unix(0, 0), 1):   http.StatusBadRequest,
		"/v1/pictures/people/gate/" + fileName(time.Unix(0, 0), 1):     http.StatusNotFound,
		"/v1/pictures/nothing/gate/" + fileName(time.Unix(0, 0), 1):    http.StatusNotFound,
		"/v1/pictures/people/gate/" + fileName(time.Unix(0, 0), 1)[1:]: http.StatusBadRequest,
	} {
		if status, _, body := get(t, srv.URL+path); status != want {
			t.Errorf("%s: %d %q, want %d", path, status, body, want)
		}
	}
	res, err := http.Post(srv.URL+"/v1/streams/people/gate", "image/jpeg", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", res.StatusCode)
	}
}

func TestPageListsLiveStreams(t *testing.T) {
	g := open(t, t.TempDir(), 2)
	srv := serve(t, g)
	if _, _, body := get(t, srv.URL+"/v1/streams"); !strings.Contains(body, "No workflow draws pictures") {
		t.Errorf("empty page: %s", body)
	}
	add(t, g, "people", "gate", 1)
	add(t, g, "cars", "yard", 1)
	g.End("cars")
	_, header, body := get(t, srv.URL+"/v1/streams")
	if !strings.Contains(body, `<img src="streams/people/gate"`) || strings.Contains(body, "yard") {
		t.Errorf("page: %s", body)
	}
	if got := header.Get("Content-Type"); got != "text/html; charset=utf-8" {
		t.Errorf("content type %q", got)
	}
	res, err := http.Head(srv.URL + "/v1/streams/people/gate")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("HEAD of a stream: %d", res.StatusCode)
	}
}
