package state

import (
	"errors"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/tiering"
)

// ErrCorrupt reports a log entry or snapshot that cannot be decoded. Whoever
// applies a log must stop: to go on would make the replicas differ.
var ErrCorrupt = errors.New("corrupt")

// Command is a change of the state: one entry of the log. The At of every
// command is the leader's clock when it proposed it.
//
// On the log it is one byte for the version of the format, one for the type
// and the CBOR map of the command's fields.
type Command interface {
	kind() kind
	apply(*change) error
}

const commandVersion = 1

// kind is the second byte of a log entry. The numbers are on disk: never
// change or reuse one.
type kind byte

const (
	kindSetCluster        kind = 1
	kindRegisterNode      kind = 2
	kindSetNodeStatus     kind = 3
	kindForgetNode        kind = 4
	kindSubmitWorkflow    kind = 5
	kindStopWorkflow      kind = 6
	kindCommitPlan        kind = 7
	kindSetWorkflowStatus kind = 8
	kindSetNodeDrain      kind = 9
	kindHoldPlacement     kind = 10
	kindSwitchMove        kind = 11
	kindFinishMove        kind = 12
	kindAdaptSources      kind = 13
	kindPutProfiles       kind = 14

	kindPutToken    kind = 20
	kindDeleteToken kind = 21
)

// SetCluster names the mesh, once, and gives it an ID, once: the first counts.
// A mesh of before there were IDs gets one from its next leader.
type SetCluster struct {
	Name string    `json:"name"`
	ID   string    `json:"id,omitempty"` // random, drawn by the leader
	At   time.Time `json:"at"`
}

// RegisterNode records that a node is alive, and what it is.
type RegisterNode struct {
	Node tiering.Node `json:"node"`
	At   time.Time    `json:"at"`
}

// SetNodeStatus records what membership says of a known node. Its placements
// stay recorded until they are planned anew, but do not count as running while
// it is not alive.
type SetNodeStatus struct {
	Node   string             `json:"node"`
	Status tiering.NodeStatus `json:"status"`
	At     time.Time          `json:"at"`
}

// ForgetNode removes a node that is not alive.
type ForgetNode struct {
	Node string    `json:"node"`
	At   time.Time `json:"at"`
}

// SubmitWorkflow stores a workflow, new or in place of the one of that name,
// together with the plan that places it: both or neither. Where the plan awaits
// models and an older version has instances, that goes on, and the new one is
// kept as its Next until a plan places it.
type SubmitWorkflow struct {
	Workflow *tiering.Workflow `json:"workflow"`
	Document string            `json:"document"`
	Plan     *tiering.Plan     `json:"plan"`
	At       time.Time         `json:"at"`
}

// StopWorkflow releases everything that a workflow has; the workflow stays
// listed as stopped.
type StopWorkflow struct {
	Name string    `json:"name"`
	At   time.Time `json:"at"`
}

// CommitPlan places tasks of a workflow. Version is the version of the
// workflow that the plan was made for. If it is the one that waits, it takes the
// place of the one that runs, unless the plan still awaits models.
type CommitPlan struct {
	Plan    *tiering.Plan `json:"plan"`
	Version uint64        `json:"version"`
	At      time.Time     `json:"at"`
}

