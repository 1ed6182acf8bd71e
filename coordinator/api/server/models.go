package server

import (
	"errors"
	"io"
	"net/http"
	"slices"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/planner"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/models/fetch"
	"github.com/weft-mesh/weft/models/store"
)

// Library is the models of this node.
type Library interface {
	// Catalogue is what is known of models now, with the digests that are known
	// here.
	Catalogue() *catalog.Catalog
	// Blob opens the file of the catalogue that has a digest, in hexadecimal;
	// store.ErrMissing if it is not here.
	Blob(digest string) (file io.ReadSeekCloser, size int64, err error)
}

// catalogue is what is known of models here.
func (s *Server) catalogue() *catalog.Catalog {
	if s.cfg.Library != nil {
		return s.cfg.Library.Catalogue()
	}
	return s.cfg.Catalogue
}

func (s *Server) getModels(w http.ResponseWriter, _ *http.Request) error {
	snap := s.control.Snapshot()
	awaited := map[string][]string{} // nodes by model
	for _, n := range snap.Nodes() {
		for _, name := range planner.Wanted(snap, n.ID) {
			if n.Alive() && !n.HasModel(name) {
				awaited[name] = append(awaited[name], n.ID)
			}
		}
	}
	out := []api.Model{}
	for _, m := range s.catalogue().Models() {
		one := api.Model{Model: m, Nodes: []string{}, Awaited: awaited[m.Name]}
		for _, n := range snap.Nodes() {
			if n.Alive() && n.HasModel(m.Name) {
				one.Nodes = append(one.Nodes, n.ID)
			}
		}
		out = append(out, one)
	}
	return s.reply(w, http.StatusOK, out)
}

// wanted are the models that a node is to have, of those whose files can be
// asked for: their digests are known here.
func (s *Server) wanted(snap *state.Snapshot, node string) []catalog.Model {
	var out []catalog.Model
	known := s.catalogue()
	for _, name := range planner.Wanted(snap, node) {
		m, ok := known.Lookup(name)
		if ok && !slices.ContainsFunc(m.Files, func(f catalog.File) bool { return f.SHA256 == "" }) {
			out = append(out, *m)
		}
	}
	return out
}

// getBlob hands out a model's file. A few at a time, since it goes over the
// links that frames go over.
func (s *Server) getBlob(w http.ResponseWriter, r *http.Request) error {
	digest, ok := fetch.ParseDigest(r.PathValue("digest"))
	if !ok {
		return invalid("%q is no digest: use sha256: and 64 lower-case hexadecimal digits", bounded(r.PathValue("digest")))
	}
	if s.cfg.Library == nil {
		return notFound("this coordinator has no models")
	}
	release, err := s.blobs.take(callerOf(r).name)
	if err != nil {
		return err
	}
	defer release()
	file, _, err := s.cfg.Library.Blob(digest)
	if errors.Is(err, store.ErrMissing) {
		return notFound("no model's file with the digest sha256:%s is here", digest)
	} else if err != nil {
		return err
	}
	defer file.Close()
	fetch.Serve(w, r, digest, file)
	return nil
}
