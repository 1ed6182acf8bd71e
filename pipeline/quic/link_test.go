package quic

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

func TestNewRefuses(t *testing.T) {
	good := newMesh(t).config("edge")
	for _, c := range []struct {
		name string
		edit func(*Config)
		want string
	}{
		{"no certificate", func(c *Config) { c.ServerTLS = nil }, "both needed"},
		{"peers without certificates", func(c *Config) {
			c.ServerTLS = c.ServerTLS.Clone()
			c.ServerTLS.ClientAuth = tls.VerifyClientCertIfGiven
		}, "must require and verify"},
		{"no verification", func(c *Config) {
			c.ClientTLS = c.ClientTLS.Clone()
			c.ClientTLS.VerifyConnection = nil
		}, "must verify"},
		{"negative grace", func(c *Config) { c.Grace = -1 }, "negative"},
		{"listen address", func(c *Config) { c.Listen = "7000" }, `"7000" is not HOST:PORT`},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := good
			c.edit(&cfg)
			if _, err := New(cfg, deliver); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error that says %q", err, c.want)
			}
		})
	}
}

func TestPortTaken(t *testing.T) {
	other := listenUDP(t)
	t.Cleanup(func() { _ = other.Close() })
	cfg := newMesh(t).config("edge")
	cfg.Listen = other.LocalAddr().String()
	_, err := New(cfg, deliver)
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("got %v, want address in use", err)
	}
	for _, want := range []string{cfg.Listen, "stop it or listen on another port"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	t.Log(err)
}

func TestCertificateRefused(t *testing.T) {
	for _, c := range []struct {
		name       string
		role       pki.Role
		otherMesh  bool
		want       string
		wantTarget any
	}{
		{"another mesh's CA", pki.Agent, true, "the peer's certificate was refused (is this machine's clock right?): CRYPTO_ERROR 0x12a (local): tls: failed to verify certificate: x509: certificate signed by unknown authority", new(*tls.CertificateVerificationError)},
		{"no agent", pki.Operator, false, "the peer refused this node's certificate (of the peer's authority? not revoked? its role agent or coordinator?", new(*quic.TransportError)},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t, 100*mbit, 5*time.Millisecond, 0)
				n.start(n.config(fogAddr), deliver)
				from := n.mesh
				if c.otherMesh {
					from = newMesh(t)
				}
				id, err := from.ca.Issue(subject(c.role, "stranger"), nil, time.Now(), time.Hour)
				if err != nil {
					t.Fatal(err)
				}
				cfg := n.config(edgeAddr)
				cfg.ServerTLS, cfg.ClientTLS = id.ServerTLS(pki.Agent), id.ClientTLS(pki.Agent)
				stranger := n.start(cfg, deliver)
				err = stranger.Send(t.Context(), fogPeer, "detect", frame(1, 100, time.Minute))
				if !errors.Is(err, pipeline.ErrUnreachable) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want ErrUnreachable because %s", err, c.want)
				}
				if !errors.As(err, c.wantTarget) {
					t.Errorf("%v does not wrap the cause", err)
				}
				t.Log(err)

				// It is tried again, and less and less often.
				for range 100 {
					if err := stranger.Send(t.Context(), fogPeer, "detect", frame(1, 100, time.Minute)); !errors.Is(err, pipeline.ErrUnreachable) {
						t.Fatalf("got %v, want ErrUnreachable", err)
					}
					sleep(50 * time.Millisecond)
				}
				p := stranger.peer(fogPeer)
				p.mu.Lock()
				defer p.mu.Unlock()
				if p.failures < 3 || p.failures > 10 {
					t.Errorf("dialled %d times in 5 s of sending, want some 6", p.failures)
				}
			})
		})
	}
}

