package state

import (
	"fmt"
	"time"

	"github.com/hashicorp/go-memdb"

	"github.com/weft-mesh/weft/tiering"
)

// Node is a member of the mesh as the coordinators agreed on it.
type Node struct {
	tiering.Node
	Status tiering.NodeStatus `json:"status"`
	Since  time.Time          `json:"since"` // of the status
	// Drain: it keeps what it has until that has moved, and gets nothing new.
	Drain       bool   `json:"drain,omitempty"`
	CreateIndex uint64 `json:"create_index"`
	ModifyIndex uint64 `json:"modify_index"`
}

// Alive reports whether tasks may run on the node.
func (n *Node) Alive() bool { return n != nil && n.Status == tiering.NodeAlive }

// Status is how a workflow is doing, as far as placements tell.
type Status string

// The statuses of a workflow.
const (
	Running  Status = "running"  // every source and task is on a live node
	Degraded Status = "degraded" // some are not; Reason says why
	Pending  Status = "pending"  // none is; Reason says why
	Stopped  Status = "stopped"  // by the user
)

// Workflow is a submitted workflow.
type Workflow struct {
	Name      string            `json:"name"`
	Spec      *tiering.Workflow `json:"spec"`
	Document  string            `json:"document"` // what the user submitted
	Version   uint64            `json:"version"`  // from 1, counts submissions
	Submitted time.Time         `json:"submitted"`
	Status    Status            `json:"status"`
	Reason    string            `json:"reason,omitempty"` // also of what stays on a draining node
	Since     time.Time         `json:"since"`            // of the status
	// Unplaced are the sources and tasks that the last plan went without.
	Unplaced []tiering.Unplaced `json:"unplaced,omitempty"`
	// Next is the version that takes the place of this one when its models have
	// come; nil: there is none.
	Next        *Submission `json:"next,omitempty"`
	CreateIndex uint64      `json:"create_index"`
	ModifyIndex uint64      `json:"modify_index"`
}

// Submission is a version of a workflow that waits while an older one runs.
type Submission struct {
	Spec      *tiering.Workflow `json:"spec"`
	Document  string            `json:"document"`
	Version   uint64            `json:"version"`
	Submitted time.Time         `json:"submitted"`
	Reason    string            `json:"reason"` // what it waits for
	// Unplaced are the tasks whose models it waits for; none: it cannot be
	// placed for another reason.
	Unplaced []tiering.Unplaced `json:"unplaced,omitempty"`
}

// Specs are what the workflow runs and, if there is one, what it is to run next.
func (w *Workflow) Specs() []*tiering.Workflow {
	if w.Next == nil {
		return []*tiering.Workflow{w.Spec}
	}
	return []*tiering.Workflow{w.Spec, w.Next.Spec}
}

// Latest is what was submitted last: what waits or, if nothing does, what runs.
func (w *Workflow) Latest() (spec *tiering.Workflow, document string) {
	if w.Next != nil {
		return w.Next.Spec, w.Next.Document
	}
	return w.Spec, w.Document
}

// Attached reports whether a placement of the workflow is of a source that is
// to be had on its node only: it never moves.
func (w *Workflow) Attached(p *tiering.Placement) bool {
	if w == nil || !p.Source {
		return false
	}
	src, ok := w.Spec.Source(p.Task)
	return ok && src.Node == p.Node
}

// cluster is the one record of the meta table.
type cluster struct {
	Key  string `json:"key"`
	Name string `json:"name"`
	ID   string `json:"id,omitempty"` // empty only in what older versions wrote
}

const clusterKey = "cluster"

// The tables and their indexes.
const (
	tableMeta        = "meta"
	tableNodes       = "nodes"
	tableWorkflows   = "workflows"
	tablePlacements  = "placements"
	tableTokens      = "tokens"
	tableAdaptations = "adaptations"
	tableProfiles    = "profiles"

	byID       = "id"
	byWorkflow = "workflow"
	byNode     = "node"
	byFrom     = "from" // of what moves
	byPublicID = "public-id"
)

func newDB() *memdb.MemDB {
	index := func(name, field string) *memdb.IndexSchema {
		return &memdb.IndexSchema{Name: name, Unique: name == byID, AllowMissing: name == byFrom, Indexer: &memdb.StringFieldIndex{Field: field}}
	}
	table := func(name string, indexes ...*memdb.IndexSchema) *memdb.TableSchema {
		t := &memdb.TableSchema{Name: name, Indexes: map[string]*memdb.IndexSchema{}}
		for _, i := range indexes {
			t.Indexes[i.Name] = i
		}
		return t
	}
	db, err := memdb.NewMemDB(&memdb.DBSchema{Tables: map[string]*memdb.TableSchema{
		tableMeta:      table(tableMeta, index(byID, "Key")),
		tableNodes:     table(tableNodes, index(byID, "ID")),
		tableWorkflows: table(tableWorkflows, index(byID, "Name")),
		tablePlacements: table(tablePlacements,
			index(byID, "ID"), index(byWorkflow, "Workflow"), index(byNode, "Node"), index(byFrom, "From")),
		tableAdaptations: table(tableAdaptations, index(byID, "Workflow")),
		tableProfiles:    table(tableProfiles, index(byID, "Node")),
		tableTokens:      table(tableTokens, index(byID, "Name"), index(byPublicID, "ID")),
	}})
	must(err)
	return db
}

// must guards calls that fail only if the schema and the code disagree.
func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("state: schema violated: %v", err))
	}
}

// get returns one record by its ID.
func get[T any](txn *memdb.Txn, table, id string) (*T, bool) {
	v, err := txn.First(table, byID, id)
	must(err)
	if v == nil {
		return nil, false
	}
	return v.(*T), true
}

// list returns the records of an index in the order of their keys. The slice
// is the caller's, so that it may write to the table while it ranges.
func list[T any](txn *memdb.Txn, table, index string, args ...any) []*T {
	it, err := txn.Get(table, index, args...)
	must(err)
	var out []*T
	for v := it.Next(); v != nil; v = it.Next() {
		out = append(out, v.(*T))
	}
	return out
}

// values copies records for callers that take values.
func values[T any](records []*T) []T {
	out := make([]T, len(records))
	for i, r := range records {
		out[i] = *r
	}
	return out
}
