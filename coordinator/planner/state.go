package planner

import (
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/tiering"
)

// State is the replicated state as its leader has it.
type State interface {
	Snapshot() *state.Snapshot
	// Apply commits a command and carries it out. A command that the state
	// machine does not carry out is an error (state.ErrRefused, …).
	Apply(state.Command) (state.Result, error)
}

// Attempts bounds how often a plan is made anew because the state had moved
// on.
const Attempts = 5

// Leader is what a leader keeps in mind for one term. It is for one caller at
// a time.
type Leader struct {
	state   State
	rtt     tiering.RoundTrips
	placer  Placer
	log     *slog.Logger
	missing map[string]time.Time // since when membership does not list a node
	refused map[due]uint64       // revision at which a version could not be placed
	stuck   map[string]uint64    // revision at which a placement could not leave its node
	began   map[aMove]uint64     // revision as of which there is a move, or later
}

// due is a version of a workflow that does not run in full. While the state is
// what it was when it could not be placed there is no point in trying again.
type due struct {
	workflow string
	version  uint64
}

// New returns the leader of a new term. rtt may be nil.
func New(s State, rtt tiering.RoundTrips, log *slog.Logger) *Leader {
	return NewPlacing(s, rtt, tiering.Await, log)
}

// NewPlacing is New with another way to place workflows. What drains still moves
// by tiering.Move.
func NewPlacing(s State, rtt tiering.RoundTrips, placer Placer, log *slog.Logger) *Leader {
	return &Leader{state: s, rtt: rtt, placer: placer, log: log, missing: map[string]time.Time{}, refused: map[due]uint64{}, stuck: map[string]uint64{}, began: map[aMove]uint64{}}
}

// Placer plans a workflow on a view. It is pure: the same view, workflow and
// state of rng give the same plan. It keeps what runs as it would place it today,
// so that a second call plans nothing. Ours is tiering.Await; experiments hold
// others against it.
type Placer func(v *tiering.View, w *tiering.Workflow, rng *rand.Rand) (*tiering.Plan, error)

// schedule plans with a random source that follows from the state, so that a
// rerun reaches the same plan.
func (l *Leader) schedule(v *tiering.View, w *tiering.Workflow) (*tiering.Plan, error) {
	return l.placer(v, w, source(v, w.Name))
}

// Schedule plans a workflow as every leader of a mesh does.
func Schedule(v *tiering.View, w *tiering.Workflow) (*tiering.Plan, error) {
	return tiering.Await(v, w, source(v, w.Name))
}

// Wanted are the models that a node is to have, sorted: those of the workflows
// that are not stopped, and of what waits to take their place. A node at the edge
// runs no detector by itself, so it is to have only those of the workflows whose
// sources are attached to it or placed there.
func Wanted(snap *state.Snapshot, node string) []string {
	n, ok := snap.Node(node)
	if !ok {
		return nil
	}
	var out []string
	for _, w := range snap.Workflows() {
		if w.Status == state.Stopped {
			continue
		}
		placed := slices.ContainsFunc(snap.PlacementsOf(w.Name), func(p tiering.Placement) bool { return p.Node == node })
		for _, spec := range w.Specs() {
			attached := slices.ContainsFunc(spec.Sources, func(s tiering.Source) bool { return s.Node == node })
			if n.Tier != tiering.Edge || attached || placed {
				out = append(out, spec.Models()...)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// source is what draws among equals.
func source(v *tiering.View, workflow string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(workflow)) // never fails
	return rand.New(rand.NewPCG(v.Index(), h.Sum64()))
}
