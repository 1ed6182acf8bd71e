package server

import (
	"cmp"
	"io"
	"net/http"
	"slices"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/kpi"
	"github.com/weft-mesh/weft/coordinator/planner"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/tiering"
	"github.com/weft-mesh/weft/tiering/sourceuri"
	"github.com/weft-mesh/weft/tiering/workflow"
)

func (s *Server) getWorkflows(w http.ResponseWriter, _ *http.Request) error {
	snap := s.control.Snapshot()
	out := []api.Workflow{}
	for _, wf := range snap.Workflows() {
		out = append(out, api.Workflow{
			Name: wf.Name, Status: string(wf.Status), Reason: wf.Reason, Since: wf.Since, Submitted: wf.Submitted,
			Version: wf.Version, Sources: len(wf.Spec.Sources), Tasks: len(wf.Spec.Tasks),
			Instances: len(snap.PlacementsOf(wf.Name)), Next: kpi.NextOf(wf),
		})
	}
	return s.reply(w, http.StatusOK, out)
}

// getWorkflow is for the leader, who has the agents' reports.
func (s *Server) getWorkflow(w http.ResponseWriter, r *http.Request) error {
	status, err := s.control.Status(r.Context(), r.PathValue("workflow"))
	if err != nil {
		return err
	}
	s.explain(&status)
	return s.reply(w, http.StatusOK, status)
}

// getQuality is for the leader, who decides.
func (s *Server) getQuality(w http.ResponseWriter, r *http.Request) error {
	status, err := s.control.Quality(r.Context(), r.PathValue("workflow"))
	if err != nil {
		return err
	}
	return s.reply(w, http.StatusOK, status)
}

func (s *Server) postPlan(w http.ResponseWriter, r *http.Request) error {
	spec, _, err := s.document(r)
	if err != nil {
		return err
	}
	before := s.control.Snapshot()
	plan, err := s.control.Plan(r.Context(), spec)
	if err != nil {
		return err
	}
	return s.reply(w, http.StatusOK, planned(before, spec, plan))
}

func (s *Server) postWorkflow(w http.ResponseWriter, r *http.Request) error {
	spec, text, err := s.document(r)
	if err != nil {
		return err
	}
	about(r, spec.Name)
	before := s.control.Snapshot()
	plan, err := s.control.Submit(r.Context(), spec, text)
	if err != nil {
		return err
	}
	return s.reply(w, http.StatusCreated, planned(before, spec, plan))
}

func (s *Server) deleteWorkflow(w http.ResponseWriter, r *http.Request) error {
	if err := s.control.Stop(r.Context(), r.PathValue("workflow")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// document reads the workflow document in the body.
func (s *Server) document(r *http.Request) (*tiering.Workflow, string, error) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, "", badBody(err)
	}
	// The name is for messages only.
	file := cmp.Or(r.URL.Query().Get("file"), "workflow.yaml")
	spec, err := workflow.Parse(file, b, s.catalogue())
	if err != nil {
		return nil, "", err
	}
	return spec, string(b), nil
}

// planned is a plan as the API shows it: no list is null, no password is
// shown. A document that places nothing anew may still change what is placed: a
// source's rate, an objective.
func planned(before *state.Snapshot, spec *tiering.Workflow, plan *tiering.Plan) api.Planned {
	same := planner.Same(before, spec, plan)
	p := *plan
	p.Reservations, p.Place, p.Keep = orEmpty(p.Reservations), orEmpty(p.Place), orEmpty(p.Keep)
	p.Adjust, p.Remove = orEmpty(p.Adjust), orEmpty(p.Remove)
	out := api.Planned{
		Plan: &p, Sources: []tiering.Source{}, Tasks: orEmpty(spec.Tasks), Links: orEmpty(spec.Links),
		Changes: !same || !plan.Empty(), Nodes: map[string]string{},
	}
	for _, src := range spec.Sources {
		out.Sources = append(out.Sources, withoutPassword(src))
	}
	for _, pl := range slices.Concat(p.Place, p.Keep) {
		out.Nodes[pl.Node] = pl.Tier.String()
	}
	return out
}

// withoutPassword masks the password that the URI of a network camera may have.
func withoutPassword(src tiering.Source) tiering.Source {
	switch spec, err := sourceuri.Parse(src.URI); {
	case err != nil: // no document with it is accepted
		src.URI = ""
	case spec.Network():
		src.URI = spec.String()
	}
	return src
}
