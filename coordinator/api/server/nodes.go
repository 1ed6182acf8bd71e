package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/planner"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

func (s *Server) getNodes(w http.ResponseWriter, _ *http.Request) error {
	free := s.free()
	snap := s.control.Snapshot()
	out := []api.Node{}
	for _, n := range snap.Nodes() {
		out = append(out, s.node(snap, n, free[n.ID]))
	}
	return s.reply(w, http.StatusOK, out)
}

// free is what machines measure as unused.
func (s *Server) free() map[string]tiering.Resources {
	free := map[string]tiering.Resources{}
	for _, m := range s.members.Members() {
		free[m.Node.ID] = m.Free
	}
	return free
}

// node is a node as the API shows it.
func (s *Server) node(snap *state.Snapshot, n *state.Node, free tiering.Resources) api.Node {
	one := api.Node{Node: n.Node, Status: n.Status, Since: n.Since, Free: free, Placements: []string{}, Draining: n.Drain}
	for _, p := range snap.PlacementsOn(n.ID) {
		one.Placements = append(one.Placements, p.ID)
		one.Reserved = one.Reserved.Add(p.Reserved)
	}
	if n.Drain {
		one.Left = left(snap, n)
	}
	if rtt, ok := s.members.RoundTrip(s.cfg.Node, n.ID); ok {
		ms := float64(rtt) / float64(time.Millisecond)
		one.RoundTripMS = &ms
	}
	return one
}

// left is what a draining node still runs.
func left(snap *state.Snapshot, n *state.Node) []api.Left {
	var out []api.Left
	for _, p := range snap.PlacementsOn(n.ID) {
		l := api.Left{Placement: p.ID, Reason: p.Stays}
		if w, _ := snap.Workflow(p.Workflow); w.Attached(&p) {
			l.Attached, l.Reason = true, "attached to "+n.ID
		} else if !n.Alive() {
			l.Reason = fmt.Sprintf("node %s is %s", n.ID, n.Status)
		}
		out = append(out, l)
	}
	for _, p := range snap.MovingFrom(n.ID) {
		l := api.Left{Placement: p.ID, To: p.Node, Reason: "not up there yet"}
		if p.Switched != 0 {
			l.Reason = "not every node sends its frames there yet"
		}
		if p.Stays != "" { // the node that it was moving to is gone
			l.To, l.Reason = "", p.Stays
		}
		out = append(out, l)
	}
	return out
}

// postDrain is for the leader, whose state has the change already.
func (s *Server) postDrain(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Drain *bool `json:"drain"`
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	switch err := d.Decode(&body); {
	case err != nil:
		return badBody(err)
	case body.Drain == nil:
		return invalid(`the body does not say whether to drain: send {"drain": true} or {"drain": false}`)
	}
	name := r.PathValue("node")
	if err := s.control.Drain(r.Context(), name, *body.Drain); err != nil {
		return err
	}
	snap := s.control.Snapshot()
	n, ok := snap.Node(name)
	if !ok {
		return notFound("node %s is not known to the coordinators any more", name)
	}
	return s.reply(w, http.StatusOK, s.node(snap, n, s.free()[name]))
}

// getAssignments holds the request until there is something newer than the
// index that the caller knows.
func (s *Server) getAssignments(w http.ResponseWriter, r *http.Request) error {
	node := r.PathValue("node")
	after, err := index("after", r.URL.Query().Get("after"))
	if err != nil {
		return err
	}
	release, err := s.hold(r)
	if err != nil {
		return err
	}
	defer release()
	limit := time.NewTimer(api.Wait)
	defer limit.Stop()
	snap := s.control.Snapshot()
	// A coordinator that lags behind the one asked before is waited for, too.
	for held := true; held && after != 0 && snap.Revision() <= after; {
		select {
		case <-snap.Changed():
			snap = s.control.Snapshot()
		case <-limit.C:
			held = false
		case <-s.done:
			held = false
		case <-r.Context().Done():
			return r.Context().Err()
		}
	}
	if _, known := snap.Node(node); !known {
		// After a restart a coordinator that is cut off knows less than the node
		// does, which must not wait for it.
		if _, _, led := s.control.Leader(); !led {
			return noLeader("node %s is not known to this coordinator, and there is no leader who could know it", node)
		}
		return notFound("node %s is not known to the coordinators yet: has it joined the gossip?", node)
	}
	as := orEmpty(snap.Assignments(node))
	if callerOf(r).subject.Role == pki.Operator {
		mask(as)
	}
	return s.reply(w, http.StatusOK, api.Assignments{Index: snap.Revision(), Assignments: as, Models: s.wanted(snap, node),
		Measure: planner.Profiled(snap, node), Profiles: snap.ProfilesOf(node)})
}

// mask hides the passwords of sources; those who read frames from them need
// them, and nobody else.
func mask(as []tiering.Assignment) {
	for i := range as {
		if as[i].Source != nil {
			masked := withoutPassword(*as[i].Source)
			as[i].Source = &masked
		}
	}
}

// hold counts the request among those held open.
func (s *Server) hold(r *http.Request) (release func(), err error) {
	return s.held.take(callerOf(r).name)
}

// index reads an index that a caller knows; none is 0.
func index(what, v string) (uint64, error) {
	if v == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		return 0, invalid("%s: %q is not an index: use a whole number, 0 or more", what, v)
	}
	return n, nil
}

func (s *Server) postReport(w http.ResponseWriter, r *http.Request) error {
	node := r.PathValue("node")
	var report pipeline.Report
	if err := json.NewDecoder(r.Body).Decode(&report); err != nil {
		return badBody(err)
	}
	if report.Node != node {
		return invalid("a report of node %q sent for node %q", report.Node, node)
	}
	if err := s.control.Report(report); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
