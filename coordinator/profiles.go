package coordinator

import (
	"context"
	"slices"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/models/profile"
)

// PutProfiles keeps what a node says of what detectors cost there. What is known
// already is not written to the log again.
func (c *Coordinator) PutProfiles(ctx context.Context, node string, ps []profile.Profile) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.mustLead(); err != nil {
		return err
	}
	cmd := &state.PutProfiles{Node: node, Profiles: ps, At: now()}
	if err := cmd.Check(); err != nil {
		return err
	}
	known := c.Snapshot().ProfilesOf(node)
	if !slices.ContainsFunc(ps, func(p profile.Profile) bool {
		old, ok := profile.Find(known, p.Key())
		return !ok || !state.Same(old, p)
	}) {
		return nil
	}
	_, err := c.apply(cmd)
	return err
}
