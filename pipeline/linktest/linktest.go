package linktest

import (
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/pipeline"
)

// Options are what a case asks of the link under test.
type Options struct {
	Limits pipeline.Limits
	Grace  time.Duration // wait for an outcome after a frame's deadline
	Log    *slog.Logger
}

// Pair is a sending and a receiving end, running, joined by a real transport.
// Every function is required and may be called from any goroutine.
type Pair struct {
	Sender pipeline.Sender
	Addr   string // of the receiving end, for Send

	// Break cuts the connection and keeps it cut: nothing gets through, in
	// either direction, until Heal. It returns once the cut is made; the ends
	// may take a while to notice.
	Break func()
	Heal  func()

	// Inject hands the receiving end these bytes where it expects a frame
	// message, as a broken or hostile peer would: for QUIC the whole content
	// of a stream, for MQTT a publication's payload.
	Inject func([]byte)
	// Malformed counts the messages the receiving end has refused.
	Malformed func() uint64

	// InFlight is the number of frames that the sending end owns: handed over
	// and not settled.
	InFlight func() int
}

// Factory starts a pair whose receiving end hands frames to recv. It stops
// both ends, and waits for them, in t.Cleanup; it may connect lazily.
type Factory func(t *testing.T, recv pipeline.Receiver, opts Options) Pair

// Run runs every case, each on a pair of its own, and looks for goroutines
// left behind.
func Run(t *testing.T, f Factory) {
	for _, c := range []struct {
		name string
		test func(*bench)
	}{
		{"Order", testOrder},
		{"Burst", testBurst},
		{"Content", testContent},
		{"Times", testTimes},
		{"Outcomes", testOutcomes},
		{"Findings", testFindings},
		{"ConcurrentSenders", testConcurrentSenders},
		{"SlowReader", testSlowReader},
		{"Late", testLate},
		{"DeadlineAtPeer", testDeadlineAtPeer},
		{"Loss", testLoss},
		{"Reconnect", testReconnect},
		{"BrokenThroughout", testBrokenThroughout},
		{"Flapping", testFlapping},
		{"Oversized", testOversized},
		{"Malformed", testMalformed},
		{"Cancellation", testCancellation},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			t.Cleanup(func() { goleak.VerifyNone(t, before) }) // runs last
			b := newBench(t, f)
			c.test(b)
			b.audit()
		})
	}
}
