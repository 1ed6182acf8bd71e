package server

import (
	"net/http"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/tiering"
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
	m.OutOfService = s.outages()
	return s.reply(w, http.StatusOK, m)
}

// outages are the coordinators that are out of service, by name: of the others
// gossip tells, since they may take no part in Raft.
func (s *Server) outages() []api.Outage {
	var out []api.Outage
	for _, m := range s.members.Members() {
		reason := m.Fault
		if m.Node.ID == s.cfg.Node {
			reason = "" // this coordinator knows better
			if err := s.control.Fault(); err != nil {
				reason = err.Error()
			}
		}
		if m.Node.Addresses.Raft != "" && m.Status == tiering.NodeAlive && reason != "" {
			out = append(out, api.Outage{Node: m.Node.ID, Reason: reason})
		}
	}
	slices.SortFunc(out, func(a, b api.Outage) int { return strings.Compare(a.Node, b.Node) })
	return out
}

func (s *Server) getOpenAPI(w http.ResponseWriter, _ *http.Request) error {
	s.send(w, http.StatusOK, "application/yaml", api.Document())
	return nil
}

func (s *Server) getSchema(w http.ResponseWriter, _ *http.Request) error {
	s.send(w, http.StatusOK, "application/schema+json", workflow.Schema())
	return nil
}
