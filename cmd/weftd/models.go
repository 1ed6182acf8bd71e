package main

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/weft-mesh/weft/agent/library"
	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/models/fetch"
	"github.com/weft-mesh/weft/models/store"
	"github.com/weft-mesh/weft/tiering"
)

// holders says where the nodes that have a model hand out its files:
// coordinators at their API, others where they show pictures, if others than
// this machine reach them there.
func (n *node) holders(self string, id *pki.Identity) func(model, digest string) []fetch.Source {
	// What comes is compared with its digest, so it does not matter of which
	// node it is.
	ask := func(role pki.Role) *http.Client {
		return fetch.NewPeerClient(api.NewTransport(id.ClientTLS(role), id.Peers(), nil))
	}
	coordinator, agent := ask(pki.Coordinator), ask(pki.Agent)
	n.close = append(n.close, func() error { coordinator.CloseIdleConnections(); agent.CloseIdleConnections(); return nil })
	return func(model, digest string) []fetch.Source {
		var out []fetch.Source
		for _, m := range n.gossip.Members() {
			if m.Status == tiering.NodeAlive && m.Node.ID != self && m.Node.HasModel(model) && m.Node.HandsOut() {
				s := fetch.Source{URL: "https://" + m.Node.Addresses.API + fetch.BlobPath + "sha256:" + digest, HTTP: coordinator, Name: m.Node.ID}
				if m.Node.Addresses.API == "" {
					s.URL, s.HTTP = strings.TrimSuffix(m.Node.Addresses.HTTP, "/")+fetch.BlobPath+"sha256:"+digest, agent
				}
				out = append(out, s)
			}
		}
		return out
	}
}

// models are the names of models that this node has heard of: a coordinator also
// knows those of workflows, which another may have taken.
func (n *node) models(books *library.Library) []string {
	out := books.Known()
	if n.coord != nil {
		for _, w := range n.coord.Snapshot().Workflows() {
			for _, spec := range w.Specs() {
				out = append(out, spec.Models()...)
			}
		}
	}
	return out
}

// blobs are files of models, by digest.
type blobs interface {
	Blob(digest string) (io.ReadSeekCloser, int64, error)
}

// atATime bounds the files that are handed out at a time: they go over the links
// that frames go over.
const atATime = 4

// handOut hands out files of models.
func handOut(models blobs) http.Handler {
	places := make(chan struct{}, atATime)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			w.Header().Set("Retry-After", "5")
			http.Error(w, "too many files are handed out already: ask another node", http.StatusServiceUnavailable)
			return
		}
		hex, ok := fetch.ParseDigest(r.PathValue("digest"))
		if !ok {
			http.Error(w, "use sha256: and 64 lower-case hexadecimal digits", http.StatusBadRequest)
			return
		}
		f, _, err := models.Blob(hex)
		switch {
		case errors.Is(err, store.ErrMissing):
			http.Error(w, "no model's file with that digest is here", http.StatusNotFound)
			return
		case err != nil:
			http.Error(w, "it cannot be read", http.StatusInternalServerError)
			return
		}
		defer f.Close()
		fetch.Serve(w, r, hex, f)
	})
}
