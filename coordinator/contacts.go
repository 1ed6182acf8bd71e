package coordinator

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// transport is what Raft's RPCs go over: its own or the one in memory.
type transport interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

// contact is what a leader knows of another coordinator from its answers.
type contact struct {
	last  time.Time // of the last answer
	since time.Time // from when on it has answered without a gap, and kept up
}

// contacts notes how the others answer while this coordinator leads. Every
// answer to AppendEntries, heartbeats included, says how far the follower's log
// goes, so nobody needs to be asked.
type contacts struct {
	transport
	gap       time.Duration // longest silence between answers of a healthy one
	lastIndex func() uint64 // of this coordinator's log

	mu    sync.Mutex
	known map[raft.ServerID]contact
}

// maxTrailing is by how many entries a follower may lag and count as caught up.
const maxTrailing = 250

func newContacts(t transport, gap time.Duration, lastIndex func() uint64) *contacts {
	return &contacts{transport: t, gap: gap, lastIndex: lastIndex, known: map[raft.ServerID]contact{}}
}

// AppendEntries notes who answers.
func (c *contacts) AppendEntries(id raft.ServerID, to raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	err := c.transport.AppendEntries(id, to, args, resp)
	if err == nil && resp.Term <= args.Term {
		c.note(id, time.Now(), resp.LastLog+maxTrailing >= c.lastIndex())
	}
	return err
}

// AppendEntriesPipeline is not had: see stream.transport.
func (c *contacts) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

func (c *contacts) note(id raft.ServerID, now time.Time, keepsUp bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.known[id]
	if !keepsUp || now.Sub(k.last) > c.gap {
		k.since = now
	}
	k.last = now
	c.known[id] = k
}

// all returns what is known now.
func (c *contacts) all() map[raft.ServerID]contact {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[raft.ServerID]contact, len(c.known))
	for id, k := range c.known {
		out[id] = k
	}
	return out
}
