package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/planner"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/models/fetch"
	"github.com/weft-mesh/weft/models/store"
	"github.com/weft-mesh/weft/tiering"
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
		if m, ok := known.Lookup(name); ok && s.unknown(name) == "" {
			out = append(out, *m)
		}
	}
	return out
}

// unknown says why nodes are not told to get a model, as far as it is for want of
// something here; empty: they are.
func (s *Server) unknown(model string) string {
	m, ok := s.catalogue().Lookup(model)
	if !ok {
		return fmt.Sprintf("coordinator %s has no model %s in its catalogue, so nodes do not get it; add it there with `weft models add`", s.cfg.Node, model)
	}
	for _, f := range m.Files {
		if f.SHA256 == "" {
			return fmt.Sprintf("coordinator %s knows no digest of %s, so nodes do not get it; have the file there once, with `weft models pull %s`", s.cfg.Node, f.Name, model)
		}
	}
	return ""
}

// explain adds to what is said of tasks that wait for models what is amiss with
// them here.
func (s *Server) explain(status *api.WorkflowStatus) {
	w, ok := s.control.Snapshot().Workflow(status.Workflow)
	if !ok || w.Status == state.Stopped {
		return
	}
	for i := range status.Stages {
		stage := &status.Stages[i]
		if why := s.unknownOf(w.Spec, w.Unplaced, stage.Task); why != "" {
			stage.Message = strings.TrimPrefix(stage.Message+"; "+why, "; ")
		}
	}
	if status.Next == nil || w.Next == nil {
		return
	}
	for _, u := range w.Next.Unplaced {
		if why := s.unknownOf(w.Next.Spec, w.Next.Unplaced, u.Name); why != "" && !strings.Contains(status.Next.Reason, why) {
			status.Next.Reason += "; " + why
		}
	}
}

// unknownOf is unknown of the model of a task that is on no node.
func (s *Server) unknownOf(spec *tiering.Workflow, unplaced []tiering.Unplaced, task string) string {
	t, ok := spec.Task(task)
	if !ok || t.Model == nil || !slices.ContainsFunc(unplaced, func(u tiering.Unplaced) bool { return u.Name == task }) {
		return ""
	}
	return s.unknown(t.Model.Name)
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
