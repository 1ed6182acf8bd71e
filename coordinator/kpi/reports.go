package kpi

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/pipeline"
)

// ErrReport reports a report that is not taken.
var ErrReport = errors.New("report not taken")

const (
	// maxInstances bounds one report.
	maxInstances = 1024
	// maxLacking bounds the models of one report that the node lacks, and
	// maxWhy the bytes of each reason.
	maxLacking, maxWhy = 64, 500
	// endedKept is how many instances that no longer run are kept apart for
	// each node before they become part of the totals.
	endedKept = 16
)

// Reports holds the newest report of every instance, and the totals of those
// that are no more. It is safe for concurrent use.
type Reports struct {
	mu     sync.Mutex
	nodes  map[string]*nodeReports
	totals map[string]*totals // by workflow
}

// nodeReports is what one node has reported.
type nodeReports struct {
	index   uint64 // of the state that its agent follows
	running map[startKey]*reported
	ended   []*reported       // oldest first, at most endedKept
	lacking map[string]string // models that it could not get, and why
}

// startKey names one start of an instance on a node. Counts grow within it and
// begin anew in the next.
type startKey struct {
	run      string
	instance string
	epoch    uint32
}

// reported is the newest report of one start: one of the two is set.
type reported struct {
	key    startKey
	source *pipeline.SourceReport
	stage  *pipeline.StageReport
}

// New returns no reports.
func New() *Reports {
	return &Reports{nodes: map[string]*nodeReports{}, totals: map[string]*totals{}}
}

// Clear forgets everything: a new leader starts without reports of an earlier
// term.
func (s *Reports) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.nodes)
	clear(s.totals)
}

// Add takes one node's report, which belongs to Reports from then on. A start
// that it no longer lists has ended; it stays apart for a while, since reports
// may overtake each other on the way. Instances of unknown workflows are
// passed over. The error is ErrReport or state.ErrNotFound.
func (s *Reports) Add(r *pipeline.Report, snap *state.Snapshot) error {
	if n := len(r.Sources) + len(r.Stages); n > maxInstances {
		return fmt.Errorf("%w: it is of %d instances, at most %d are allowed", ErrReport, n, maxInstances)
	}
	if n := len(r.Lacking); n > maxLacking {
		return fmt.Errorf("%w: it is of %d models that are lacking, at most %d are allowed", ErrReport, n, maxLacking)
	}
	if _, ok := snap.Node(r.Node); !ok {
		return fmt.Errorf("%w: node %q", state.ErrNotFound, r.Node)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[r.Node]
	if n == nil {
		n = &nodeReports{}
		s.nodes[r.Node] = n
	}
	// An agent that is ahead of its leader still follows the log of a mesh that
	// has begun anew.
	if n.index = r.Index; n.index > snap.Revision() {
		n.index = 0
	}
	n.lacking = r.Lacking
	before := n.running
	n.running = make(map[startKey]*reported, len(r.Sources)+len(r.Stages))
	put := func(e *reported, workflow string) {
		if _, ok := snap.Workflow(workflow); !ok {
			return
		}
		old := before[e.key]
		if old == nil {
			old = n.revive(e.key)
		}
		if old != nil && e.before(old) {
			e = old
		}
		delete(before, e.key)
		n.running[e.key] = e
	}
	for i := range r.Sources {
		x := &r.Sources[i]
		put(&reported{key: startKey{r.Run, x.Instance, x.Epoch}, source: x}, x.Workflow)
	}
	for i := range r.Stages {
		x := &r.Stages[i]
		put(&reported{key: startKey{r.Run, x.Instance, x.Epoch}, stage: x}, x.Workflow)
	}
	for _, e := range before {
		n.ended = append(n.ended, e)
	}
	for len(n.ended) > endedKept {
		s.conclude(n.ended[0])
		n.ended = n.ended[1:]
	}
	return nil
}

// revive takes a start that was held to have ended out again.
func (n *nodeReports) revive(key startKey) *reported {
	for i, e := range n.ended {
		if e.key == key {
			n.ended = append(n.ended[:i:i], n.ended[i+1:]...)
			return e
		}
	}
	return nil
}

// before reports whether e is older than o, of the same start.
func (e *reported) before(o *reported) bool {
	switch {
	case e.source != nil && o.source != nil:
		return e.source.Frames.Captured < o.source.Frames.Captured
	case e.stage != nil && o.stage != nil:
		return e.stage.Received < o.stage.Received
	}
	return false
}

// conclude adds what has ended for good to the totals.
func (s *Reports) conclude(e *reported) {
	s.totalsOf(e.workflow()).add(e, true)
}

func (e *reported) workflow() string {
	if e.source != nil {
		return e.source.Workflow
	}
	return e.stage.Workflow
}

func (s *Reports) totalsOf(workflow string) *totals {
	t := s.totals[workflow]
	if t == nil {
		t = newTotals()
		s.totals[workflow] = t
	}
	return t
}

// Up reports whether a node that follows the state as of the index says that
// it runs an instance of the placement that takes frames.
func (s *Reports) Up(placement, node string, since uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[node]
	if n == nil || n.index < since {
		return false
	}
	for key, e := range n.running {
		if key.instance == placement && e.stage != nil && e.stage.Status == pipeline.StatusRunning {
			return true
		}
	}
	return false
}

// Instance is the newest report of an instance: one of the two is set, and
// neither is to be changed.
type Instance struct {
	ID, Node string
	Source   *pipeline.SourceReport
	Stage    *pipeline.StageReport
}

// Instances returns the newest report of each instance of a workflow that runs,
// in the order of their IDs and nodes.
func (s *Reports) Instances(workflow string) []Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Instance
	for node, n := range s.nodes {
		newest := map[string]*reported{}
		for key, e := range n.running {
			if e.workflow() == workflow {
				newest[key.instance] = e.newer(newest[key.instance])
			}
		}
		for id, e := range newest {
			out = append(out, Instance{id, node, e.source, e.stage})
		}
	}
	slices.SortFunc(out, func(a, b Instance) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Node, b.Node)) })
	return out
}

