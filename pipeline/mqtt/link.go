package mqtt

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/pipeline"
)

// Config is what a Link needs. Zero numbers take the default in brackets.
type Config struct {
	// Broker is its URL: tls://HOST[:8883], or tcp://HOST[:1883] for plain
	// text; USER:PASSWORD@ may precede HOST.
	Broker    string
	TLS       *tls.Config // for tls:// and only for it
	Peers     *pki.Peers  // the connection ends with the trust in the broker, one of the mesh; nil: it does not
	Plaintext bool        // for tcp:// and only for it
	Node      string      // this node's name, unique among those at the broker

	MaxFrame int           // bytes of a frame's picture [16 MiB]
	Window   int           // frames handed over and not settled [1024]
	Queue    int           // messages that wait between broker and receiver [64]
	Grace    time.Duration // after its deadline, to hear a frame's outcome [1 s]
	Stall    time.Duration // longest the broker may take to accept a message [10 s]
	Log      *slog.Logger
}

func (c Config) withDefaults() Config {
	c.MaxFrame = cmp.Or(c.MaxFrame, pipeline.DefaultLimits().Image)
	c.Window = cmp.Or(c.Window, 1024)
	c.Queue = cmp.Or(c.Queue, 64)
	c.Grace = cmp.Or(c.Grace, time.Second)
	c.Stall = cmp.Or(c.Stall, 10*time.Second)
	return c
}

// Link is a node's connection to the broker: a [pipeline.Sender], the source
// of the frames its Receiver gets, and a publisher of results.
type Link struct {
	conf      Config
	broker    endpoint
	self      party
	recv      pipeline.Receiver
	codec     *pipeline.Codec
	clock     pipeline.Clock
	pending   *pipeline.Pending
	out       *outbox
	in        *inbox
	counters  counters
	complaint limiter
	log       *slog.Logger
}

var _ pipeline.Sender = (*Link)(nil)

var (
	errStarting = errors.New("not connected yet")
	errClosed   = fmt.Errorf("mqtt link %w", pipeline.ErrClosed)
)

// farewell is the time a link that is told to stop has to send what its
// receiver has settled.
const farewell = 500 * time.Millisecond

// New checks the settings and makes a link that hands the frames for this node
// to recv. It connects in Run. Errors are ErrConfig.
func New(conf Config, recv pipeline.Receiver) (*Link, error) {
	broker, err := parseBroker(conf.Broker, conf.TLS, conf.Peers, conf.Plaintext)
	if err != nil {
		return nil, err
	}
	if conf.Node == "" {
		return nil, fmt.Errorf("%w: the node has no name", ErrConfig)
	}
	if conf.MaxFrame < 0 || conf.Window < 0 || conf.Queue < 0 || conf.Grace < 0 || conf.Stall < 0 {
		return nil, fmt.Errorf("%w: sizes and durations must not be negative", ErrConfig)
	}
	conf = conf.withDefaults()
	limits := pipeline.DefaultLimits()
	limits.Image = conf.MaxFrame
	codec, err := pipeline.NewCodec(limits)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return &Link{
		conf: conf, broker: broker,
		self: party{node: conf.Node, run: rand.Text()[:10]},
		recv: recv, codec: codec,
		clock:   pipeline.NewClock(time.Now()),
		pending: pipeline.NewPending(conf.Window, conf.Grace),
		out:     newOutbox(notConnected(broker, errStarting)),
		in:      newInbox(conf.Queue),
		log:     conf.Log.With("broker", broker.String()),
	}, nil
}

// Send implements [pipeline.Sender]. addr is the name of the node that runs
// the instance. While the broker is away it returns ErrUnreachable at once,
// naming broker and cause. Whether the node is there no broker tells: a frame
// for one that isn't is settled as ReasonLink after its deadline.
func (l *Link) Send(ctx context.Context, addr, instance string, f *pipeline.Frame) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	now := time.Now()
	if f.Late(now) {
		return fmt.Errorf("send %s: %w %s ago", f.ID, pipeline.ErrLate, now.Sub(f.Deadline))
	}
	if addr == "" {
		return fmt.Errorf("send %s: %w: no node name", f.ID, pipeline.ErrUnreachable)
	}
	if n := len(f.Image.Data); n > l.conf.MaxFrame {
		return fmt.Errorf("send %s: %w: picture of %d bytes, at most %d", f.ID, pipeline.ErrOversized, n, l.conf.MaxFrame)
	}
	o := newOutgoing(addr, instance, f)
	if err := l.out.addFrame(o); err != nil {
		return fmt.Errorf("send %s: %w", f.ID, err)
	}
	var late <-chan time.Time
	if !f.Deadline.IsZero() {
		t := time.NewTimer(f.Deadline.Sub(now))
		defer t.Stop()
		late = t.C
	}
	select {
	case <-o.done:
	case <-late:
		l.out.withdraw(o)
		o.finish(l.pending, fmt.Errorf("%w while waiting for the broker", pipeline.ErrLate))
	case <-ctx.Done():
		l.out.withdraw(o)
		o.finish(l.pending, ctx.Err())
	}
	if err := o.result(); err != nil {
		return fmt.Errorf("send %s: %w", f.ID, err)
	}
	return nil
}

