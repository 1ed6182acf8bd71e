package coordinator

import (
	"context"
	"fmt"
)

// Verify makes sure that what this coordinator knows is the latest: everything
// that anybody was told is done before Verify was called is in Snapshot after
// it. It asks a majority of the coordinators whether this one still leads; one
// that was deposed may not have heard of it. The error is ErrNotLeader or
// ErrNoLeader, and nothing has been done.
//
// A later term of this coordinator does not do: between the two another may
// have led, whose entries need not be applied here yet.
func (c *Coordinator) Verify(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	term := c.term.Load()
	if err := c.mustLead(); err != nil {
		return err
	}
	r := c.raft.Load()
	if r == nil { // its storage has failed meanwhile
		return ErrNoLeader
	}
	// It ends within the leader's lease, with leadership if not with an answer.
	if err := r.VerifyLeader().Error(); err != nil {
		return fmt.Errorf("%w: the others do not confirm that this coordinator leads: %w", ErrNoLeader, err)
	}
	if r.CurrentTerm() != term {
		return fmt.Errorf("%w: another election has taken place", ErrNoLeader)
	}
	return nil
}
