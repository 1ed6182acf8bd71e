package quic

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/weft-mesh/weft/pipeline"
)

const hostileAddr = "10.0.0.66:6666"

// attack starts a node with a hostile peer connected to it, and afterwards
// checks that the node still serves another.
func attack(t *testing.T, test func(t *testing.T, node running, hostile *rawPeer)) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 100*mbit, 5*time.Millisecond, 0)
		node := n.start(n.config(fogAddr), deliver)
		hostile := newRaw(t, n.config(hostileAddr), n.socket(hostileAddr))
		hostile.dial(fogAddr)
		test(t, node, hostile)

		edge := n.start(n.config(edgeAddr), deliver)
		p := newParcel(1, 1000, time.Minute)
		mustSend(t, edge, fogPeer, p)
		if o := p.await(t); !o.Delivered() {
			t.Errorf("another peer's frame: %+v", o)
		}
	})
}

func refused(node running, r pipeline.Reason) (n uint64) {
	for _, s := range node.Stats() {
		n += s.Refused[r]
	}
	return n
}

// announce is the beginning of a message of that size.
func announce(header, payload uint32) []byte {
	b := append([]byte("WEFT"), 1, 1, 0, 0)
	b = binary.BigEndian.AppendUint32(b, header)
	return binary.BigEndian.AppendUint32(b, payload)
}

