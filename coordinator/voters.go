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

// Voters says when coordinators get their vote and lose it; zero fields: the
// defaults.
type Voters struct {
	// Stable is how long a newcomer must have answered without a gap, with the
	// log in full, before it votes.
	Stable time.Duration
	// Dead is how long a coordinator may be silent before it is taken out, if
	// enough others remain.
	Dead time.Duration
}

const (
	defaultStable = 10 * time.Second
	defaultDead   = 10 * time.Minute
	votersTimeout = 10 * time.Second // to commit one change
)

// electorate is what a leader knows of the coordinators at one moment.
type electorate struct {
	self     raft.ServerID
	addr     raft.ServerAddress // of self, as others dial it
	expect   int                // never fewer voters than this, if there are as many
	servers  []raft.Server      // Raft's configuration
	members  []tiering.Member
	contacts map[raft.ServerID]contact
	began    time.Time     // when this leader began to listen
	gap      time.Duration // longest silence of a healthy coordinator
	Voters
}

// action is what is to become of one coordinator.
type action string

const (
	admit   action = "joined: follows without a vote until it has proved itself"
	promote action = "is healthy and has the whole log: votes from now on"
	move    action = "has another address"
	demote  action = "lives but does not answer as a coordinator: votes no more"
	remove  action = "is gone: votes no more"
	report  action = "cannot be taken in"
)

// change is one thing to do about one coordinator.
type change struct {
	action
	server raft.Server
	voter  bool   // it has a vote
	why    string // of a report
}

// changes says what is to be changed at a moment, in that order. It looks at
// each coordinator once and never takes out so many that fewer voters than
// expected remain, or a majority at once: a mesh that is shut down coordinator
// by coordinator is whole again when a majority of them is started.
func (e *electorate) changes(now time.Time) []change {
	r := e.roll()
	out := e.moves(now, r)
	var left, silent []change // to go, as far as that is safe
	for _, s := range e.servers {
		if s.ID == e.self || r.dropped[s.ID] {
			continue
		}
		voter := s.Suffrage == raft.Voter
		c, m := e.contacts[s.ID], r.members[s.ID]
		silence := now.Sub(later(e.began, c.last))
		switch {
		case r.coordinates(s.ID) && !voter:
			steady := silence <= e.gap && now.Sub(later(e.began, c.since)) >= e.Stable
			if steady && raft.ServerAddress(m.Node.Addresses.Raft) == s.Address {
				out = append(out, change{promote, s, false, ""})
			}
		case r.coordinates(s.ID) && silence >= e.Dead:
			silent = append(silent, change{demote, s, voter, ""})
		case m != nil && (m.Status == tiering.NodeLeft || m.Status == tiering.NodeAlive && m.Node.Addresses.Raft == ""):
			left = append(left, change{remove, s, voter, ""})
		case !r.coordinates(s.ID) && silence >= e.Dead:
			silent = append(silent, change{remove, s, voter, ""})
		}
	}
	for i, c := range append(left, silent...) {
		if c.voter {
			if r.voters-1 < max(e.expect, 1) || i >= len(left) && r.minority <= 0 {
				continue
			}
			r.voters--
			if i >= len(left) {
				r.minority--
			}
		}
		out = append(out, c)
	}
	return out
}

// roll is who there is while it is decided what is to be changed.
type roll struct {
	members  map[raft.ServerID]*tiering.Member
	byID     map[raft.ServerID]raft.Server
	byAddr   map[raft.ServerAddress]raft.ServerID
	dropped  map[raft.ServerID]bool // taken out
	voters   int
	minority int // how many voters may be taken out that did not say good-bye
}

func (e *electorate) roll() *roll {
	r := &roll{
		members: make(map[raft.ServerID]*tiering.Member, len(e.members)), dropped: map[raft.ServerID]bool{},
		byID: make(map[raft.ServerID]raft.Server, len(e.servers)), byAddr: make(map[raft.ServerAddress]raft.ServerID, len(e.servers)),
		voters: countVoters(e.servers),
	}
	r.minority = (r.voters - 1) / 2
	for _, s := range e.servers {
		r.byID[s.ID], r.byAddr[s.Address] = s, s.ID
	}
	for i := range e.members {
		r.members[raft.ServerID(e.members[i].Node.ID)] = &e.members[i]
	}
	return r
}

// coordinates reports whether gossip sees a coordinator alive.
func (r *roll) coordinates(id raft.ServerID) bool {
	m := r.members[id]
	return m != nil && m.Status == tiering.NodeAlive && m.Node.Addresses.Raft != ""
}

// put notes where a coordinator is from now on.
func (r *roll) put(s raft.Server) {
	if old, known := r.byID[s.ID]; known && r.byAddr[old.Address] == s.ID {
		delete(r.byAddr, old.Address)
	}
	r.byID[s.ID], r.byAddr[s.Address] = s, s.ID
}

// drop takes a coordinator out.
func (r *roll) drop(id raft.ServerID) change {
	s := r.byID[id]
	delete(r.byID, id)
	delete(r.byAddr, s.Address)
	r.dropped[id] = true
	if s.Suffrage == raft.Voter {
		r.voters--
		r.minority--
	}
	return change{remove, s, s.Suffrage == raft.Voter, ""}
}

func countVoters(servers []raft.Server) (n int) {
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			n++
		}
	}
	return n
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	out := make([]K, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// reconcileVoters carries out what has to change among the voters. What fails
// does not hold up the rest; the next round looks again.
func (l *leader) reconcileVoters(ctx context.Context, members []tiering.Member) error {
	future := l.raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return raftError(err)
	}
	e := &electorate{
		self: raft.ServerID(l.cfg.ID), addr: raft.ServerAddress(l.addr), expect: l.cfg.Expect, servers: future.Configuration().Servers, members: members,
		contacts: l.contacts.all(), began: l.began, gap: l.contacts.gap, Voters: l.cfg.Voters,
	}
	reported := map[string]bool{}
	var errs []error
	for _, c := range e.changes(time.Now()) {
		if ctx.Err() != nil {
			return nil
		}
		if c.action == report {
			reported[c.why] = true
			if !l.reported[c.why] {
				l.log.Error("coordinator "+string(c.action), "node", c.server.ID, "address", c.server.Address, "because", c.why)
			}
			continue
		}
		l.log.Info("coordinator "+string(c.action), "node", c.server.ID, "address", c.server.Address)
		if err := l.carryOut(ctx, c); err != nil {
			err = fmt.Errorf("%s: %w", c.server.ID, raftError(err))
			errs = append(errs, err)
			if errors.Is(err, ErrNotLeader) {
				break
			}
		}
	}
	l.reported = reported
	return errors.Join(errs...)
}

func (l *leader) carryOut(ctx context.Context, c change) error {
	id, addr := c.server.ID, c.server.Address
	return l.gate.Load().ask(ctx, func(r *raft.Raft) raft.Future {
		switch {
		case c.action == remove:
			return r.RemoveServer(id, 0, votersTimeout)
		case c.action == demote:
			return r.DemoteVoter(id, 0, votersTimeout)
		case c.action == promote || c.action == move && c.voter:
			return r.AddVoter(id, addr, 0, votersTimeout)
		}
		return r.AddNonvoter(id, addr, 0, votersTimeout)
	})
}