// Our own CA does not vouch for the peer's client certificate either.
func TestClientCertificateOfAnotherCA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 100*mbit, 5*time.Millisecond, 0)
		n.start(n.config(fogAddr), deliver)
		cfg := n.config(edgeAddr)
		other := newMesh(t).identity("stranger").ClientTLS(pki.Agent)
		cfg.ClientTLS.GetClientCertificate = other.GetClientCertificate // trusts the mesh, is not of it
		stranger := n.start(cfg, deliver)
		err := stranger.Send(t.Context(), fogPeer, "detect", frame(1, 100, time.Minute))
		var te *quic.TransportError
		if !errors.Is(err, pipeline.ErrUnreachable) || !errors.As(err, &te) || !te.Remote ||
			!strings.Contains(err.Error(), "the peer refused this node's certificate") {
			t.Errorf("got %v, want ErrUnreachable because the peer refused this node's certificate", err)
		}
	})
}

func TestBadAddresses(t *testing.T) {
	l := startNew(t, newMesh(t).config("edge"), deliver)
	for _, addr := range []string{"", "nowhere", "127.0.0.1", "127.0.0.1:7000", "edge@127.0.0.1:7000", "fog/n@127.0.0.1", "fog/n@127.0.0.1:http", "fog/n@127.0.0.1:70000"} {
		if err := l.Send(t.Context(), addr, "detect", frame(1, 100, time.Minute)); !errors.Is(err, pipeline.ErrUnreachable) {
			t.Errorf("%q: %v, want ErrUnreachable", addr, err)
		}
	}
}

func TestCrowded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 100*mbit, 5*time.Millisecond, 0)
		edge, fog := n.start(n.config(edgeAddr), deliver), n.start(n.config(fogAddr), deliver)
		fog.inbound.Store(maxInbound)
		err := edge.Send(t.Context(), fogPeer, "detect", frame(1, 100, time.Minute))
		if !errors.Is(err, pipeline.ErrUnreachable) || !strings.Contains(err.Error(), errCrowded.Error()) {
			t.Errorf("got %v, want ErrUnreachable because of %v", err, errCrowded)
		}
		fog.inbound.Store(0)
		eventually(t, "room to be made", func() bool {
			return edge.Send(t.Context(), fogPeer, "detect", frame(2, 100, time.Minute)) == nil
		})
	})
}

// Over real sockets: a peer stops and another is started at its address.
func TestPeerReplaced(t *testing.T) {
	m := newMesh(t)
	edge := startNew(t, m.config("edge"), deliver)
	cfg := m.config("fog")
	for seq := range uint64(3) {
		fog := startNew(t, cfg, deliver)
		cfg.Listen = fog.Addr()
		eventually(t, "a frame to be delivered", func() bool {
			p := newParcel(seq, 1000, 2*time.Second)
			return edge.Send(t.Context(), fog.at(), "detect", p.Frame) == nil && p.await(t).Delivered()
		})
		fog.stop()
	}
	if s := edge.Stats(); len(s) != 1 || s[0].Name != "" && s[0].Name != "fog" {
		t.Errorf("stats %+v: want one peer", s)
	}
}

// Two nodes send to each other, and one to itself.
func TestBothWays(t *testing.T) {
	m := newMesh(t)
	a, b := startNew(t, m.config("a"), deliver), startNew(t, m.config("b"), deliver)
	_, port, err := net.SplitHostPort(a.Addr())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from running
		to   string
	}{{a, b.at()}, {b, a.at()}, {a, "fog/a@localhost:" + port}} {
		p := newParcel(1, 60_000, time.Minute)
		mustSend(t, c.from, c.to, p)
		if o := p.await(t); !o.Delivered() {
			t.Errorf("%s to %s: %+v", c.from.cfg.Node, c.to, o)
		}
	}
	for _, s := range b.Stats() {
		if s.Addr != a.at() || s.Name != "a" || s.Sent != 1 || s.Received != 1 || s.RTT <= 0 {
			t.Errorf("stats %+v: want one frame each way with a", s)
		}
	}
}

// The socket fails under Run.
func TestSocketFails(t *testing.T) {
	m := newMesh(t)
	socket := listenUDP(t)
	l, err := newLink(m.config("edge"), socket, deliver)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- l.Run(t.Context()) }()
	if err := l.start(t.Context(), func(context.Context, *quic.Transport) {}); err != nil { // runs
		t.Fatal(err)
	}
	_ = socket.Close()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-done:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("run: %v, want the socket's error", err)
		}
	case <-timer.C:
		t.Fatal("run goes on without a socket")
	}
}

