package coordinator

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/raft"

	"github.com/weft-mesh/weft/tiering"
)

const votersTimeout = 10 * time.Second

// reconcileVoters makes every live coordinator a voter. One that failed stays
// a voter: it may come back. One that left stays only if fewer than the
// expected number would remain, so that a mesh that is shut down coordinator
// by coordinator is whole again when a majority of them is started.
func (l *leader) reconcileVoters(ctx context.Context, members []tiering.Member) error {
	future := l.raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return raftError(err)
	}
	voters := future.Configuration().Servers
	byID := make(map[raft.ServerID]raft.ServerAddress, len(voters))
	for _, v := range voters {
		byID[v.ID] = v.Address
	}
	var errs []error
	for i := range members {
		m := &members[i]
		id, addr := raft.ServerID(m.Node.ID), raft.ServerAddress(m.Node.Addresses.Raft)
		old, isVoter := byID[id]
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case m.Node.ID == l.cfg.ID:
		case m.Status == tiering.NodeAlive && addr != "" && old != addr:
			errs = append(errs, l.addVoter(id, addr, voters, members))
			byID[id] = addr
		case m.Status == tiering.NodeLeft && isVoter && len(byID)-1 >= max(l.cfg.Expect, 1):
			l.log.Info("coordinator left, no longer a voter", "node", id)
			errs = append(errs, l.removeVoter(id))
			delete(byID, id)
		}
	}
	return errors.Join(errs...)
}

func (l *leader) addVoter(id raft.ServerID, addr raft.ServerAddress, voters []raft.Server, members []tiering.Member) error {
	// A machine that came back under another name leaves its old name behind
	// at the same address, which Raft does not allow.
	for _, v := range voters {
		if v.Address == addr && v.ID != id {
			for i := range members {
				if members[i].Node.ID == string(v.ID) && members[i].Status == tiering.NodeAlive {
					l.log.Error("two live coordinators advertise one Raft address; give each its own", "address", addr, "nodes", []raft.ServerID{id, v.ID})
					return nil
				}
			}
			if err := l.removeVoter(v.ID); err != nil {
				return err
			}
		}
	}
	l.log.Info("coordinator joined, now a voter", "node", id, "address", addr)
	if err := l.raft.AddVoter(id, addr, 0, votersTimeout).Error(); err != nil {
		return raftError(err)
	}
	return nil
}

func (l *leader) removeVoter(id raft.ServerID) error {
	if err := l.raft.RemoveServer(id, 0, votersTimeout).Error(); err != nil {
		return raftError(err)
	}
	return nil
}
