package server

import (
	"encoding/json"
	"net/http"

	"github.com/weft-mesh/weft/coordinator/api"
)

func (s *Server) getProfiles(w http.ResponseWriter, _ *http.Request) error {
	out := []api.NodeProfile{}
	for _, n := range s.control.Snapshot().Profiles() {
		for _, p := range n.Profiles {
			out = append(out, api.NodeProfile{Node: n.Node, Profile: p})
		}
	}
	return s.reply(w, http.StatusOK, out)
}

func (s *Server) putProfiles(w http.ResponseWriter, r *http.Request) error {
	var body api.Profiles
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		return badBody(err)
	}
	if err := s.control.PutProfiles(r.Context(), r.PathValue("node"), body.Profiles); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