// Frames for fog-2 go to fog-2 only, whatever gossip says where it is: another
// node that answers there gets none, is not asked again and again, and the
// sender is told who is who.
func TestNobodyStandsInForAnother(t *testing.T) {
	for _, c := range []struct {
		name string
		tier tiering.Tier // of the certificate of fog-2 that answers; 0: another node does
		want string       // of the error; empty: none
	}{
		{"itself", tiering.Fog, ""},
		{"another node", 0, "another node answers there (it has moved, or somebody says so): CRYPTO_ERROR 0x12a (local): tls: failed to verify certificate: not the node that is meant: it is spiffe://test/agent/edge/edge-9, and meant is fog-2 at tier fog"},
		{"itself at another tier", tiering.Edge, "it is spiffe://test/agent/edge/fog-2, and meant is fog-2 at tier fog"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t, 100*mbit, 5*time.Millisecond, 0)
				there := pki.Subject{Role: pki.Agent, Tier: tiering.Edge, Name: "edge-9"}
				if c.tier != 0 {
					there.Name, there.Tier = "fog-2", c.tier
				}
				id, err := n.mesh.ca.Issue(there, nil, time.Now(), time.Hour)
				if err != nil {
					t.Fatal(err)
				}
				cfg := n.config(fogAddr)
				cfg.ServerTLS, cfg.ClientTLS = id.ServerTLS(pki.Agent), id.ClientTLS(pki.Agent)
				in := &inbox{}
				n.start(cfg, in)
				edge := n.start(n.config(edgeAddr), deliver)

				// As the agent sends: along an offer of the coordinator's.
				router, err := pipeline.NewRouter(pipeline.RouterConfig{
					Node: "edge-1", Tier: tiering.Edge, Group: "gate", Outbox: 4, Concurrency: 4, Log: slog.New(slog.DiscardHandler),
				}, deliver, map[tiering.Transport]pipeline.Sender{tiering.QUIC: edge})
				if err != nil {
					t.Fatal(err)
				}
				offer := tiering.Offer{
					Instance: "people/detect#0", Group: "detect", Node: "fog-2", Tier: tiering.Fog, Address: fogAddr,
					Link: tiering.Link{From: "gate", To: "detect", Transport: tiering.QUIC, Encoding: tiering.JPEG}, Accepts: tiering.Data{Type: "image"},
				}
				router.SetOffers([]tiering.Offer{offer})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- router.Run(ctx) }()
				defer func() {
					cancel()
					if err := <-done; err != nil {
						t.Error(err)
					}
				}()
				p := newParcel(1, 1000, time.Minute)
				router.Forward(p.Frame)
				if c.want == "" {
					if o := p.await(t); !o.Delivered() || len(in.seqs()) != 1 {
						t.Errorf("%+v, arrived: %v", o, in.seqs())
					}
					return
				}
				if o := p.await(t); o.Reason != pipeline.ReasonLink {
					t.Errorf("the frame is settled as %+v, want %q", o, pipeline.ReasonLink)
				}
				for seq := range uint64(100) {
					err := edge.Send(t.Context(), offer.To(), "detect", frame(seq, 1000, time.Minute))
					if !errors.Is(err, pipeline.ErrUnreachable) || !errors.Is(err, pki.ErrPeer) || !strings.Contains(err.Error(), c.want) {
						t.Fatalf("got %v, want ErrUnreachable because %s", err, c.want)
					}
					sleep(50 * time.Millisecond)
				}
				peer := edge.peer(offer.To())
				peer.mu.Lock()
				defer peer.mu.Unlock()
				if peer.failures < 3 || peer.failures > 10 {
					t.Errorf("dialled %d times in 5 s of sending, want some 6", peer.failures)
				}
				if got := in.seqs(); len(got) > 0 {
					t.Errorf("frames %v went to %s", got, there)
				}
			})
		})
	}
}
