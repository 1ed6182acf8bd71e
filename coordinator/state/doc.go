// Package state is the coordinators' replicated state machine, without Raft:
// which nodes there are, which workflows were submitted and what is placed
// where.
//
// [Machine.Apply] takes one log entry, an encoded [Command]. It is
// deterministic: the time is a field of the command, nothing is drawn at
// random, no result depends on the order of a map. Machines that were fed the
// same log write the same bytes in [Snapshot.Persist]. The leader decides and
// the machine re-checks: a plan (Houmani et al., SBAC-PAD 2021, section VI) is
// committed only if its facts still hold (nodes alive, nothing new on those
// that drain, capacity not exceeded, nothing intensive on the edge, no adjustment below one half), and is refused
// whole otherwise.
//
// Reads go through [Machine.Snapshot], an immutable view that costs nothing to
// take and never blocks Apply. What a Snapshot returns is shared: callers must
// not modify it.
//
// Soft state (load, round trips, reports) never comes here. coordinator and
// coordinator/api may import this package.
package state
