package agent

import (
	"context"
	"sync"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// script is a coordinator that wants what a test says.
type script struct {
	mu         sync.Mutex
	index      uint64
	wanted     map[string][]tiering.Assignment // by node
	changed    chan struct{}
	down, deaf bool            // takes no questions, no reports
	away       map[string]bool // nodes that cannot reach it
	mute       bool            // takes questions and never answers
	strange    error           // answer to all questions: the node is none of the mesh
	asked      int
	reports    []pipeline.Report
	onReport   func() // called before a report is taken
}

func newScript() *script {
	return &script{index: 1, wanted: map[string][]tiering.Assignment{}, changed: make(chan struct{})}
}

// set changes what the coordinator wants, and its index.
func (s *script) set(index uint64, wanted map[string][]tiering.Assignment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index, s.wanted = index, wanted
	close(s.changed)
	s.changed = make(chan struct{})
}

// want is set with the next index.
func (s *script) want(wanted map[string][]tiering.Assignment) {
	s.mu.Lock()
	next := s.index + 1
	s.mu.Unlock()
	s.set(next, wanted)
}

// fail makes the coordinator refuse questions, reports or both.
func (s *script) fail(down, deaf bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down, s.deaf = down, deaf
	close(s.changed)
	s.changed = make(chan struct{})
}

// cut sets which nodes cannot reach the coordinator.
func (s *script) cut(nodes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = map[string]bool{}
	for _, n := range nodes {
		s.away[n] = true
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// estrange sets how questions are answered; nil: as usual.
func (s *script) estrange(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.strange = err
}

// questions is how often assignments were asked for.
func (s *script) questions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *script) Assignments(ctx context.Context, node string, after uint64) ([]tiering.Assignment, uint64, error) {
	limit := time.After(30 * time.Second)
	s.mu.Lock()
	s.asked++
	if s.mute {
		s.mu.Unlock()
		<-ctx.Done()
		s.mu.Lock()
		defer s.mu.Unlock()
		return nil, 0, ctx.Err()
	}
	for held := true; held && after != 0 && s.index == after && !s.down && !s.away[node]; {
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-limit:
			held = false
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	if s.down || s.away[node] {
		return nil, 0, errDown
	}
	if s.strange != nil {
		return nil, 0, s.strange
	}
	return wire(s.wanted[node]), s.index, nil
}

func (s *script) Report(_ context.Context, r pipeline.Report) error {
	s.mu.Lock()
	hook := s.onReport
	s.mu.Unlock()
	if hook != nil {
		hook()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deaf || s.away[r.Node] {
		return errDown
	}
	// Nobody here looks at histograms, and to compress them takes longer than
	// all the rest.
	for i := range r.Sources {
		r.Sources[i].Latency = nil
	}
	for i := range r.Stages {
		x := &r.Stages[i]
		x.Queue, x.Transfer, x.Reduce, x.Execute = nil, nil, nil, nil
	}
	s.reports = append(s.reports, wire(r))
	return nil
}

// sources are the newest reports of every start of a source.
func (s *script) sources() map[uint32]pipeline.SourceReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[uint32]pipeline.SourceReport{}
	for _, r := range s.reports {
		for _, x := range r.Sources {
			out[x.Epoch] = x
		}
	}
	return out
}

// stages are the newest reports of every start of a stage.
func (s *script) stages() map[uint32]pipeline.StageReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[uint32]pipeline.StageReport{}
	for _, r := range s.reports {
		for _, x := range r.Stages {
			out[x.Epoch] = x
		}
	}
	return out
}
