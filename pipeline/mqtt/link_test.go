package mqtt

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/internal/logtest"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/pipeline/mqtt/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNewRefuses(t *testing.T) {
	conf := &tls.Config{MinVersion: tls.VersionTLS13}
	good := Config{Broker: "tcp://127.0.0.1", Plaintext: true, Node: "edge-1", Log: slog.New(slog.DiscardHandler)}
	if l, err := New(good, ignore); err != nil || l.broker.url.Host != "127.0.0.1:1883" {
		t.Fatalf("the settings that the others spoil: %v", err)
	}
	for _, c := range []struct {
		name  string
		spoil func(*Config)
		want  string
	}{
		{"no scheme", func(c *Config) { c.Broker = "fog-1:1883" }, `broker "fog-1:1883": want tls://HOST:PORT`},
		{"another scheme", func(c *Config) { c.Broker = "https://fog-1" }, `want tls://HOST:PORT, or tcp://HOST:PORT`},
		{"no host", func(c *Config) { c.Broker = "tcp://:1883" }, `"tcp://:1883" names no host`},
		{"path", func(c *Config) { c.Broker = "tcp://fog-1/topic" }, "nothing may follow the port"},
		{"no URL", func(c *Config) { c.Broker = "tcp://fog 1" }, `broker "tcp://fog 1" is not a URL: want tls://HOST:PORT`},
		{"a password that is not escaped", func(c *Config) { c.Broker = "tcp://u:sec/ret@fog-1" }, `broker "…@fog-1" is not a URL`},
		{"one that looks like a path", func(c *Config) { c.Broker = "tcp://u:1/secret@fog-1" }, "broker …@fog-1: nothing may follow the port"},
		{"one that looks like a fragment", func(c *Config) { c.Broker = "tcp://u:1#secret@fog-1" }, "broker …@fog-1: nothing may follow the port"},
		{"a password without a scheme", func(c *Config) { c.Broker = "u:secret@fog-1:1883" }, `broker "…@fog-1:1883": want tls://HOST:PORT`},
		{"a password and another scheme", func(c *Config) { c.Broker = "https://u:secret@fog-1" }, `broker "…@fog-1": want tls://HOST:PORT`},
		{"a password and no host", func(c *Config) { c.Broker = "tcp://u:secret@" }, `broker "…@" names no host`},
		{"a password and one slash", func(c *Config) { c.Broker = "tcp:/u:secret@fog-1" }, `broker "…@fog-1" names no host`},
		{"plain text by its scheme alone", func(c *Config) { c.Broker, c.Plaintext = "tcp://u:secret@fog-1", false },
			"broker …@fog-1: tcp:// is plain text, which everybody on the way can read and change: use tls://, or ask for plain text by name"},
		{"the same with certificates", func(c *Config) { c.Plaintext, c.TLS = false, conf }, "ask for plain text by name"},
		{"plain text over TLS", func(c *Config) { c.Broker = "mqtts://fog-1" }, "plain text is asked for, but mqtts:// is TLS"},
		{"TLS without certificates", func(c *Config) { c.Broker, c.Plaintext = "tls://u:secret@fog-1", false }, "broker tls://u:xxxxx@fog-1:8883: tls:// needs certificates"},
		{"certificates without TLS", func(c *Config) { c.TLS = conf }, "tcp:// is plain text: use tls://"},
		{"certificate not verified", func(c *Config) {
			c.Broker, c.Plaintext, c.TLS = "tls://fog-1", false, &tls.Config{InsecureSkipVerify: true}
		}, "certificate must be verified"},
		{"no node", func(c *Config) { c.Node = "" }, "the node has no name"},
		{"negative", func(c *Config) { c.Window = -1 }, "must not be negative"},
	} {
		bad := good
		c.spoil(&bad)
		if _, err := New(bad, ignore); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "sec") && strings.Contains(bad.Broker, "@") {
			t.Errorf("%s: %v, want %q, and no password", c.name, err, c.want)
		}
	}
}

