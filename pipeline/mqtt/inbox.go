package mqtt

import (
	"strings"
	"sync"
	"time"
)

// maxControls bounds the control messages that wait to be handled; one lost
// costs the outcomes in it, which the sender then gives up.
const maxControls = 256

// arrival is a message as paho delivered it.
type arrival struct {
	session *session
	topic   string
	payload []byte
	at      time.Time
}

// inbox stands between paho, whose handlers must not block, and the goroutine
// that handles messages. When it is full the oldest message gives way.
type inbox struct {
	wake chan struct{} // holds a token when there may be something to take

	mu       sync.Mutex
	controls ring[arrival]
	frames   ring[arrival]
}

func newInbox(frames int) *inbox {
	return &inbox{
		wake:     make(chan struct{}, 1),
		controls: newRing[arrival](maxControls), frames: newRing[arrival](frames),
	}
}

// add returns the frame that had to give way, if one had.
func (b *inbox) add(a arrival) (oldest arrival, full bool) {
	b.mu.Lock()
	if strings.HasPrefix(a.topic, controlRoot) {
		b.controls.push(a)
	} else {
		oldest, full = b.frames.push(a)
	}
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return oldest, full
}

// take returns the next message, control first.
func (b *inbox) take() (arrival, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a, ok := b.controls.pop(); ok {
		return a, true
	}
	return b.frames.pop()
}
