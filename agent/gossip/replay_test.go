package gossip

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/tiering"
)

// tap stands before a node's gossip address, passes everything on, and keeps
// what came.
type tap struct {
	*testing.T
	to  string
	udp net.PacketConn
	tcp net.Listener

	mu      sync.Mutex
	full    bool // nothing more is kept
	packets [][]byte
	streams []*bytes.Buffer
}

// enough ends the recording.
func (p *tap) enough() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.full = true
}

func newTap(t *testing.T, at, to string) *tap {
	t.Helper()
	p := &tap{T: t, to: to}
	var err error
	if p.udp, err = net.ListenPacket("udp", at); err != nil {
		t.Skipf("no second loopback address on this machine: %v", err)
	}
	if p.tcp, err = net.Listen("tcp", at); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.udp.Close(); _ = p.tcp.Close() })
	go p.passPackets()
	go p.passStreams()
	return p
}

func (p *tap) passPackets() {
	out, err := net.Dial("udp", p.to)
	if err != nil {
		return
	}
	defer out.Close()
	b := make([]byte, 64<<10)
	for {
		n, _, err := p.udp.ReadFrom(b)
		if err != nil {
			return
		}
		p.mu.Lock()
		if !p.full {
			p.packets = append(p.packets, bytes.Clone(b[:n]))
		}
		p.mu.Unlock()
		_, _ = out.Write(b[:n])
	}
}

func (p *tap) passStreams() {
	for {
		in, err := p.tcp.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = in.Close()
			continue
		}
		kept := &bytes.Buffer{}
		p.mu.Lock()
		if !p.full {
			p.streams = append(p.streams, kept)
		}
		p.mu.Unlock()
		go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
		go func() {
			_, _ = io.Copy(io.MultiWriter(out, writer(func(b []byte) (int, error) {
				p.mu.Lock()
				defer p.mu.Unlock()
				return kept.Write(b)
			})), in)
			_ = out.Close()
		}()
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// replay sends again what was kept.
func (p *tap) replay() {
	p.Helper()
	p.mu.Lock()
	packets, streams := p.packets, p.streams
	p.mu.Unlock()
	out, err := net.Dial("udp", p.to)
	if err != nil {
		p.Fatal(err)
	}
	defer out.Close()
	for _, b := range packets {
		_, _ = out.Write(b)
	}
	for _, s := range streams {
		c, err := net.Dial("tcp", p.to)
		if err != nil {
			p.Fatal(err)
		}
		p.mu.Lock()
		b := bytes.Clone(s.Bytes())
		p.mu.Unlock()
		_, _ = c.Write(b)
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
	}
}

// TestARecordedJoinBringsNobodyBack: gossip of a join, sent again after the
// node has left and memberlist has forgotten it, needs no key.
func TestARecordedJoinBringsNobodyBack(t *testing.T) {
	t.Parallel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(free.Addr().(*net.TCPAddr).Port)
	_ = free.Close()
	wire := newTap(t, "127.0.0.2:"+port, "127.0.0.1:"+port)

	var log struct {
		sync.Mutex
		bytes.Buffer
	}
	logged := func() string {
		log.Lock()
		defer log.Unlock()
		return log.String()
	}
	cfg := config("cloud-1", tiering.Cloud)
	cfg.Listen, cfg.Advertise, cfg.forget = "127.0.0.1:"+port, "127.0.0.2", time.Second
	cfg.Log = slog.New(slog.NewTextHandler(writer(func(b []byte) (int, error) {
		log.Lock()
		defer log.Unlock()
		return log.Write(b)
	}), nil))
	a := start(t, cfg)
	watching := start(t, config("fog-1", tiering.Fog, a.Addr())) // so that there is someone to gossip with
	b := start(t, config("edge-1", tiering.Edge, a.Addr()))
	eventually(t, "edge-1 joins", func() bool { return a.sees("edge-1", tiering.NodeAlive) && watching.sees("edge-1", tiering.NodeAlive) })
	wire.enough() // without the good-bye
	b.leave()
	eventually(t, "edge-1 leaves", func() bool { return a.sees("edge-1", tiering.NodeLeft) })
	left := time.Now()
	eventually(t, "the recording is refused, also when memberlist has forgotten", func() bool {
		wire.replay()
		if a.sees("edge-1", tiering.NodeAlive) || watching.sees("edge-1", tiering.NodeAlive) {
			t.Fatal("a recording brought edge-1 back to life")
		}
		return strings.Contains(logged(), "edge-1 has left") && time.Since(left) > 5*cfg.forget
	})
	if a.sees("edge-1", tiering.NodeAlive) || !a.sees("fog-1", tiering.NodeAlive) {
		t.Errorf("the mesh is not as it was: %v", a.Members())
	}
	// The node itself comes back, as another run.
	start(t, config("edge-1", tiering.Edge, a.Addr()))
	eventually(t, "edge-1 is back", func() bool { return a.sees("edge-1", tiering.NodeAlive) })
}
