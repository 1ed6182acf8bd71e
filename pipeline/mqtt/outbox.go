package mqtt

import (
	"container/heap"
	"fmt"
	"sync"

	"github.com/weft-mesh/weft/pipeline"
)

// The bounds of what waits to be published.
const (
	maxSettlements = 8192 // of all peers; a few dozen bytes each, and what was found where that was asked
	maxBatch       = 100  // settlements in a message: fits its header whatever they say
	maxClocks      = 64   // pings and pongs
	maxResults     = 256  // detections
	maxPictures    = 8
)

// control is a control message to be encoded when its turn comes, so that the
// clock readings in it are fresh.
type control struct {
	to          party
	settlements []pipeline.Settlement
	ping        bool
	pong        *pipeline.Pong
}

// message is what to say when the own clock reads now.
func (c control) message(now int64) pipeline.Control {
	m := pipeline.Control{Settlements: c.settlements}
	if c.ping {
		m.Ping = &pipeline.Ping{Sent: now}
	}
	if c.pong != nil {
		m.Pong = &pipeline.Pong{Sent: c.pong.Sent, Peer: now}
	}
	return m
}

// publication is a message that is ready to go.
type publication struct {
	topic   string
	payload []byte
}

// item is what the publisher takes out of the outbox: one field is set.
type item struct {
	control control
	frame   *outgoing
	result  *publication // detections
	picture *publication
}

// outbox holds what waits for the publisher: control messages go first, since
// others wait for them, then detections, then frames, the most urgent of them
// first, then pictures. Adding to it never blocks. Frames are bounded by the
// callers of Send that wait with them.
type outbox struct {
	wake chan struct{} // holds a token when there may be something to take

	mu          sync.Mutex
	refuse      error // why no frame can be sent; nil while connected
	clocks      ring[control]
	settlements map[party][]pipeline.Settlement
	turns       []party // those with settlements, in order
	settling    int     // settlements in all
	results     ring[publication]
	frames      urgencyHeap
	pictures    ring[publication]
	lost        lostCounts
}

type lostCounts struct{ settlements, results, pictures uint64 }

func newOutbox(refuse error) *outbox {
	return &outbox{
		wake: make(chan struct{}, 1), refuse: refuse,
		clocks: newRing[control](maxClocks), settlements: map[party][]pipeline.Settlement{},
		results: newRing[publication](maxResults), pictures: newRing[publication](maxPictures),
	}
}

func (b *outbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// open lets frames and publications in.
func (b *outbox) open() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuse = nil
	b.signal()
}

// shut refuses frames and publications from now on and gives back the frames
// that waited. What else would be stale later is dropped; settlements stay,
// their frames may still be waited for.
func (b *outbox) shut(refuse error) []*outgoing {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuse = refuse
	b.clocks.clear()
	b.lost.results += uint64(b.results.clear())
	b.lost.pictures += uint64(b.pictures.clear())
	waiting := b.frames
	b.frames = nil
	for _, o := range waiting {
		o.index = -1
	}
	return waiting
}

// addFrame queues a frame; the error says why it can't be sent.
func (b *outbox) addFrame(o *outgoing) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuse != nil {
		return b.refuse
	}
	heap.Push(&b.frames, o)
	b.signal()
	return nil
}

// withdraw takes a frame back unless the publisher already has it.
func (b *outbox) withdraw(o *outgoing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.index >= 0 {
		heap.Remove(&b.frames, o.index)
	}
}

func (b *outbox) addSettlement(to party, s pipeline.Settlement) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.settling >= maxSettlements {
		b.lost.settlements++ // the peer gives its frame up
		return
	}
	if len(b.settlements[to]) == 0 {
		b.turns = append(b.turns, to)
	}
	b.settlements[to] = append(b.settlements[to], s)
	b.settling++
	b.signal()
}

func (b *outbox) loseSettlements(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost.settlements += uint64(n)
}

func (b *outbox) addClock(c control) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clocks.push(c)
	b.signal()
}

func (b *outbox) addResult(p publication) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuse != nil {
		b.lost.results++
		return
	}
	if _, full := b.results.push(p); full {
		b.lost.results++
	}
	b.signal()
}

func (b *outbox) addPicture(p publication) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuse != nil {
		b.lost.pictures++
		return
	}
	if _, full := b.pictures.push(p); full {
		b.lost.pictures++
	}
	b.signal()
}

// take removes what is to be published next; batch is the most settlements
// that one message holds.
func (b *outbox) take(batch int) (item, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c, ok := b.clocks.pop(); ok {
		return item{control: c}, true
	}
	if len(b.turns) > 0 {
		return item{control: b.takeSettlements(batch)}, true
	}
	if p, ok := b.results.pop(); ok {
		return item{result: &p}, true
	}
	if len(b.frames) > 0 {
		return item{frame: heap.Pop(&b.frames).(*outgoing)}, true
	}
	if p, ok := b.pictures.pop(); ok {
		return item{picture: &p}, true
	}
	return item{}, false
}

func (b *outbox) takeSettlements(batch int) control {
	to := b.turns[0]
	all := b.settlements[to]
	n := min(batch, len(all))
	b.turns = b.turns[1:]
	if n < len(all) {
		b.settlements[to] = all[n:]
		b.turns = append(b.turns, to)
	} else {
		delete(b.settlements, to)
	}
	b.settling -= n
	return control{to: to, settlements: all[:n]}
}

// losses returns what has been dropped so far.
func (b *outbox) losses() lostCounts {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lost
}

// state returns why frames are refused, nil while connected.
func (b *outbox) state() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refuse
}

// notConnected is the error while the connection is not there because of err.
func notConnected(broker endpoint, err error) error {
	return fmt.Errorf("%w: mqtt broker %s: %w", pipeline.ErrUnreachable, broker, err)
}
