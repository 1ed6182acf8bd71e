package server

import (
	"net/http"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/tiering/workflow"
)

func (s *Server) getMesh(w http.ResponseWriter, _ *http.Request) error {
	snap := s.control.Snapshot()
	leader, addr, _ := s.control.Leader()
	m := api.Mesh{
		Mesh: s.cfg.Mesh, Cluster: snap.ClusterID(), Node: s.cfg.Node, Version: s.cfg.Version,
		Leader: leader, LeaderAddress: addr, Index: snap.Index(), Coordinators: []string{},
	}
	for _, n := range snap.Nodes() {
		if n.Addresses.Raft != "" && n.Alive() {
			m.Coordinators = append(m.Coordinators, n.ID)
		}
	}
	return s.reply(w, http.StatusOK, m)
}

func (s *Server) getModels(w http.ResponseWriter, _ *http.Request) error {
	nodes := s.control.Snapshot().Nodes()
	out := []api.Model{}
	for _, m := range s.cfg.Catalogue.Models() {
		one := api.Model{Model: m, Nodes: []string{}}
		for _, n := range nodes {
			if n.Alive() && n.HasModel(m.Name) {
				one.Nodes = append(one.Nodes, n.ID)
			}
		}
		out = append(out, one)
	}
	return s.reply(w, http.StatusOK, out)
}

func (s *Server) getOpenAPI(w http.ResponseWriter, _ *http.Request) error {
	s.send(w, http.StatusOK, "application/yaml", api.Document())
	return nil
}

func (s *Server) getSchema(w http.ResponseWriter, _ *http.Request) error {
	s.send(w, http.StatusOK, "application/schema+json", workflow.Schema())
	return nil
}
