package state

import (
	"fmt"
	"time"

	"github.com/weft-mesh/weft/models/profile"
)

// Profiles is what detectors were measured to cost on a node, in the order of
// their keys; at most profile.MaxEach.
type Profiles struct {
	Node        string            `json:"node"`
	Profiles    []profile.Profile `json:"profiles"`
	ModifyIndex uint64            `json:"modify_index"`
}

// PutProfiles adds to what is known of a node, in place of what was known of the
// same model, resolution and backend. They end with the node.
type PutProfiles struct {
	Node     string            `json:"node"`
	Profiles []profile.Profile `json:"profiles"`
	At       time.Time         `json:"at"`
}

func (*PutProfiles) kind() kind { return kindPutProfiles }

// Check says what is wrong with the command whatever the state is, for those
// who would commit it.
func (c *PutProfiles) Check() error {
	if n := len(c.Profiles); n < 1 || n > profile.MaxEach {
		return fmt.Errorf("%w: %d profiles: send 1 to %d", ErrInvalid, n, profile.MaxEach)
	}
	for i := range c.Profiles {
		if err := c.Profiles[i].Validate(); err != nil {
			return fmt.Errorf("%w: profiles[%d]: %w", ErrInvalid, i, err)
		}
	}
	return nil
}

func (c *PutProfiles) apply(tx *change) error {
	tx.at = c.At
	if err := c.Check(); err != nil {
		return err
	}
	if _, ok := get[Node](tx.txn, tableNodes, c.Node); !ok {
		return fmt.Errorf("%w: node %q", ErrNotFound, c.Node)
	}
	var known []profile.Profile
	if old, ok := get[Profiles](tx.txn, tableProfiles, c.Node); ok {
		known = old.Profiles
	}
	tx.insert(tableProfiles, &Profiles{Node: c.Node, Profiles: profile.Merge(known, c.Profiles), ModifyIndex: tx.index})
	return nil
}

// ProfilesOf returns what detectors were measured to cost on a node.
func (s *Snapshot) ProfilesOf(node string) []profile.Profile {
	if p, ok := get[Profiles](s.txn(), tableProfiles, node); ok {
		return p.Profiles
	}
	return nil
}

// Profiles returns what was measured on each node, by name.
func (s *Snapshot) Profiles() []*Profiles { return list[Profiles](s.txn(), tableProfiles, byID) }