// Run keeps a connection to the broker until ctx ends and then returns nil. It
// is to be called once; it ends every goroutine that it starts, and settles
// every frame that the link owns.
func (l *Link) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	received := make(chan struct{})
	wg.Go(func() {
		defer close(received)
		l.receiveAll(ctx)
	})
	wg.Go(func() { l.expireAll(ctx) })

	pace := retry{log: l.log}
	for ctx.Err() == nil {
		s, err := connect(ctx, l.session())
		if err != nil {
			l.refuseFrames(err)
			if ctx.Err() == nil {
				pace.failed(ctx, err)
			}
			continue
		}
		pace.connected()
		start := time.Now()
		l.runSession(ctx, s, received)
		pace.ended(time.Since(start))
		if ctx.Err() == nil {
			pace.failed(ctx, notConnected(l.broker, context.Cause(s.ctx)))
		}
	}
	l.refuseFrames(errClosed)
	wg.Wait()
	l.pending.Close(time.Now())
	return nil
}

func (l *Link) session() sessionConfig {
	return sessionConfig{
		broker: l.broker,
		// A name of its own for each session: a broker that still holds the
		// last one open has nothing to hand over.
		clientID: "weft-" + escape(l.self.node) + "-" + rand.Text()[:10],
		limit:    l.maxPacket(),
		stall:    l.conf.Stall,
		oversize: l.oversized,
		filters:  []string{framesFilter(l.self.node), controlFilter(l.self)},
		receive:  l.arrived,
	}
}

// maxPacket bounds a PUBLISH: its topic, the message's prefix, header, picture.
func (l *Link) maxPacket() int {
	lim := l.codec.Limits()
	return 65537 + 16 + lim.Header + lim.Image
}

// runSession publishes until the session or ctx ends. When ctx does, what was
// settled by then is still sent.
func (l *Link) runSession(ctx context.Context, s *session, received <-chan struct{}) {
	defer context.AfterFunc(ctx, func() {
		time.AfterFunc(farewell, func() { s.end(pipeline.ErrClosed) })
	})()
	l.counters.sessions.Add(1)
	l.out.open()
	err := l.publishAll(ctx, s)
	if ctx.Err() == nil {
		s.end(err)
		l.refuseFrames(notConnected(l.broker, err))
	} else {
		l.refuseFrames(errClosed)
		<-received
		l.flush(s)
	}
	s.close()
	l.pending.Close(time.Now()) // everything in it was sent in this session
}

// refuseFrames fails the callers of Send that wait and all that come.
func (l *Link) refuseFrames(err error) {
	for _, o := range l.out.shut(err) {
		o.finish(l.pending, err)
	}
}

// expireAll gives up frames of which nothing was heard.
func (l *Link) expireAll(ctx context.Context) {
	tick := time.NewTicker(max(l.conf.Grace/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			l.pending.Expire(now)
		case <-ctx.Done():
			return
		}
	}
}

// counters are what Stats reports and no queue counts.
type counters struct {
	sessions, sent, received, late, overflow, malformed, results, pictures atomic.Uint64
}

// Stats are a link's counts since New, and its state.
type Stats struct {
	Connected bool
	Sessions  uint64 // connections made to the broker
	InFlight  int    // frames handed over and not settled

	FramesSent     uint64
	FramesReceived uint64 // handed to the receiver
	FramesLate     uint64 // received after their deadline and settled as such
	FramesDropped  uint64 // received faster than they could be handled
	Malformed      uint64 // messages refused, oversized ones among them

	DetectionsPublished uint64
	DetectionsDropped   uint64
	PicturesPublished   uint64
	PicturesDropped     uint64
	SettlementsDropped  uint64
}

// Stats returns the counts.
func (l *Link) Stats() Stats {
	lost, c := l.out.losses(), &l.counters
	return Stats{
		Connected: l.out.state() == nil, Sessions: c.sessions.Load(), InFlight: l.pending.Len(),
		FramesSent: c.sent.Load(), FramesReceived: c.received.Load(), FramesLate: c.late.Load(),
		FramesDropped: c.overflow.Load(), Malformed: c.malformed.Load(),
		DetectionsPublished: c.results.Load(), DetectionsDropped: lost.results,
		PicturesPublished: c.pictures.Load(), PicturesDropped: lost.pictures,
		SettlementsDropped: lost.settlements,
	}
}
