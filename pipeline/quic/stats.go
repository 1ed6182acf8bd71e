package quic

import (
	"maps"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/weft-mesh/weft/pipeline"
)

// PeerStats is what the link knows of one peer. Counters grow from when the
// peer was first heard of; one that is not heard of for ten minutes is
// forgotten with its counters.
type PeerStats struct {
	Addr      string `json:"addr"`      // a tiering.Peer
	Name      string `json:"name"`      // of its certificate
	Connected bool   `json:"connected"` // in either direction

	Connections int `json:"connections"` // dialled to the peer

	// Frames to the peer.
	Sent      uint64                     `json:"sent"`
	SentBytes uint64                     `json:"sent_bytes"` // of messages
	Cancelled uint64                     `json:"cancelled"`  // late before they were written
	InFlight  int                        `json:"in_flight"`  // being written, or their outcome not known
	Settled   map[pipeline.Reason]uint64 `json:"settled"`    // sent ones by outcome; "": delivered

	// Frames from the peer.
	Received      uint64                     `json:"received"`
	ReceivedBytes uint64                     `json:"received_bytes"`
	Refused       map[pipeline.Reason]uint64 `json:"refused"` // that did not arrive whole and valid

	RTT         time.Duration `json:"rtt"`          // smoothed (RFC 9002, section 5.3); 0 when not connected
	PacketsSent uint64        `json:"packets_sent"` // on connections dialled to the peer
	PacketsLost uint64        `json:"packets_lost"`
}

// counters are a peer's; stats adds what its connections say.
type counters struct {
	mu sync.Mutex
	s  PeerStats
}

func newCounters() counters {
	return counters{s: PeerStats{Settled: map[pipeline.Reason]uint64{}, Refused: map[pipeline.Reason]uint64{}}}
}

func (c *counters) update(fn func(*PeerStats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fn(&c.s)
}

func (c *counters) sent(bytes int) {
	c.update(func(s *PeerStats) { s.Sent++; s.SentBytes += uint64(bytes) })
}

func (c *counters) received(bytes int) {
	c.update(func(s *PeerStats) { s.Received++; s.ReceivedBytes += uint64(bytes) })
}

func (c *counters) cancelled() { c.update(func(s *PeerStats) { s.Cancelled++ }) }

func (c *counters) settled(r pipeline.Reason) { c.update(func(s *PeerStats) { s.Settled[r]++ }) }

func (c *counters) refused(r pipeline.Reason) { c.update(func(s *PeerStats) { s.Refused[r]++ }) }

// addPackets keeps the counts of a connection that is no longer used.
func (c *counters) addPackets(q quic.ConnectionStats) {
	c.update(func(s *PeerStats) { s.add(q) })
}

func (s *PeerStats) add(q quic.ConnectionStats) {
	s.PacketsSent += q.PacketsSent
	s.PacketsLost += q.PacketsLost
}

func (p *peer) stats() PeerStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counters.mu.Lock()
	s := p.counters.s
	s.Settled, s.Refused = maps.Clone(s.Settled), maps.Clone(s.Refused)
	p.counters.mu.Unlock()

	out := p.lanes.all()
	s.Addr, s.Connected, s.Connections = p.addr, len(out)+len(p.in) > 0, len(out)
	if len(p.in) > 0 {
		s.Name = p.in[0].name
		s.RTT = p.in[0].conn.ConnectionStats().SmoothedRTT
	}
	for i, o := range out {
		q := o.conn.ConnectionStats()
		if i == 0 {
			s.Name, s.RTT = o.name, q.SmoothedRTT
		}
		s.InFlight += o.flights.len()
		s.add(q)
	}
	return s
}
