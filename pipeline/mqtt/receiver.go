package mqtt

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/weft-mesh/weft/pipeline"
)

// The rhythm of clock exchanges with a node that frames come from: soon some,
// so that one of them is undisturbed, then now and then.
const (
	syncSoon  = 4
	syncFast  = 100 * time.Millisecond
	syncSlow  = 2 * time.Second
	maxPeers  = 1024
	peerQuiet = 5 * time.Minute
)

// peer is a run of a node that frames come from.
type peer struct {
	clock  pipeline.ClockSync
	pings  int
	pinged time.Time
	seen   time.Time
}

// arrived is called by paho for every message and does not block.
func (l *Link) arrived(s *session, topic string, payload []byte) {
	oldest, full := l.in.add(arrival{session: s, topic: topic, payload: payload, at: time.Now()})
	if full {
		l.counters.overflow.Add(1)
		l.settleUnseen(oldest, pipeline.ReasonQueueFull)
	}
}

// receiveAll handles what arrives until ctx ends; what has arrived by then is
// settled as ReasonShutdown.
func (l *Link) receiveAll(ctx context.Context) {
	peers := map[party]*peer{}
	for ctx.Err() == nil {
		if a, ok := l.in.take(); ok {
			l.handle(peers, a)
			continue
		}
		select {
		case <-l.in.wake:
		case <-ctx.Done():
		}
	}
	for {
		a, ok := l.in.take()
		if !ok {
			return
		}
		if strings.HasPrefix(a.topic, framesRoot) {
			l.settleUnseen(a, pipeline.ReasonShutdown)
		}
	}
}

func (l *Link) handle(peers map[party]*peer, a arrival) {
	from, err := sender(a.topic)
	if err == nil {
		if strings.HasPrefix(a.topic, controlRoot) {
			err = l.handleControl(peers, from, a)
		} else {
			err = l.handleFrame(peers, from, a)
		}
	}
	if err != nil {
		l.refused(a.topic, err)
	}
}

func (l *Link) handleFrame(peers map[party]*peer, from party, a arrival) error {
	m, err := l.decodeFrame(a.payload)
	if err != nil {
		return err
	}
	now := time.Now()
	p := l.peer(peers, from, now)
	transfer, ok := p.clock.Transfer(m.SentAt, l.clock.Reading(now))
	if !ok {
		transfer = now.Sub(a.at) // all that is known of it so far
	}
	f := m.Arrived(now, transfer)
	l.onSettle(f, from, m.Ref)
	if f.Late(now) {
		l.counters.late.Add(1)
		f.Settle(pipeline.Outcome{Reason: pipeline.ReasonDeadline, Age: f.Age(now)})
		return nil
	}
	l.counters.received.Add(1)
	l.recv.Receive(m.Instance, f)
	return nil
}

func (l *Link) decodeFrame(payload []byte) (*pipeline.Message, error) {
	r := bytes.NewReader(payload)
	m, err := l.codec.DecodeFrame(r)
	if err != nil {
		return nil, err
	}
	if r.Len() > 0 {
		return nil, fmt.Errorf("%w: %d bytes after the frame", pipeline.ErrMalformed, r.Len())
	}
	return m, nil
}

func (l *Link) handleControl(peers map[party]*peer, from party, a arrival) error {
	r := bytes.NewReader(a.payload)
	m, err := l.codec.DecodeControl(r)
	if err != nil {
		return err
	}
	if r.Len() > 0 {
		return fmt.Errorf("%w: %d bytes after the control message", pipeline.ErrMalformed, r.Len())
	}
	for _, s := range m.Settlements {
		l.pending.Settle(debtor{a.session, from.node}, s)
	}
	if m.Ping != nil {
		l.out.addClock(control{to: from, pong: &pipeline.Pong{Sent: m.Ping.Sent}})
	}
	if p := peers[from]; m.Pong != nil && p != nil {
		p.clock.Observe(m.Pong.Sent, m.Pong.Peer, l.clock.Reading(a.at))
	}
	return nil
}

// onSettle has the sender told what becomes of its frame.
func (l *Link) onSettle(f *pipeline.Frame, from party, ref uint64) {
	f.OnSettle(func(o pipeline.Outcome) {
		o.Age = max(o.Age, 0)
		l.out.addSettlement(from, pipeline.Settlement{Ref: ref, Outcome: o})
	})
}

// settleUnseen settles a frame that the receiver does not get.
func (l *Link) settleUnseen(a arrival, why pipeline.Reason) {
	from, err := sender(a.topic)
	if err != nil {
		return
	}
	m, err := l.decodeFrame(a.payload)
	if err != nil {
		return
	}
	now := time.Now()
	f := m.Arrived(now, now.Sub(a.at))
	l.onSettle(f, from, m.Ref)
	f.Settle(pipeline.Outcome{Reason: why, Age: f.Age(now)})
}

// peer finds or makes the record of a node that a frame came from and asks it
// for its clock when that is due.
func (l *Link) peer(peers map[party]*peer, from party, now time.Time) *peer {
	p := peers[from]
	if p == nil {
		if len(peers) >= maxPeers {
			forget(peers, now)
		}
		p = &peer{}
		peers[from] = p
	}
	p.seen = now
	every := syncSlow
	if p.pings < syncSoon {
		every = syncFast
	}
	if now.Sub(p.pinged) >= every {
		p.pings++
		p.pinged = now
		l.out.addClock(control{to: from, ping: true})
	}
	return p
}

// forget drops the peers that have been quiet, or all: the clock of one that
// is still there is asked for again.
func forget(peers map[party]*peer, now time.Time) {
	for k, p := range peers {
		if now.Sub(p.seen) > peerQuiet {
			delete(peers, k)
		}
	}
	if len(peers) >= maxPeers {
		clear(peers)
	}
}

// refused counts a message that is no good and says so, but not for each.
func (l *Link) refused(topic string, err error) {
	l.counters.malformed.Add(1)
	if l.complaint.allow(time.Now()) {
		l.log.Warn("mqtt: message refused", "topic", topic, "error", err, "refused_so_far", l.counters.malformed.Load())
	}
}

// oversized is refused for a message that was not even read.
func (l *Link) oversized(bytes int) {
	l.refused("", fmt.Errorf("%w: message of %d bytes, at most %d", pipeline.ErrOversized, bytes, l.maxPacket()))
}
