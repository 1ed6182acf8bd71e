package coordinator

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// moves says which coordinators are to be taken in and which have another
// address, in an order that Raft takes: it allows no address twice, so whoever
// has one must go before the next one comes. It notes in the roll what becomes
// of everybody.
func (e *electorate) moves(now time.Time, r *roll) (out []change) {
	left, waits := []raft.ServerID{e.self}, map[raft.ServerID]raft.ServerID{}
	for _, id := range sortedKeys(r.members) {
		if id != e.self {
			left = append(left, id)
		}
	}
	refuse := func(id raft.ServerID, addr raft.ServerAddress, why string, args ...any) {
		out = append(out, change{report, raft.Server{ID: id, Address: addr}, false, fmt.Sprintf(why, args...)})
	}
	for len(left) > 0 {
		var rest []raft.ServerID
		clear(waits)
		for _, id := range left {
			addr, lives := e.home(r, id)
			old, known := r.byID[id]
			if !lives || known && old.Address == addr || !known && id == e.self {
				continue
			}
			holder, taken := r.byAddr[addr]
			there, alive := e.home(r, holder)
			switch {
			case taken && alive && there == addr:
				refuse(id, addr, "%s advertises the same Raft address; give each its own (`advertise`, `listen.raft`)", holder)
			case known && id != e.self && now.Sub(e.contacts[id].last) <= e.gap:
				refuse(id, addr, "one of that name still answers at %s; if there are two machines, give one another `node.name` and a certificate for it", old.Address)
			case taken && alive: // it has another address, too
				waits[id] = holder
				rest = append(rest, id)
			default:
				// A machine that came back under another name leaves its old name
				// behind at the same address.
				if taken {
					out = append(out, r.drop(holder))
				}
				s := raft.Server{Suffrage: raft.Nonvoter, ID: id, Address: addr}
				what := admit
				if known {
					s.Suffrage, what = old.Suffrage, move
				}
				r.put(s)
				out = append(out, change{what, s, s.Suffrage == raft.Voter, ""})
			}
		}
		if len(rest) == len(left) {
			one, ok := e.circle(rest, waits, r)
			if !ok {
				for _, id := range rest {
					addr, _ := e.home(r, id)
					refuse(id, addr, "%s is still listed there; it has to get its new address first", waits[id])
				}
				break
			}
			out = append(out, r.drop(one))
		}
		left = rest
	}
	return out
}

// circle finds one of those that wait for each other's addresses, which is to
// be taken out so that the others can move. It is taken in again like a
// newcomer. With two voters there is none to spare.
func (e *electorate) circle(rest []raft.ServerID, waits map[raft.ServerID]raft.ServerID, r *roll) (one raft.ServerID, ok bool) {
	for _, id := range rest {
		next := waits[id]
		for range rest {
			if next == id {
				break
			}
			next = waits[next]
		}
		voter := r.byID[id].Suffrage == raft.Voter
		if next != id || id == e.self || voter && r.minority <= 0 {
			continue
		}
		if !voter {
			return id, true
		}
		one, ok = id, true
	}
	return one, ok
}

// home is where a coordinator says that it is; false for what is none, or not
// alive.
func (e *electorate) home(r *roll, id raft.ServerID) (raft.ServerAddress, bool) {
	if id == e.self {
		return e.addr, true
	}
	if !r.coordinates(id) {
		return "", false
	}
	return raft.ServerAddress(r.members[id].Node.Addresses.Raft), true
}