// Follows reports whether a node says that it follows the state as of the
// index.
func (s *Reports) Follows(node string, index uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[node]
	return n != nil && n.index >= index
}

// Forget drops what was said of a workflow: one that is submitted again after
// it was stopped counts from nothing.
func (s *Reports) Forget(workflow string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.totals, workflow)
	of := func(e *reported) bool { return e.workflow() == workflow }
	for _, n := range s.nodes {
		maps.DeleteFunc(n.running, func(_ startKey, e *reported) bool { return of(e) })
		n.ended = slices.DeleteFunc(n.ended, of)
	}
}

// Prune concludes what the nodes said that the state no longer knows.
func (s *Reports) Prune(snap *state.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, n := range s.nodes {
		if _, ok := snap.Node(id); ok {
			continue
		}
		for _, e := range n.running {
			s.conclude(e)
		}
		for _, e := range n.ended {
			s.conclude(e)
		}
		delete(s.nodes, id)
	}
}

// gather returns the totals of a workflow up to now, and what its running
// instances say of themselves, by instance and node. What has ended and what
// is on a node that is not alive no longer has frames in flight: they are
// lost.
func (s *Reports) gather(workflow string, snap *state.Snapshot) (*totals, map[instanceOn]*reported) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := newTotals()
	if t := s.totals[workflow]; t != nil {
		sum.merge(t)
	}
	running := map[instanceOn]*reported{}
	for id, n := range s.nodes {
		node, _ := snap.Node(id)
		for _, e := range n.running {
			if e.workflow() == workflow {
				sum.add(e, !node.Alive())
				running[instanceOn{e.key.instance, id}] = e.newer(running[instanceOn{e.key.instance, id}])
			}
		}
		for _, e := range n.ended {
			if e.workflow() == workflow {
				sum.add(e, true)
			}
		}
	}
	return sum, running
}

// lacking says on which live nodes a model is lacking, and why.
func (s *Reports) lacking(model string, snap *state.Snapshot) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, id := range slices.Sorted(maps.Keys(s.nodes)) {
		why, ok := s.nodes[id].lacking[model]
		if node, _ := snap.Node(id); ok && node.Alive() {
			out = append(out, fmt.Sprintf("%s: %s", id, strings.ToValidUTF8(why[:min(len(why), maxWhy)], "")))
		}
	}
	return out
}

// instanceOn is an instance on one node.
type instanceOn struct{ instance, node string }

// newer returns which of two starts of an instance in one report is the
// present one: the other was reported for the last time.
func (e *reported) newer(o *reported) *reported {
	if o == nil || o.over() && !e.over() {
		return e
	}
	return o
}

func (e *reported) over() bool {
	status := pipeline.StatusEnded
	if e.source != nil {
		status = e.source.Status
	} else if e.stage != nil {
		status = e.stage.Status
	}
	return status == pipeline.StatusEnded || status == pipeline.StatusFailed
}
