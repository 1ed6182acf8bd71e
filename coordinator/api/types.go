package api

import (
	"time"

	"github.com/weft-mesh/weft/coordinator/adapter"
	"github.com/weft-mesh/weft/coordinator/kpi"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/tiering"
)

type (
	// WorkflowStatus is how a workflow is doing.
	WorkflowStatus = kpi.Workflow
	// QualityStatus is how the quality of a workflow's sources is adapted.
	QualityStatus = adapter.Status
	// SourceQuality is what was estimated and measured of one of them.
	SourceQuality = adapter.Source
	// NextVersion is what takes the place of a workflow when its models have come.
	NextVersion = kpi.Next
	// SourceStatus is how one source is doing.
	SourceStatus = kpi.Source
	// StageStatus is how the instances of one task are doing.
	StageStatus = kpi.Stage
	// Quantiles of durations, in milliseconds.
	Quantiles = kpi.Quantiles
	// Event is one thing that happened in the mesh.
	Event = state.Event
)

// Mesh is how the control plane is doing, as one coordinator sees it.
type Mesh struct {
	Mesh          string   `json:"mesh"`
	Cluster       string   `json:"cluster,omitempty"` // tells it from others of that name; empty: not formed yet
	Node          string   `json:"node"`              // who answers
	Version       string   `json:"version"`
	Leader        string   `json:"leader"`         // node; empty: none now
	LeaderAddress string   `json:"leader_address"` // of its API
	Coordinators  []string `json:"coordinators"`   // nodes
	Index         uint64   `json:"index"`          // of the state that answers
	// OutOfService are those of the coordinators that do not work, although
	// their nodes are alive.
	OutOfService []Outage `json:"out_of_service,omitempty"`
}

// Outage is a coordinator that is out of service.
type Outage struct {
	Node   string `json:"node"`
	Reason string `json:"reason"` // in a few words; of the one that answers, and the remedy
}

// Node is a node with what is known of it now.
type Node struct {
	tiering.Node
	Status tiering.NodeStatus `json:"status"`
	Since  time.Time          `json:"since"` // of the status
	// Reserved is what placements have reserved, Free what the machine itself
	// measures as unused.
	Reserved   tiering.Resources `json:"reserved"`
	Free       tiering.Resources `json:"free"`
	Placements []string          `json:"placements"` // IDs
	// RoundTripMS is the estimated round trip from the coordinator that
	// answers, in milliseconds; nil: not measured yet.
	RoundTripMS *float64 `json:"round_trip_ms,omitempty"`
	// Draining: it gets nothing new, and what it has is moved.
	Draining bool `json:"draining"`
	// Left is what it still runs while it drains.
	Left []Left `json:"left,omitempty"`
}

// Left is a placement that a draining node still runs.
type Left struct {
	Placement string `json:"placement"` // ID
	// Attached: it is a source that is to be had on this node only, and stays.
	Attached bool `json:"attached,omitempty"`
	// To is the node that it is moving to; empty: none has room for it yet.
	To     string `json:"to,omitempty"`
	Reason string `json:"reason,omitempty"` // why it is still here, for people
}

// Drain says whether a node is to drain.
type Drain struct {
	Drain bool `json:"drain"`
}

// Assignments is what a node is to run, as of an index.
type Assignments struct {
	Index       uint64               `json:"index"`
	Assignments []tiering.Assignment `json:"assignments"`
	// Models are those that the node is to have, and gets by itself from nodes
	// that hand them out.
	Models []catalog.Model `json:"models,omitempty"`
	// Measure is of what the node is to say what it costs, and Profiles what it
	// has said of that and of others.
	Measure  []profile.Key     `json:"measure,omitempty"`
	Profiles []profile.Profile `json:"profiles,omitempty"`
}

// Workflow is one line about a workflow.
type Workflow struct {
	Name      string    `json:"name"`
	Status    string    `json:"status"` // pending, running, degraded, stopped
	Reason    string    `json:"reason,omitempty"`
	Since     time.Time `json:"since"` // of the status
	Submitted time.Time `json:"submitted"`
	Version   uint64    `json:"version"`
	Sources   int       `json:"sources"`
	Tasks     int       `json:"tasks"`
	Instances int       `json:"instances"` // placed
	// Next is the version that waits to take its place; nil: there is none.
	Next *NextVersion `json:"next,omitempty"`
}

// Planned is what submitting a workflow would change, or has changed.
type Planned struct {
	Plan    *tiering.Plan     `json:"plan"`
	Sources []tiering.Source  `json:"sources"` // passwords in URIs are masked
	Tasks   []tiering.Task    `json:"tasks"`
	Links   []tiering.Link    `json:"links"`
	Changes bool              `json:"changes"`
	Nodes   map[string]string `json:"nodes"` // tier by node, of the nodes planned on
}

// Model is a catalogue entry with the live nodes that can load it.
type Model struct {
	catalog.Model
	Nodes []string `json:"nodes"`
	// Awaited are the live nodes that are to have it and do not yet.
	Awaited []string `json:"awaited,omitempty"`
}

// NodeProfile is what a detector was measured to cost on a node.
type NodeProfile struct {
	Node string `json:"node"`
	profile.Profile
}

// Profiles is what a node says of what detectors cost there.
type Profiles struct {
	Profiles []profile.Profile `json:"profiles"`
}

// Scope is what the bearer of a token may do.
type Scope = state.Scope

// TokenRequest asks for a new token.
type TokenRequest struct {
	Name      string `json:"name"`
	Scope     Scope  `json:"scope"`
	LifetimeS int64  `json:"lifetime_s"` // seconds; 0: until it is revoked
}

// Token is a token without its secret.
type Token struct {
	ID      string     `json:"id"` // the public part of it
	Name    string     `json:"name"`
	Scope   Scope      `json:"scope"`
	Created time.Time  `json:"created"`
	Expires *time.Time `json:"expires,omitempty"` // nil: never
	// CreatedBy is who made it, as in the audit log; empty for tokens from
	// before this was kept.
	CreatedBy string `json:"created_by,omitempty"`
}

// NewToken is a token with its secret, which is told once.
type NewToken struct {
	Token  Token  `json:"token"`
	Secret string `json:"secret"`
}
