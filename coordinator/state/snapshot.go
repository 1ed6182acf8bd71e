package state

import (
	"slices"

	"github.com/hashicorp/go-memdb"

	"github.com/weft-mesh/weft/tiering"
)

// Snapshot is the state at one index. It never changes and is safe for
// concurrent use. What it returns must not be modified.
type Snapshot struct {
	codec    codec
	db       *memdb.MemDB
	index    uint64
	revision uint64
	changed  <-chan struct{}
}

func (s *Snapshot) txn() *memdb.Txn { return s.db.Txn(false) }

// Index is the log index of the last command applied.
func (s *Snapshot) Index() uint64 { return s.index }

// Revision is the log index of the last command that plans and assignments
// depend on.
func (s *Snapshot) Revision() uint64 { return s.revision }

// Changed is closed when something that plans or assignments depend on is no
// longer as this snapshot has it: a node, a placement, a specification.
func (s *Snapshot) Changed() <-chan struct{} { return s.changed }

// Cluster is the name of the mesh; empty before its first leader set it.
func (s *Snapshot) Cluster() string {
	if c, ok := get[cluster](s.txn(), tableMeta, clusterKey); ok {
		return c.Name
	}
	return ""
}

// ClusterID tells meshes of one name apart; empty before a leader drew it.
func (s *Snapshot) ClusterID() string {
	if c, ok := get[cluster](s.txn(), tableMeta, clusterKey); ok {
		return c.ID
	}
	return ""
}

// Node returns the node of that ID.
func (s *Snapshot) Node(id string) (*Node, bool) { return get[Node](s.txn(), tableNodes, id) }

// Nodes returns every node by ID, the dead ones included.
func (s *Snapshot) Nodes() []*Node { return list[Node](s.txn(), tableNodes, byID) }

// Workflow returns the workflow of that name.
func (s *Snapshot) Workflow(name string) (*Workflow, bool) {
	return get[Workflow](s.txn(), tableWorkflows, name)
}

// Workflows returns every workflow by name, the stopped ones included.
func (s *Snapshot) Workflows() []*Workflow { return list[Workflow](s.txn(), tableWorkflows, byID) }

// Placements returns every placement by ID, those on dead nodes included.
func (s *Snapshot) Placements() []tiering.Placement {
	return values(list[tiering.Placement](s.txn(), tablePlacements, byID))
}

// PlacementsOf returns the placements of a workflow by ID.
func (s *Snapshot) PlacementsOf(workflow string) []tiering.Placement {
	return values(list[tiering.Placement](s.txn(), tablePlacements, byWorkflow, workflow))
}

// PlacementsOn returns the placements on a node by ID.
func (s *Snapshot) PlacementsOn(node string) []tiering.Placement {
	return values(list[tiering.Placement](s.txn(), tablePlacements, byNode, node))
}

// Moving returns the placements that move, by the node that they move from.
func (s *Snapshot) Moving() []tiering.Placement {
	return values(list[tiering.Placement](s.txn(), tablePlacements, byFrom))
}

// MovingFrom returns the placements that move from a node.
func (s *Snapshot) MovingFrom(node string) []tiering.Placement {
	return values(list[tiering.Placement](s.txn(), tablePlacements, byFrom, node))
}

// View returns what plans are made from: the live nodes, those that drain
// marked, and all placements.
func (s *Snapshot) View(rtt tiering.RoundTrips) *tiering.View {
	var (
		alive    []tiering.Node
		draining []string
	)
	for _, n := range s.Nodes() {
		if n.Alive() {
			alive = append(alive, n.Node)
		}
		if n.Drain {
			draining = append(draining, n.ID)
		}
	}
	v := tiering.NewView(s.index, alive, s.Placements(), rtt)
	if len(draining) == 0 {
		return v
	}
	return v.Drain(draining...)
}

// Assignments returns what a node is to run, and where its frames may go: to
// instances on live nodes only. A node that counts as failed still gets what
// is placed on it until that is planned anew: if it can ask, it can work.
func (s *Snapshot) Assignments(node string) []tiering.Assignment {
	own := map[string]bool{}
	var workflows []*tiering.Workflow
	adapted := map[string]*tiering.Adaptation{}
	for _, p := range slices.Concat(s.PlacementsOn(node), s.MovingFrom(node)) {
		w, ok := s.Workflow(p.Workflow)
		if ok && !own[w.Name] {
			own[w.Name] = true
			workflows = append(workflows, w.Spec)
			if a, ok := s.Adaptation(w.Name); ok {
				adapted[w.Name] = &a.Adaptation
			}
		}
	}
	nodes := map[string]tiering.Node{}
	var placements []tiering.Placement
	for _, w := range workflows {
		for _, p := range s.PlacementsOf(w.Name) {
			for _, at := range []string{p.Node, p.From} {
				if n, ok := s.Node(at); ok && (n.Alive() || n.ID == node) {
					nodes[n.ID] = n.Node
				}
			}
			placements = append(placements, p)
		}
	}
	return tiering.Assignments(node, workflows, placements, nodes, adapted)
}
