package coordinator

import (
	"context"
	"fmt"

	"github.com/hashicorp/raft"
)

// Verify makes sure that what this coordinator knows is the latest: everything
// that anybody was told is done before Verify was called is in Snapshot after
// it. One that was deposed may not have heard of it, so Verify commits an entry
// that changes nothing, which takes a majority; when that is applied, so is
// everything before it. The error is ErrNotLeader, ErrNoLeader or that of ctx,
// and nothing has been done.
//
// Raft's VerifyLeader writes nothing, but counts every answer that comes in
// after it was called, also one that was given before another was elected.
func (c *Coordinator) Verify(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.mustLead(); err != nil {
		return err
	}
	// Those of callers who ask at the same time are written to disk at once.
	err := c.gate.Load().ask(ctx, func(r *raft.Raft) raft.Future { return r.Barrier(applyTimeout) })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%w: the others do not confirm that this coordinator leads: %w", ErrNoLeader, err)
	}
	return nil
}
