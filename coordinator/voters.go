package coordinator

import (
	"cmp"
	"context"
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
	var out []change
	byID := make(map[raft.ServerID]raft.Server, len(e.servers))
	byAddr := make(map[raft.ServerAddress]raft.Server, len(e.servers))
	voters := 0
	for _, s := range e.servers {
		byID[s.ID], byAddr[s.Address] = s, s
		if s.Suffrage == raft.Voter {
			voters++
		}
	}
	members := make(map[raft.ServerID]*tiering.Member, len(e.members))
	for i := range e.members {
		members[raft.ServerID(e.members[i].Node.ID)] = &e.members[i]
	}
	coordinates := func(id raft.ServerID) bool {
		m := members[id]
		return m != nil && m.Status == tiering.NodeAlive && m.Node.Addresses.Raft != ""
	}
	if own, known := byID[e.self]; known && own.Address != e.addr {
		own.Address = e.addr
		out = append(out, change{move, own, own.Suffrage == raft.Voter, ""})
	}
	displaced := map[raft.ServerID]bool{}
	for _, id := range sortedKeys(members) {
		addr := raft.ServerAddress(members[id].Node.Addresses.Raft)
		old, known := byID[id]
		if id == e.self || !coordinates(id) || known && old.Address == addr {
			continue
		}
		// A machine that came back under another name leaves its old name behind
		// at the same address, which Raft does not allow.
		if holder, taken := byAddr[addr]; taken && holder.ID != id {
			if holder.ID == e.self || coordinates(holder.ID) {
				out = append(out, change{report, raft.Server{ID: id, Address: addr}, false,
					fmt.Sprintf("%s advertises the same Raft address; give each its own (`advertise`, `listen.raft`)", holder.ID)})
				continue
			}
			displaced[holder.ID] = true
			out = append(out, change{remove, holder, holder.Suffrage == raft.Voter, ""})
		}
		switch {
		case !known:
			out = append(out, change{admit, raft.Server{Suffrage: raft.Nonvoter, ID: id, Address: addr}, false, ""})
		case now.Sub(e.contacts[id].last) <= e.gap:
			out = append(out, change{report, raft.Server{ID: id, Address: addr}, false,
				fmt.Sprintf("one of that name still answers at %s; if there are two machines, give one another `node.name` and a certificate for it", old.Address)})
		default:
			out = append(out, change{move, raft.Server{Suffrage: old.Suffrage, ID: id, Address: addr}, old.Suffrage == raft.Voter, ""})
		}
	}

	var left, silent []change // to go, as far as that is safe
	for _, s := range e.servers {
		if s.ID == e.self || displaced[s.ID] {
			continue
		}
		voter := s.Suffrage == raft.Voter
		c, m := e.contacts[s.ID], members[s.ID]
		silence := now.Sub(later(e.began, c.last))
		switch {
		case coordinates(s.ID) && !voter:
			steady := silence <= e.gap && now.Sub(later(e.began, c.since)) >= e.Stable
			if steady && raft.ServerAddress(m.Node.Addresses.Raft) == s.Address {
				out = append(out, change{promote, s, false, ""})
			}
		case coordinates(s.ID) && silence >= e.Dead:
			silent = append(silent, change{demote, s, voter, ""})
		case m != nil && (m.Status == tiering.NodeLeft || m.Status == tiering.NodeAlive && m.Node.Addresses.Raft == ""):
			left = append(left, change{remove, s, voter, ""})
		case !coordinates(s.ID) && silence >= e.Dead:
			silent = append(silent, change{remove, s, voter, ""})
		}
	}
	minority := (voters - 1) / 2 // of those that did not say good-bye
	for i, c := range append(left, silent...) {
		if c.voter {
			if voters-1 < max(e.expect, 1) || i >= len(left) && minority == 0 {
				continue
			}
			voters--
			if i >= len(left) {
				minority--
			}
		}
		out = append(out, c)
	}
	return out
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
// ends it; the next round looks again.
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
			return raftError(err)
		}
	}
	l.reported = reported
	return nil
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
