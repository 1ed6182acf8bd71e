package gallery

import (
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"time"

	"github.com/weft-mesh/weft/internal/dnslabel"
)

// writeTimeout is how long a reader may take for one picture of a stream.
const writeTimeout = 10 * time.Second

// boundary separates the pictures of a stream. JPEG data can't contain it:
// readers go by Content-Length anyway.
const boundary = "weft-picture"

// Handler serves, for GET and HEAD:
//
//	/v1/streams                              HTML page of the live streams
//	/v1/streams/{workflow}/{source}          Motion JPEG (multipart/x-mixed-replace)
//	/v1/pictures/{workflow}                  JSON list of Picture
//	/v1/pictures/{workflow}/{source}/{file}  one JPEG
func (g *Gallery) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/streams", g.servePage)
	mux.HandleFunc("GET /v1/streams/{workflow}/{source}", g.serveStream)
	mux.HandleFunc("GET /v1/pictures/{workflow}", g.serveList)
	mux.HandleFunc("GET /v1/pictures/{workflow}/{source}/{file}", g.servePicture)
	return mux
}

// serveStream sends the newest picture, then each time the one that is newest
// when the reader has taken the one before.
func (g *Gallery) serveStream(w http.ResponseWriter, r *http.Request) {
	k := key{r.PathValue("workflow"), r.PathValue("source")}
	if err := k.check(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	g.mu.Lock()
	s := g.streams[k]
	g.mu.Unlock()
	if s == nil || !s.live() {
		msg := fmt.Sprintf("no live stream of workflow %q, source %q on this node; /v1/streams lists those there are", k.workflow, k.source)
		http.Error(w, msg, http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "multipart/x-mixed-replace; boundary="+boundary)
	h.Set("Cache-Control", "no-store")
	if r.Method == http.MethodHead {
		return
	}
	if _, err := io.WriteString(w, "--"+boundary+"\r\n"); err != nil {
		return
	}
	control := http.NewResponseController(w)
	for {
		jpeg, changed := s.latest()
		if jpeg == nil {
			return
		}
		// Where the server has no deadlines (a test's recorder), there is no
		// connection that could hang either.
		if err := control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return
		}
		if err := writePart(w, jpeg); err != nil {
			return
		}
		if err := control.Flush(); err != nil {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-g.done:
			return
		}
	}
}

// writePart sends one picture and the boundary that ends it: some browsers show
// a part only once they have seen its end.
func writePart(w io.Writer, jpeg []byte) error {
	if _, err := fmt.Fprintf(w, "Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n", len(jpeg)); err != nil {
		return err
	}
	if _, err := w.Write(jpeg); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\r\n--"+boundary+"\r\n")
	return err
}

func (g *Gallery) serveList(w http.ResponseWriter, r *http.Request) {
	workflow := r.PathValue("workflow")
	if !dnslabel.Valid(workflow) {
		http.Error(w, fmt.Sprintf("gallery: workflow %q: %v", workflow, ErrName), http.StatusBadRequest)
		return
	}
	body, err := json.Marshal(g.Pictures(workflow))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(body) // the client's loss
}

func (g *Gallery) servePicture(w http.ResponseWriter, r *http.Request) {
	k, name := key{r.PathValue("workflow"), r.PathValue("source")}, r.PathValue("file")
	if err := k.check(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	at, _, ok := parseName(name)
	if !ok {
		http.Error(w, fmt.Sprintf("gallery: %q is no name of a picture; /v1/pictures/%s lists them", name, k.workflow), http.StatusBadRequest)
		return
	}
	f, err := g.root.Open(path.Join(k.workflow, k.source, name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		http.Error(w, "gallery: no such picture; it may have been replaced by a newer one", http.StatusNotFound)
		return
	case err != nil:
		http.Error(w, "gallery: the picture cannot be read", http.StatusInternalServerError)
		g.log.Warn("cannot serve a picture", "workflow", k.workflow, "source", k.source, "file", name, "err", err)
		return
	}
	defer f.Close()
	h := w.Header()
	h.Set("Content-Type", "image/jpeg")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "max-age=86400, immutable") // a name is never used twice
	http.ServeContent(w, r, name, at, f)
}

// page links relatively, so that it works behind a proxy's path too.
var page = template.Must(template.New("streams").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Weft: live streams</title><style>
body{font:16px system-ui,sans-serif;margin:2rem;background:#111;color:#eee}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(22rem,1fr));gap:1rem}
figure{margin:0}img{width:100%;display:block}figcaption{padding:.3rem 0}
</style></head><body><h1>Live streams</h1><main>
{{- range .}}
<figure><img src="streams/{{.Workflow}}/{{.Source}}" alt="{{.Workflow}}, {{.Source}}"><figcaption>{{.Workflow}} / {{.Source}}</figcaption></figure>
{{- else}}
<p>No workflow draws pictures on this node at present.</p>
{{- end}}
</main></body></html>
`))

func (g *Gallery) servePage(w http.ResponseWriter, r *http.Request) {
	type live struct{ Workflow, Source string }
	var streams []live
	for _, k := range g.keys() {
		g.mu.Lock()
		s := g.streams[k]
		g.mu.Unlock()
		if s.live() {
			streams = append(streams, live{k.workflow, k.source})
		}
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'")
	h.Set("Cache-Control", "no-store")
	if err := page.Execute(w, streams); err != nil {
		g.log.Debug("cannot send the page of streams", "err", err)
	}
}
