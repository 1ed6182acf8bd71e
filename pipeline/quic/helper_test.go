package quic

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// patience is how long tests on real sockets wait for what must happen.
const patience = 20 * time.Second

// deliver settles frames as a stage that is done with them at once.
var deliver = pipeline.ReceiverFunc(func(_ string, f *pipeline.Frame) {
	f.Settle(pipeline.Outcome{Stage: "peer", Age: f.Age(time.Now())})
})

// mesh issues certificates of one CA.
type mesh struct {
	testing.TB
	ca *pki.CA
}

func newMesh(t testing.TB) *mesh {
	t.Helper()
	ca, err := pki.NewCA("test", time.Now(), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return &mesh{t, ca}
}

func subject(role pki.Role, name string) pki.Subject {
	s := pki.Subject{Role: role, Name: name}
	if role.Machine() {
		s.Tier = tiering.Fog
	}
	return s
}

func (m *mesh) identity(name string) *pki.Identity {
	m.Helper()
	id, err := m.ca.Issue(subject(pki.Agent, name), nil, time.Now(), 24*time.Hour)
	if err != nil {
		m.Fatal(err)
	}
	return id
}

// config is that of a node on loopback.
func (m *mesh) config(name string) Config {
	m.Helper()
	id := m.identity(name)
	return Config{
		Listen: "127.0.0.1:0", Node: name,
		ServerTLS: id.ServerTLS(pki.Agent), ClientTLS: id.ClientTLS(pki.Agent),
		Log: slog.New(slog.DiscardHandler),
	}
}

// running is a link that runs until stop, or the end of the test.
type running struct {
	*Link
	stop func()
}

func start(t testing.TB, l *Link) running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	var stopped atomic.Bool
	stop := func() {
		if stopped.Swap(true) {
			return
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}
	t.Cleanup(stop)
	return running{l, stop}
}

func startNew(t testing.TB, cfg Config, recv pipeline.Receiver) running {
	t.Helper()
	l, err := New(cfg, recv)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, l)
}

// at is the link as others send to it.
func (r running) at() string { return "fog/" + r.cfg.Node + "@" + r.Addr() }

// parcel is a frame with what became of it.
type parcel struct {
	*pipeline.Frame
	outcome chan pipeline.Outcome
}

func newParcel(seq uint64, size int, deadline time.Duration) parcel {
	p := parcel{frame(seq, size, deadline), make(chan pipeline.Outcome, 1)}
	p.OnSettle(func(o pipeline.Outcome) { p.outcome <- o })
	return p
}

func frame(seq uint64, size int, deadline time.Duration) *pipeline.Frame {
	f := &pipeline.Frame{
		ID:       pipeline.FrameID{Workflow: "w", Source: "s", Epoch: 1, Seq: seq},
		Captured: time.Now(), Quality: 512, SourceWidth: 768, SourceHeight: 576,
		Image: pipeline.Image{Format: pipeline.JPEG, Width: 512, Height: 384, Data: bytes.Repeat([]byte{byte(seq)}, size)},
	}
	if deadline > 0 {
		f.Deadline = f.Captured.Add(deadline)
	}
	return f
}

func (p parcel) await(t testing.TB) pipeline.Outcome {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case o := <-p.outcome:
		return o
	case <-timer.C:
		t.Fatalf("%s is not settled after %s", p.ID, patience)
		return pipeline.Outcome{}
	}
}

func mustSend(t testing.TB, l running, addr string, p parcel) {
	t.Helper()
	if err := l.Send(t.Context(), addr, "detect", p.Frame); err != nil {
		t.Fatalf("send %s: %v", p.ID, err)
	}
}

// eventually polls cond.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !cond(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// cuttable is a socket that nothing gets through while it is cut.
type cuttable struct {
	net.PacketConn
	cut atomic.Bool
}

func (c *cuttable) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.PacketConn.ReadFrom(b)
		if err != nil || !c.cut.Load() {
			return n, from, err
		}
	}
}

func (c *cuttable) WriteTo(b []byte, to net.Addr) (int, error) {
	if c.cut.Load() {
		return len(b), nil
	}
	return c.PacketConn.WriteTo(b, to)
}

// The buffer sizes that quic-go asks for.
func (c *cuttable) SetReadBuffer(n int) error  { return c.PacketConn.(*net.UDPConn).SetReadBuffer(n) }
func (c *cuttable) SetWriteBuffer(n int) error { return c.PacketConn.(*net.UDPConn).SetWriteBuffer(n) }

func listenUDP(t testing.TB) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// rawPeer is a dialler that does only what the test tells it to.
type rawPeer struct {
	testing.TB
	transport *quic.Transport
	cfg       Config
	conn      *quic.Conn
	control   *control
}

// newRaw makes one on the socket.
func newRaw(t testing.TB, cfg Config, socket net.PacketConn) *rawPeer {
	r := &rawPeer{TB: t, cfg: cfg.withDefaults(), transport: &quic.Transport{Conn: socket}}
	t.Cleanup(func() {
		if r.conn != nil {
			_ = r.conn.CloseWithError(0, "")
		}
		_ = r.transport.Close()
		_ = socket.Close()
	})
	return r
}

// dial connects, up to the TLS handshake.
func (r *rawPeer) dial(addr string) {
	r.Helper()
	to, err := resolve(r.Context(), addr)
	if err != nil {
		r.Fatal(err)
	}
	if r.conn, err = r.transport.Dial(r.Context(), to, tlsConfig(r.cfg.ClientTLS), r.cfg.diallerConfig()); err != nil {
		r.Fatal(err)
	}
}

// open does the control stream's handshake.
func (r *rawPeer) open() {
	r.Helper()
	stream, err := r.conn.OpenStreamSync(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	codec, err := pipeline.NewCodec(pipeline.DefaultLimits())
	if err != nil {
		r.Fatal(err)
	}
	r.control = newControl(stream, codec)
	if err := r.control.write(pipeline.Control{Ping: &pipeline.Ping{}}); err != nil {
		r.Fatal(err)
	}
	if m, err := r.control.read(); err != nil || m.Pong == nil {
		r.Fatalf("first answer: %+v, %v; want a pong", m, err)
	}
}

// stream sends bytes as the whole content of a stream.
func (r *rawPeer) stream(data []byte) {
	r.Helper()
	s, err := r.conn.OpenUniStreamSync(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	_, _ = s.Write(data) // the peer may stop it
	_ = s.Close()
}

// settlement waits for the next outcome, answering no pings.
func (r *rawPeer) settlement() pipeline.Settlement {
	r.Helper()
	for {
		if err := r.control.stream.SetReadDeadline(time.Now().Add(patience)); err != nil {
			r.Fatal(err)
		}
		m, err := r.control.read()
		if err != nil {
			r.Fatalf("control stream: %v", err)
		}
		if len(m.Settlements) > 0 {
			return m.Settlements[0]
		}
	}
}
