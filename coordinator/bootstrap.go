package coordinator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/weft-mesh/weft/tiering"
)

// bootstrapPoll is how often a coordinator without state looks for the others.
// It does not listen to Membership.Changed, which is the leader's.
const bootstrapPoll = 100 * time.Millisecond

// bootstrap forms a new mesh: once gossip shows as many coordinators as are
// expected, the first of them by name writes down all of them as voters and
// stands for election; the others learn the configuration from it. That only
// one does so keeps two that see different members from forming two meshes.
//
// It ends as soon as this coordinator has any state.
func (c *Coordinator) bootstrap(ctx context.Context, r *raft.Raft) error {
	if c.cfg.Expect == 0 {
		return nil
	}
	tick := time.NewTicker(bootstrapPoll)
	defer tick.Stop()
	for r.LastIndex() == 0 {
		// One that is new to a mesh that exists waits to be taken in.
		exists := c.members.Cluster() != ""
		if servers := founders(c.cfg.ID, c.addr, c.cfg.Expect, c.members.Members()); !exists && len(servers) > 0 && servers[0].ID == raft.ServerID(c.cfg.ID) {
			c.log.Info("forming a new mesh", "mesh", c.cfg.Cluster, "coordinators", servers)
			// A store that fails may end the goroutine that was to answer.
			done := make(chan error, 1)
			go func() { done <- r.BootstrapCluster(raft.Configuration{Servers: servers}).Error() }()
			select {
			case err := <-done:
				if err != nil && !errors.Is(err, raft.ErrCantBootstrap) && !errors.Is(err, raft.ErrRaftShutdown) {
					return fmt.Errorf("form a new mesh: %w", err)
				}
			case <-ctx.Done():
			}
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// founders are the first voters of a new mesh, by name: the expected number of
// live coordinators, or none while there are not enough.
func founders(self, addr string, expect int, members []tiering.Member) []raft.Server {
	servers := []raft.Server{{Suffrage: raft.Voter, ID: raft.ServerID(self), Address: raft.ServerAddress(addr)}}
	for _, m := range members {
		if m.Status == tiering.NodeAlive && m.Node.Addresses.Raft != "" && m.Node.ID != self {
			servers = append(servers, raft.Server{
				Suffrage: raft.Voter, ID: raft.ServerID(m.Node.ID), Address: raft.ServerAddress(m.Node.Addresses.Raft),
			})
		}
	}
	if len(servers) < expect {
		return nil
	}
	slices.SortFunc(servers, func(a, b raft.Server) int { return cmp.Compare(a.ID, b.ID) })
	return servers[:expect]
}