// SetWorkflowStatus says why a workflow cannot run in full: Pending or
// Degraded. It runs again by a plan or by the return of its nodes.
type SetWorkflowStatus struct {
	Name   string    `json:"name"`
	Status Status    `json:"status"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
	// Next is the version of which it is said, if it is the one that waits: it
	// is Pending, and how the one that runs is doing is another matter.
	Next uint64 `json:"next,omitempty"`
}

// SetNodeDrain begins or ends the draining of a node. A draining node gets
// nothing new, and what it has is moved. At the end of a drain, what has not
// moved yet stays.
type SetNodeDrain struct {
	Node  string    `json:"node"`
	Drain bool      `json:"drain"`
	At    time.Time `json:"at"`
}

// HoldPlacement says why a placement cannot be moved off the draining node
// that it is on.
type HoldPlacement struct {
	Placement string    `json:"placement"`
	Node      string    `json:"node"`
	Reason    string    `json:"reason"`
	At        time.Time `json:"at"`
}

// SwitchMove has frames go to the instance on Node, which is up, instead of the
// one that the placement moves from.
type SwitchMove struct {
	Placement string    `json:"placement"`
	Node      string    `json:"node"`
	At        time.Time `json:"at"`
}

// FinishMove ends the instance that a placement moved from: every node knows
// that frames go to the one on Node, or the old node is gone.
type FinishMove struct {
	Placement string    `json:"placement"`
	Node      string    `json:"node"`
	At        time.Time `json:"at"`
}

func (*SetCluster) kind() kind        { return kindSetCluster }
func (*RegisterNode) kind() kind      { return kindRegisterNode }
func (*SetNodeStatus) kind() kind     { return kindSetNodeStatus }
func (*ForgetNode) kind() kind        { return kindForgetNode }
func (*SubmitWorkflow) kind() kind    { return kindSubmitWorkflow }
func (*StopWorkflow) kind() kind      { return kindStopWorkflow }
func (*CommitPlan) kind() kind        { return kindCommitPlan }
func (*SetWorkflowStatus) kind() kind { return kindSetWorkflowStatus }
func (*SetNodeDrain) kind() kind      { return kindSetNodeDrain }
func (*HoldPlacement) kind() kind     { return kindHoldPlacement }
func (*SwitchMove) kind() kind        { return kindSwitchMove }
func (*FinishMove) kind() kind        { return kindFinishMove }

// Encode returns the log entry of a command.
func Encode(cmd Command) ([]byte, error) {
	body, err := newCodec().enc.Marshal(cmd)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", cmd, err)
	}
	return append([]byte{commandVersion, byte(cmd.kind())}, body...), nil
}

// Decode is the inverse of Encode. Its error is ErrCorrupt.
func Decode(entry []byte) (Command, error) {
	if len(entry) < 2 {
		return nil, fmt.Errorf("%w log entry of %d bytes", ErrCorrupt, len(entry))
	}
	if entry[0] != commandVersion {
		return nil, fmt.Errorf("%w log entry: format version %d, this weftd reads %d", ErrCorrupt, entry[0], commandVersion)
	}
	var cmd Command
	switch kind(entry[1]) {
	case kindSetCluster:
		cmd = new(SetCluster)
	case kindRegisterNode:
		cmd = new(RegisterNode)
	case kindSetNodeStatus:
		cmd = new(SetNodeStatus)
	case kindForgetNode:
		cmd = new(ForgetNode)
	case kindSubmitWorkflow:
		cmd = new(SubmitWorkflow)
	case kindStopWorkflow:
		cmd = new(StopWorkflow)
	case kindCommitPlan:
		cmd = new(CommitPlan)
	case kindSetWorkflowStatus:
		cmd = new(SetWorkflowStatus)
	case kindSetNodeDrain:
		cmd = new(SetNodeDrain)
	case kindHoldPlacement:
		cmd = new(HoldPlacement)
	case kindSwitchMove:
		cmd = new(SwitchMove)
	case kindFinishMove:
		cmd = new(FinishMove)
	case kindAdaptSources:
		cmd = new(AdaptSources)
	case kindPutProfiles:
		cmd = new(PutProfiles)
	case kindPutToken:
		cmd = new(PutToken)
	case kindDeleteToken:
		cmd = new(DeleteToken)
	default:
		return nil, fmt.Errorf("%w log entry: unknown type %d", ErrCorrupt, entry[1])
	}
	if err := newCodec().dec.Unmarshal(entry[2:], cmd); err != nil {
		return nil, fmt.Errorf("%w log entry of type %d: %w", ErrCorrupt, entry[1], err)
	}
	return cmd, nil
}