// While the broker is away Send says so at once, with its URL and the cause,
// and the log says it once.
func TestWrongAddress(t *testing.T) {
	var book logtest.Book
	url := "tcp://" + freeAddr(t)
	l, err := New(Config{Broker: url, Plaintext: true, Node: "edge-1", Log: book.Logger()}, ignore)
	if err != nil {
		t.Fatal(err)
	}
	first := l.Send(t.Context(), "fog-1", "detect", newFrame(1, time.Minute))
	if !errors.Is(first, pipeline.ErrUnreachable) || !strings.Contains(first.Error(), url) {
		t.Errorf("send before run: %v, want ErrUnreachable naming %s", first, url)
	}
	stop := run(t, l.Run)
	eventually(t, "the cause to be known", func() bool {
		err := l.Send(t.Context(), "fog-1", "detect", newFrame(1, time.Minute))
		if !errors.Is(err, pipeline.ErrUnreachable) || !strings.Contains(err.Error(), url) {
			t.Fatalf("send: %v, want ErrUnreachable naming %s", err, url)
		}
		return strings.Contains(err.Error(), "connection refused")
	})
	eventually(t, "the log to say so", func() bool { return book.Count("no connection to the broker") > 0 })
	stop()
	if n := book.Count("no connection to the broker"); n != 1 || book.Count(url) == 0 {
		t.Errorf("said %d times in the log, want once, with %s", n, url)
	}
	if err := l.Send(t.Context(), "fog-1", "detect", newFrame(1, time.Minute)); !errors.Is(err, pipeline.ErrClosed) {
		t.Errorf("send after run: %v, want ErrClosed", err)
	}
}

// A broker that is started again, at the same address, is found again.
func TestBrokerRestart(t *testing.T) {
	var book logtest.Book
	first, stopBroker := startBroker(t, broker.Config{})
	addr := first.Addr()
	l, _ := startLink(t, Config{Broker: "tcp://" + addr, Node: "edge-1", Log: book.Logger()}, ignore)
	flows := func() {
		t.Helper()
		eventually(t, "a frame to be delivered", func() bool {
			outcome := make(chan pipeline.Outcome, 1)
			f := newFrame(1, 2*time.Second)
			f.OnSettle(func(o pipeline.Outcome) { outcome <- o })
			if err := l.Send(t.Context(), "edge-1", "detect", f); err != nil {
				return false
			}
			return (<-outcome).Delivered()
		})
	}
	flows()
	stopBroker()
	eventually(t, "the loss to be noticed", func() bool { return !l.Stats().Connected })
	startBroker(t, broker.Config{Listen: addr})
	flows()
	if s := l.Stats(); s.Sessions != 2 || s.InFlight != 0 {
		t.Errorf("%+v, want 2 sessions and nothing in flight", s)
	}
	if lost, found := book.Count("no connection"), book.Count("connected to the broker"); lost != 1 || found != 2 {
		t.Errorf("the log says %d times lost and %d times connected, want 1 and 2", lost, found)
	}
}

// A broker that reads no more holds a caller of Send until the deadline of its
// frame, one frame in memory, and the connection not for ever.
func TestStuckBroker(t *testing.T) {
	l, _ := startLink(t, Config{Broker: fakeBroker(t, 0), Node: "edge-1", Stall: 2 * time.Second}, ignore)
	const size = 16 << 20 // more than the kernel takes
	unsettled := func(f *pipeline.Frame) *pipeline.Frame {
		f.OnSettle(func(o pipeline.Outcome) { t.Errorf("%s: settled by the link as %+v", f.ID, o) })
		return f
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		f := unsettled(newFrame(0, time.Hour))
		f.Image.Data = make([]byte, size)
		if err := l.Send(t.Context(), "fog-1", "detect", f); !errors.Is(err, pipeline.ErrUnreachable) {
			t.Errorf("send of what was never taken: %v, want ErrUnreachable", err)
		}
		if len(f.Image.Data) != size {
			t.Error("the frame came back without its picture")
		}
	})
	eventually(t, "the first frame to be written", func() bool { return l.Stats().InFlight == 1 })
	for i := range 8 {
		wg.Go(func() {
			f := unsettled(newFrame(uint64(i), 100*time.Millisecond))
			if err := l.Send(t.Context(), "fog-1", "detect", f); !errors.Is(err, pipeline.ErrLate) {
				t.Errorf("send: %v, want ErrLate", err)
			}
			if !f.Late(time.Now()) {
				t.Error("send gave up before the deadline")
			}
		})
	}
	wg.Wait()
	if s := l.Stats(); s.InFlight != 0 || s.FramesSent != 0 {
		t.Errorf("%+v, want nothing sent and nothing in flight", s)
	}
}

// A frame whose deadline passes while it is being written goes back to its
// owner, whole.
func TestLateWhileWritten(t *testing.T) {
	l, _ := startLink(t, Config{Broker: fakeBroker(t, 0), Node: "edge-1", Stall: 2 * time.Second}, ignore)
	const size = 16 << 20
	f := newFrame(1, time.Second)
	f.OnSettle(func(o pipeline.Outcome) { t.Errorf("settled by the link as %+v", o) })
	f.Image.Data = make([]byte, size)
	if err := l.Send(t.Context(), "fog-1", "detect", f); !errors.Is(err, pipeline.ErrLate) {
		t.Errorf("send: %v, want ErrLate", err)
	}
	if s := l.Stats(); len(f.Image.Data) != size || s.InFlight != 0 {
		t.Errorf("the frame has %d bytes, %+v, want %d and nothing in flight", len(f.Image.Data), s, size)
	}
}