func TestStalledStreamIsGivenUp(t *testing.T) {
	attack(t, func(t *testing.T, node running, hostile *rawPeer) {
		hostile.open()
		s, err := hostile.conn.OpenUniStreamSync(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write(announce(100, 1000)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		<-s.Context().Done()
		var se *quic.StreamError
		if !errors.As(context.Cause(s.Context()), &se) || se.ErrorCode != cancelSlow {
			t.Errorf("stream ended with %v, want code %d", context.Cause(s.Context()), cancelSlow)
		}
		if took := time.Since(began); took > node.cfg.Patience+time.Second {
			t.Errorf("given up after %s, want %s", took, node.cfg.Patience)
		}
		if n := refused(node, pipeline.ReasonLink); n != 1 {
			t.Errorf("%d counted, want 1", n)
		}
	})
}

func TestHalfReadFramesAreBounded(t *testing.T) {
	attack(t, func(t *testing.T, node running, hostile *rawPeer) {
		hostile.open()
		const each = 16 << 20
		const fit = maxHeld / each
		for range fit + 1 {
			s, err := hostile.conn.OpenUniStreamSync(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Write(announce(100, each-1000)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if s := hostile.settlement(); s.Outcome.Reason != pipeline.ReasonQueueFull {
			t.Errorf("settled as %+v, want %q", s.Outcome, pipeline.ReasonQueueFull)
		}
		if n := refused(node, pipeline.ReasonQueueFull); n != 1 {
			t.Errorf("%d refused, want the one that is too much", n)
		}
	})
}

func TestStreamsAreBounded(t *testing.T) {
	attack(t, func(t *testing.T, _ running, hostile *rawPeer) {
		hostile.open()
		for i := range maxStreams + 1 {
			s, err := hostile.conn.OpenUniStream()
			if i == maxStreams {
				var limit *quic.StreamLimitReachedError
				if !errors.As(err, &limit) {
					t.Errorf("stream %d: %v, want the limit", i+1, err)
				}
				return
			}
			if err != nil {
				t.Fatalf("stream %d: %v", i+1, err)
			}
			if _, err := s.Write([]byte("W")); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestWholeMessageAndNoMore(t *testing.T) {
	attack(t, func(t *testing.T, node running, hostile *rawPeer) {
		hostile.open()
		codec, err := pipeline.NewCodec(pipeline.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		good, err := codec.AppendFrame(nil, pipeline.NewMessage("i", frame(1, 100, 0), 0, now, pipeline.NewClock(now)))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name string
			data []byte
			want pipeline.Reason
		}{
			{"whole", good, pipeline.ReasonNone},
			{"nothing", nil, pipeline.ReasonMalformed},
			{"cut", good[:len(good)-1], pipeline.ReasonMalformed},
			{"two", append(good[:len(good):len(good)], good...), pipeline.ReasonMalformed},
			{"huge", announce(10, 1<<31), pipeline.ReasonOversized},
			{"huge header", announce(1<<31, 10), pipeline.ReasonOversized},
		} {
			hostile.stream(c.data)
			if s := hostile.settlement(); s.Outcome.Reason != c.want {
				t.Errorf("%s: settled as %+v, want %q", c.name, s.Outcome, c.want)
			}
		}
		if n := refused(node, pipeline.ReasonMalformed); n != 3 {
			t.Errorf("%d counted as malformed, want 3", n)
		}
	})
}

// Until it has answered a ping, a peer's clock is not known; its frames are.
func TestFrameBeforePong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 1000*mbit, 40*time.Millisecond, 0)
		in := &inbox{}
		node := n.start(n.config(fogAddr), in)
		silent := newRaw(t, n.config(hostileAddr), n.socket(hostileAddr))
		silent.dial(fogAddr)
		silent.open()
		now := time.Now()
		b, err := node.codec.AppendFrame(nil, pipeline.NewMessage("i", frame(1, 100, 0), 0, now, pipeline.NewClock(now)))
		if err != nil {
			t.Fatal(err)
		}
		silent.stream(b)
		silent.settlement()
		if off := in.got[0].Captured.Sub(now).Abs(); off > time.Millisecond {
			t.Errorf("captured is off by %s", off)
		}
	})
}

// A new peer is asked for its clock several times, as fast as it answers, and
// then now and then.
func TestPings(t *testing.T) {
	attack(t, func(t *testing.T, _ running, peer *rawPeer) {
		peer.open()
		began := time.Now()
		for i := range firstPings + 2 {
			m, err := peer.control.read()
			if err != nil || m.Ping == nil {
				t.Fatalf("got %+v, %v; want a ping", m, err)
			}
			if took := time.Since(began); (took < pingEvery/2) != (i < firstPings) {
				t.Errorf("ping %d after %s", i+1, took)
			}
			if err := peer.control.write(pipeline.Control{Pong: &pipeline.Pong{Sent: m.Ping.Sent}}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// The one thing that costs a peer its connection is what it does on the
// control stream.
func TestBrokenControlEndsConnection(t *testing.T) {
	for name, misbehave := range map[string]func(*rawPeer){
		"none":    func(*rawPeer) {},
		"garbage": func(r *rawPeer) { r.open(); _, _ = r.control.stream.Write([]byte("GET / HTTP/1.1\r\n\r\n")) },
		"pong first": func(r *rawPeer) {
			s, err := r.conn.OpenStreamSync(r.Context())
			if err != nil {
				r.Fatal(err)
			}
			codec, err := pipeline.NewCodec(pipeline.DefaultLimits())
			if err != nil {
				r.Fatal(err)
			}
			_ = newControl(s, codec).write(pipeline.Control{Pong: &pipeline.Pong{}})
		},
		"outcomes of what it was not sent": func(r *rawPeer) {
			r.open()
			_ = r.control.write(pipeline.Control{Settlements: []pipeline.Settlement{{Ref: 2}}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			attack(t, func(t *testing.T, _ running, hostile *rawPeer) {
				misbehave(hostile)
				timer := time.NewTimer(2 * answerWithin)
				defer timer.Stop()
				select {
				case <-hostile.conn.Context().Done():
				case <-timer.C:
					t.Fatal("the connection is left open")
				}
				var ae *quic.ApplicationError
				if err := context.Cause(hostile.conn.Context()); !errors.As(err, &ae) || !ae.Remote || ae.ErrorCode != closeProtocol {
					t.Errorf("closed with %v, want code %d", err, closeProtocol)
				}
			})
		})
	}
}

// A peer that connects ever again from its socket has forgotten the oldest of
// its connections.
func TestNewerConnectionReplaces(t *testing.T) {
	attack(t, func(t *testing.T, _ running, hostile *rawPeer) {
		hostile.open()
		old := hostile.conn
		for i := range maxLanes {
			if old.Context().Err() != nil {
				t.Fatalf("closed when there were %d", i+1)
			}
			hostile.dial(fogAddr)
			hostile.open()
		}
		<-old.Context().Done()
		var ae *quic.ApplicationError
		if err := context.Cause(old.Context()); !errors.As(err, &ae) || ae.ErrorCode != closeReplaced {
			t.Errorf("closed with %v, want code %d", err, closeReplaced)
		}
	})
}

// A hostile receiver settles what it was not handed and then breaks the
// control stream.
func TestHostileReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 100*mbit, 5*time.Millisecond, 0)
		edge := n.start(n.config(edgeAddr), deliver)
		hostile := newRaw(t, n.config(hostileAddr), n.socket(hostileAddr))
		ln, err := hostile.transport.Listen(tlsConfig(hostile.cfg.ServerTLS), hostile.cfg.quicConfig())
		if err != nil {
			t.Fatal(err)
		}
		p := newParcel(1, 100, time.Minute)
		sent := make(chan error, 1)
		go func() { sent <- edge.Send(t.Context(), "fog/n@"+hostileAddr, "detect", p.Frame) }()
		if hostile.conn, err = ln.Accept(t.Context()); err != nil {
			t.Fatal(err)
		}
		stream, err := hostile.conn.AcceptStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c := newControl(stream, edge.codec)
		if _, err := c.read(); err != nil {
			t.Fatal(err)
		}
		for _, m := range []pipeline.Control{
			{Pong: &pipeline.Pong{}},
			{Settlements: []pipeline.Settlement{{Ref: 1 << 40}, {Ref: 0}, {Ref: 1<<64 - 1}}},
		} {
			if err := c.write(m); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		select {
		case o := <-p.outcome:
			t.Fatalf("settled by the outcome of another frame: %+v", o)
		default:
		}
		if _, err := stream.Write([]byte("garbage, more than a prefix of it")); err != nil {
			t.Fatal(err)
		}
		if o := p.await(t); o.Reason != pipeline.ReasonLink {
			t.Errorf("settled as %+v, want the link", o)
		}
		<-hostile.conn.Context().Done()
	})
}

// The receiver takes less than the sender would send.
func TestOversizedForPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 10*mbit, 5*time.Millisecond, 0)
		small := n.config(fogAddr)
		small.MaxFrame = 50_000
		edge, _ := n.start(n.config(edgeAddr), deliver), n.start(small, deliver)
		for _, size := range []int{50_001, 5_000_000} { // written before the peer says no, and not
			p := newParcel(1, size, time.Minute)
			switch err := edge.Send(t.Context(), fogPeer, "detect", p.Frame); {
			case err == nil:
				if o := p.await(t); o.Reason != pipeline.ReasonOversized {
					t.Errorf("%d bytes: settled as %+v, want oversized", size, o)
				}
			case !errors.Is(err, pipeline.ErrOversized):
				t.Errorf("%d bytes: %v, want ErrOversized", size, err)
			}
		}
		p := newParcel(2, 50_000, time.Minute)
		mustSend(t, edge, fogPeer, p)
		if o := p.await(t); !o.Delivered() {
			t.Errorf("at the limit: %+v", o)
		}
	})
}

// The prefix that read looks into is the codec's.
func TestPrefixIsTheCodecs(t *testing.T) {
	codec, err := pipeline.NewCodec(pipeline.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	b, err := codec.AppendFrame(nil, pipeline.NewMessage("i", frame(1, 12345, 0), 0, now, pipeline.NewClock(now)))
	if err != nil {
		t.Fatal(err)
	}
	header, payload := binary.BigEndian.Uint32(b[lengthsAt:]), binary.BigEndian.Uint32(b[lengthsAt+4:])
	if payload != 12345 || prefixSize+int(header+payload) != len(b) {
		t.Errorf("prefix says %d + %d bytes; the message has %d, 12345 of them picture", header, payload, len(b))
	}
	if _, err := codec.DecodeFrame(strings.NewReader("")); err != io.EOF {
		t.Errorf("decode nothing: %v, want io.EOF", err)
	}
}