func TestSubscriptionRefused(t *testing.T) {
	l, err := New(Config{Broker: fakeBroker(t, 0x80), Plaintext: true, Node: "edge-1", Log: slog.New(slog.DiscardHandler)}, ignore)
	if err != nil {
		t.Fatal(err)
	}
	run(t, l.Run)
	const want = "subscription to weft/v1/control/edge-1/"
	eventually(t, "the refusal to be reported", func() bool {
		err := l.Send(t.Context(), "fog-1", "detect", newFrame(1, time.Minute))
		return err != nil && strings.Contains(err.Error(), want) && strings.Contains(err.Error(), "access list")
	})
}

// A receiver that blocks, which it must not, costs the oldest frames, which
// their sender is told.
func TestReceiverTooSlow(t *testing.T) {
	b, _ := startBroker(t, broker.Config{})
	release, entered := make(chan struct{}), make(chan struct{}, 10)
	var once sync.Once
	conf := Config{Broker: "tcp://" + b.Addr(), Node: "fog-1", Queue: 2}
	slow, _ := startLink(t, conf, pipeline.ReceiverFunc(func(_ string, f *pipeline.Frame) {
		entered <- struct{}{}
		<-release
		f.Settle(pipeline.Outcome{})
	}))
	t.Cleanup(func() { once.Do(func() { close(release) }) })
	conf.Node = "edge-1"
	l, _ := startLink(t, conf, ignore)

	outcomes := make([]chan pipeline.Outcome, 6)
	for i := range outcomes {
		outcomes[i] = make(chan pipeline.Outcome, 1)
		f := newFrame(uint64(i), time.Minute)
		f.OnSettle(func(o pipeline.Outcome) { outcomes[i] <- o })
		if err := l.Send(t.Context(), "fog-1", "detect", f); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			<-entered
		}
	}
	for i := 1; i <= 3; i++ { // 0 is being handled, 4 and 5 wait
		if o := <-outcomes[i]; o.Reason != pipeline.ReasonQueueFull {
			t.Errorf("frame %d: %+v, want %q", i, o, pipeline.ReasonQueueFull)
		}
	}
	once.Do(func() { close(release) })
	for _, i := range []int{0, 4, 5} {
		if o := <-outcomes[i]; !o.Delivered() {
			t.Errorf("frame %d: %+v, want delivered", i, o)
		}
	}
	if s := slow.Stats(); s.FramesDropped != 3 || s.FramesReceived != 3 {
		t.Errorf("%+v, want 3 dropped and 3 received", s)
	}
}

// A message that came too late for its frame is settled and not delivered.
func TestLateOnArrival(t *testing.T) {
	b, _ := startBroker(t, broker.Config{})
	url := "tcp://" + b.Addr()
	l, _ := startLink(t, Config{Broker: url, Node: "fog-1"}, pipeline.ReceiverFunc(func(string, *pipeline.Frame) {
		t.Error("delivered")
	}))
	stranger := party{"edge-1", "R"}
	got := make(chan []byte, 10)
	c := client(t, url, nil)
	done(t, c.Subscribe(controlFilter(stranger), 0, func(_ paho.Client, m paho.Message) { got <- m.Payload() }))

	codec, err := pipeline.NewCodec(pipeline.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	m := pipeline.NewMessage("detect", newFrame(1, time.Minute), 77, time.Now(), pipeline.NewClock(time.Now()))
	m.Left = time.Nanosecond
	payload, err := codec.AppendFrame(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	done(t, c.Publish(framesTopic("fog-1", stranger), 0, false, payload))
	for {
		msg, err := codec.DecodeControl(bytes.NewReader(<-got))
		if err != nil {
			t.Fatal(err)
		}
		if len(msg.Settlements) == 0 { // a ping
			continue
		}
		if s := msg.Settlements[0]; s.Ref != 77 || s.Outcome.Reason != pipeline.ReasonDeadline {
			t.Errorf("settled as %+v, want %q of 77", s, pipeline.ReasonDeadline)
		}
		break
	}
	if s := l.Stats(); s.FramesLate != 1 || s.FramesReceived != 0 {
		t.Errorf("%+v, want one frame late", s)
	}
}

// What a node says of the frames of a process that has ended is not taken for
// frames of the one that came after it, though both number them alike.
func TestSettlementOfAnEarlierRun(t *testing.T) {
	b, _ := startBroker(t, broker.Config{})
	held := make(chan *pipeline.Frame, 2)
	conf := Config{Broker: "tcp://" + b.Addr(), Node: "fog-1"}
	far, _ := startLink(t, conf, pipeline.ReceiverFunc(func(_ string, f *pipeline.Frame) { held <- f }))
	conf.Node = "edge-1"
	send := func(l *Link) chan pipeline.Outcome {
		outcome := make(chan pipeline.Outcome, 1)
		f := newFrame(1, time.Minute)
		f.OnSettle(func(o pipeline.Outcome) { outcome <- o })
		if err := l.Send(t.Context(), "fog-1", "detect", f); err != nil {
			t.Fatal(err)
		}
		return outcome
	}
	before, stop := startLink(t, conf, ignore)
	lost := send(before)
	old := <-held
	stop()
	if o := <-lost; o.Reason != pipeline.ReasonLink {
		t.Errorf("the frame of a link that was stopped: %+v, want %q", o, pipeline.ReasonLink)
	}
	after, _ := startLink(t, conf, ignore)
	outcome := send(after)
	current := <-held
	old.Settle(pipeline.Outcome{Reason: pipeline.ReasonStage})
	eventually(t, "the old frame's outcome to be sent", func() bool {
		far.out.mu.Lock()
		defer far.out.mu.Unlock()
		return far.out.settling == 0
	})
	current.Settle(pipeline.Outcome{Stage: "draw"})
	if o := <-outcome; !o.Delivered() || o.Stage != "draw" {
		t.Errorf("settled as %+v, want delivered", o)
	}
}

// A node settles the frames that were sent to it, and no other's: it may well
// know how they are numbered.
func TestSettlementOfAnothersFrame(t *testing.T) {
	b, _ := startBroker(t, broker.Config{})
	held := make(chan *pipeline.Frame, 1)
	conf := Config{Broker: "tcp://" + b.Addr(), Node: "fog-1"}
	startLink(t, conf, pipeline.ReceiverFunc(func(_ string, f *pipeline.Frame) { held <- f }))
	conf.Node = "edge-1"
	l, _ := startLink(t, conf, ignore)
	outcome := make(chan pipeline.Outcome, 1)
	f := newFrame(1, time.Minute)
	f.OnSettle(func(o pipeline.Outcome) { outcome <- o })
	if err := l.Send(t.Context(), "fog-1", "detect", f); err != nil {
		t.Fatal(err)
	}
	current := <-held
	codec, err := pipeline.NewCodec(pipeline.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	var lie pipeline.Control
	for ref := range uint64(10) {
		lie.Settlements = append(lie.Settlements, pipeline.Settlement{Ref: ref, Outcome: pipeline.Outcome{Stage: "lie"}})
	}
	stranger := party{"fog-2", "R"}
	c, answered := client(t, conf.Broker, nil), make(chan struct{}, 1)
	done(t, c.Subscribe(controlFilter(stranger), 0, func(paho.Client, paho.Message) { answered <- struct{}{} }))
	for _, m := range []pipeline.Control{lie, {Ping: &pipeline.Ping{}}} {
		payload, err := codec.AppendControl(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		done(t, c.Publish(controlTopic(l.self, stranger), 0, false, payload))
	}
	<-answered // the ping, so the lie has been read
	current.Settle(pipeline.Outcome{Stage: "draw"})
	if o := <-outcome; o.Stage != "draw" {
		t.Errorf("settled as %+v by a node that never had it", o)
	}
}

// What has been settled when a link is told to stop is still sent.
func TestFarewell(t *testing.T) {
	b, _ := startBroker(t, broker.Config{})
	held := make(chan *pipeline.Frame, 50)
	conf := Config{Broker: "tcp://" + b.Addr(), Node: "fog-1"}
	_, stop := startLink(t, conf, pipeline.ReceiverFunc(func(_ string, f *pipeline.Frame) { held <- f }))
	conf.Node = "edge-1"
	l, _ := startLink(t, conf, ignore)
	outcomes := make(chan pipeline.Outcome, cap(held))
	for i := range cap(held) {
		f := newFrame(uint64(i), time.Minute)
		f.OnSettle(func(o pipeline.Outcome) { outcomes <- o })
		if err := l.Send(t.Context(), "fog-1", "detect", f); err != nil {
			t.Fatal(err)
		}
	}
	var frames []*pipeline.Frame
	for range cap(held) {
		frames = append(frames, <-held)
	}
	for _, f := range frames {
		f.Settle(pipeline.Outcome{Reason: pipeline.ReasonShutdown})
	}
	stop()
	for range frames {
		if o := <-outcomes; o.Reason != pipeline.ReasonShutdown {
			t.Fatalf("settled as %+v, want %q", o, pipeline.ReasonShutdown)
		}
	}
}

// A message that is too large is not even read, and harms nobody.
func TestOversizedMessage(t *testing.T) {
	b, _ := startBroker(t, broker.Config{})
	url := "tcp://" + b.Addr()
	l, _ := startLink(t, Config{Broker: url, Node: "fog-1", MaxFrame: 1000}, ignore)
	c := client(t, url, nil)
	done(t, c.Publish(framesTopic("fog-1", party{"edge-1", "R"}), 0, false, make([]byte, 5<<20)))
	eventually(t, "it to be refused", func() bool { return l.Stats().Malformed == 1 })
	outcome := make(chan pipeline.Outcome, 1)
	f := newFrame(1, time.Minute)
	f.OnSettle(func(o pipeline.Outcome) { outcome <- o })
	if err := l.Send(t.Context(), "fog-1", "detect", f); err != nil {
		t.Fatal(err)
	}
	if o := <-outcome; !o.Delivered() || l.Stats().Sessions != 1 {
		t.Errorf("settled as %+v in session %d, want delivered in the first", o, l.Stats().Sessions)
	}
}

// Frames of which nothing is heard do not keep their pictures alive, and no
// more than Window are owed.
func TestWindow(t *testing.T) {
	b, _ := startBroker(t, broker.Config{})
	l, _ := startLink(t, Config{Broker: "tcp://" + b.Addr(), Node: "edge-1", Window: 2}, ignore)
	var sent []*pipeline.Frame
	for i := range 2 {
		f := newFrame(uint64(i), time.Minute)
		if err := l.Send(t.Context(), "nobody", "detect", f); err != nil {
			t.Fatal(err)
		}
		sent = append(sent, f)
	}
	f := newFrame(3, time.Minute)
	if err := l.Send(t.Context(), "nobody", "detect", f); !errors.Is(err, pipeline.ErrFull) || f.Image.Data == nil {
		t.Errorf("the third frame: %v, %d bytes, want ErrFull and the picture", err, len(f.Image.Data))
	}
	for _, f := range sent {
		if f.Image.Data != nil {
			t.Errorf("%s keeps its picture", f.ID)
		}
	}
}

// Run does not wait out a broker that says nothing.
func TestRunEndsWhileConnecting(t *testing.T) {
	url, connected := silentBroker(t)
	l, err := New(Config{Broker: url, Plaintext: true, Node: "edge-1", Log: slog.New(slog.DiscardHandler)}, ignore)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	<-connected
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(connectTimeout / 2):
		t.Fatal("run waits for a broker that says nothing")
	}
}

// However long the outcomes are, they fit their messages; one that is no
// outcome costs no other.
func TestLongOutcomes(t *testing.T) {
	b, _ := startBroker(t, broker.Config{Pending: 1024})
	const n = 3 * maxBatch
	held := make(chan *pipeline.Frame, n)
	conf := Config{Broker: "tcp://" + b.Addr(), Node: "fog-1", Queue: n}
	far, _ := startLink(t, conf, pipeline.ReceiverFunc(func(_ string, f *pipeline.Frame) { held <- f }))
	conf.Node = "edge-1"
	l, _ := startLink(t, conf, ignore)
	outcomes := make(chan pipeline.Outcome, n)
	for i := range n {
		f := newFrame(uint64(i), time.Minute)
		f.OnSettle(func(o pipeline.Outcome) { outcomes <- o })
		if err := l.Send(t.Context(), "fog-1", "detect", f); err != nil {
			t.Fatal(err)
		}
	}
	stage := strings.Repeat("s", 512)
	for i := range n {
		o := pipeline.Outcome{Reason: pipeline.ReasonQueueFull, Stage: stage, Age: time.Hour}
		if i == n/2 {
			o.Stage += "!" // longer than a name may be
		}
		(<-held).Settle(o)
	}
	for range n - 1 {
		if o := <-outcomes; o.Reason != pipeline.ReasonQueueFull || o.Stage != stage {
			t.Fatalf("settled as %+v", o)
		}
	}
	if s := far.Stats(); s.SettlementsDropped != 1 || l.Stats().InFlight != 1 {
		t.Errorf("%d settlements dropped, %d frames in flight, want one of each", s.SettlementsDropped, l.Stats().InFlight)
	}
}
