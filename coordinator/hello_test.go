package coordinator

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/weft-mesh/weft/internal/logtest"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/tiering"
)

func TestHello(t *testing.T) {
	own := hello{Version: helloVersion, Cluster: "mesh-a", Node: "c1", Address: "10.0.0.1:7948"}
	good := hello{Version: helloVersion, Cluster: "mesh-a", Node: "c2", Address: "10.0.0.2:7948", Want: "c1"}
	for name, tc := range map[string]struct {
		change func(own, peer *hello)
		is     error
		says   string
	}{
		"the same mesh":              {func(_, _ *hello) {}, nil, ""},
		"a newcomer":                 {func(_, p *hello) { p.Cluster = "" }, nil, ""},
		"this one is new":            {func(o, _ *hello) { o.Cluster = "" }, nil, ""},
		"whoever is there":           {func(_, p *hello) { p.Want = "" }, nil, ""},
		"another mesh":               {func(_, p *hello) { p.Cluster = "mesh-b" }, ErrOtherMesh, "c1 at 10.0.0.1:7948 is of mesh mesh-a, c2 at 10.0.0.2:7948 of mesh mesh-b, set up apart under one name; correct `join`"},
		"an address used again":      {func(_, p *hello) { p.Want = "c3" }, ErrOtherNode, "c2 looks for c3 at 10.0.0.1:7948, where c1 is now"},
		"the name of this one":       {func(_, p *hello) { p.Node = "c1" }, ErrOtherNode, "has the certificate of c2"},
		"another version":            {func(_, p *hello) { p.Version = 9 }, ErrHello, "speaks version 9, c1 at 10.0.0.1:7948 version 1; run the same weftd"},
		"a certificate of another's": {func(_, p *hello) { p.Node = "c3" }, ErrOtherNode, "c3 at 10.0.0.2:7948 has the certificate of c2"},
	} {
		o, p := own, good
		tc.change(&o, &p)
		err := o.check(&p, "c2")
		if !errors.Is(err, tc.is) || (err == nil) != (tc.is == nil) || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v\nwant %v: %s", name, err, tc.is, tc.says)
		}
	}
	twin := good
	twin.Node = "c1"
	if err := own.check(&twin, "c1"); !errors.Is(err, ErrOtherNode) || !strings.Contains(err.Error(), "another `node.name`") {
		t.Errorf("a second machine of this name: %v", err)
	}
}

func FuzzHello(f *testing.F) {
	var b bytes.Buffer
	_ = (&hello{Version: 1, Node: "c1"}).write(&b)
	f.Add(b.Bytes())
	f.Add([]byte{0, 2, '{', '}'})
	f.Add([]byte{255, 255, '{'})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var h hello
		if err := h.read(bytes.NewReader(raw)); err != nil {
			return
		}
		var b bytes.Buffer
		if err := h.write(&b); err != nil && !errors.Is(err, ErrHello) {
			t.Fatal(err)
		}
	})
}

// acquainted is an acquaintance as a test wants it.
type acquainted struct {
	says hello
	home map[string]string
}

func (a *acquainted) hello() hello { return a.says }

func (a *acquainted) elsewhere(node, addr string) (string, bool) {
	home, ok := a.home[node]
	return home, ok && home != addr
}

// listening is a stream on loopback and its log. Whoever is let in is answered
// with one byte.
func listening(t *testing.T, ca *pki.CA, who acquainted) (s *stream, log *logtest.Book) {
	t.Helper()
	return listeningAs(t, pkitest.Issue(t, ca, pki.Coordinator, who.says.Node), who)
}

func listeningAs(t *testing.T, id *pki.Identity, who acquainted) (s *stream, log *logtest.Book) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log = &logtest.Book{}
	who.says.Version, who.says.Address = helloVersion, l.Addr().String()
	s = newStream(l, l.Addr(), id.ServerTLS(pki.Coordinator), id.ClientTLS(pki.Coordinator), id.Peers(), &who, slog.New(slog.NewTextHandler(log, nil)))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := s.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				if _, err := c.Read(make([]byte, 1)); err == nil {
					_, _ = c.Write([]byte("x"))
				}
			}()
		}
	}()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return s, log
}

func TestWhoMayConnect(t *testing.T) {
	ca := pkitest.CA(t)
	for name, tc := range map[string]struct {
		from acquainted
		as   string // certificate; empty: its own
		to   acquainted
		want string // whom it looks for
		is   error
		here string // what the one that dialled is told
		log  string // what the other logs; empty: nothing
	}{
		"another of the mesh": {from: acquainted{says: hello{Node: "c1", Cluster: "a"}}, to: acquainted{says: hello{Node: "c2", Cluster: "a"}}, want: "c2"},
		"a newcomer":          {from: acquainted{says: hello{Node: "c1", Cluster: "a"}}, to: acquainted{says: hello{Node: "c2"}}, want: "c2"},
		"another mesh": {
			from: acquainted{says: hello{Node: "c1", Cluster: "a"}}, to: acquainted{says: hello{Node: "c2", Cluster: "b"}}, want: "c2",
			is: ErrOtherMesh, here: "c1 at %from is of mesh a, c2 at %to of mesh b", log: "c2 at %to is of mesh b, c1 at %from of mesh a",
		},
		"an address used again": {
			from: acquainted{says: hello{Node: "c1", Cluster: "a"}}, to: acquainted{says: hello{Node: "c9", Cluster: "a"}}, want: "c2",
			is: ErrOtherNode, here: "c2 was to be at %to, where c9 is now", log: "c1 looks for c2 at %to, where c9 is now",
		},
		"a second machine of its name": {
			from: acquainted{says: hello{Node: "c1", Cluster: "a"}}, to: acquainted{says: hello{Node: "c2", Cluster: "a"}, home: map[string]string{"c1": "10.0.0.1:1"}}, want: "c2",
			is: ErrOtherNode, here: "refused by c2", log: "c1 calls from %from, but is alive at 10.0.0.1:1",
		},
		"with a certificate of another": {
			from: acquainted{says: hello{Node: "c1", Cluster: "a"}}, as: "c3", to: acquainted{says: hello{Node: "c2", Cluster: "a"}}, want: "c2",
			is: ErrOtherNode, here: "refused by c2", log: "c1 at %from has the certificate of c3",
		},
	} {
		t.Run(name, func(t *testing.T) {
			to, toLog := listening(t, ca, tc.to)
			from, _ := listening(t, ca, tc.from)
			if tc.as != "" {
				from.client = pkitest.Issue(t, ca, pki.Coordinator, tc.as).ClientTLS(pki.Coordinator)
				from.client.NextProtos = []string{raftProtocol}
			}
			fill := strings.NewReplacer("%from", from.Addr().String(), "%to", to.Addr().String())
			for range 2 { // the second time it is not logged again
				c, err := from.Dial(named(raft.ServerID(tc.want), raft.ServerAddress(to.Addr().String())), patience)
				if !errors.Is(err, tc.is) || (err == nil) != (tc.is == nil) || err != nil && !strings.Contains(err.Error(), fill.Replace(tc.here)) {
					t.Fatalf("got %v\nwant %s", err, fill.Replace(tc.here))
				}
				if err == nil {
					if _, err := c.Write([]byte("x")); err != nil {
						t.Fatal(err)
					}
					if _, err := c.Read(make([]byte, 1)); err != nil {
						t.Fatal(err)
					}
					_ = c.Close()
				}
			}
			if tc.log == "" {
				if toLog.String() != "" {
					t.Fatal(toLog.String())
				}
				return
			}
			wait(t, "the refusal in the other's log", func() bool { return strings.Contains(toLog.String(), fill.Replace(tc.log)) })
			if n := strings.Count(toLog.String(), "refused a coordinator"); n != 1 {
				t.Errorf("logged %d times:\n%s", n, toLog)
			}
		})
	}
}

// Whoever has the right certificate and no manners is not let in either.
func TestNoHello(t *testing.T) {
	ca := pkitest.CA(t)
	to, _ := listening(t, ca, acquainted{says: hello{Node: "c2", Cluster: "a"}})
	conf := pkitest.Issue(t, ca, pki.Coordinator, "c1").ClientTLS(pki.Coordinator)
	conf.NextProtos = []string{raftProtocol}
	for name, raw := range map[string][]byte{
		"an RPC at once": {0, 0, 0, 0}, "too long": {0xff, 0xff}, "no JSON": {0, 3, 'a', 'b', 'c'},
		"another version": func() []byte {
			b, _ := json.Marshal(hello{Version: 7, Node: "c1"})
			return append([]byte{0, byte(len(b))}, b...)
		}(),
	} {
		c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", to.Addr().String(), conf)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = c.Write(raw)
		_, _ = c.Write([]byte("x"))
		var answer hello
		err = answer.read(c)
		var timeout net.Error
		if err == nil && answer.Refused == "" || errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("%s: let in: %+v, %v", name, answer, err)
		}
		_ = c.Close()
	}
}

func TestStrangersAtTheRaftPort(t *testing.T) {
	ca := pkitest.CA(t)
	to, _ := listening(t, ca, acquainted{says: hello{Node: "c2", Cluster: "a"}})
	old, err := ca.Issue(pki.Subject{Role: pki.Coordinator, Tier: tiering.Fog, Name: "c1"}, nil, time.Now().Add(-2*time.Hour), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	expired := old.ClientTLS(pki.Coordinator)
	expired.NextProtos = []string{raftProtocol}
	trusted := pkitest.Issue(t, ca, pki.Coordinator, "c1").ClientTLS(pki.Coordinator)
	for name, id := range map[string]*pki.Identity{
		"an agent": pkitest.Issue(t, ca, pki.Agent, "edge-1"), "an operator": pkitest.Issue(t, ca, pki.Operator, "anna"),
		"a coordinator of another CA": pkitest.Issue(t, pkitest.CA(t), pki.Coordinator, "c1"), "an expired certificate": old,
	} {
		conf := trusted.Clone() // whoever it is, it trusts this mesh
		conf.GetClientCertificate, conf.NextProtos = id.ClientTLS(pki.Coordinator).GetClientCertificate, []string{raftProtocol}
		c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", to.Addr().String(), conf)
		if err != nil {
			continue
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		h := hello{Version: helloVersion, Cluster: "a", Node: id.Subject.Name, Want: "c2"}
		_ = h.write(c)
		var timeout net.Error
		if err := h.read(c); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("%s got an answer: %+v, %v", name, h, err)
		}
		_ = c.Close()
	}
}

// A coordinator turns away who takes its place at its address.
func TestElsewhere(t *testing.T) {
	n := coordinatorNode("c2")
	n.Addresses.Raft = "10.0.0.2:7948"
	g := newGossip(n)
	c := newCoordinator(Config{ID: "c1", Log: discard()}, g.view(), nil, "c1", nil)
	for _, tc := range []struct {
		status tiering.NodeStatus
		addr   string
		want   bool
	}{
		{tiering.NodeAlive, "10.0.0.2:7948", false}, {tiering.NodeAlive, "10.0.0.9:7948", true},
		{tiering.NodeFailed, "10.0.0.9:7948", false}, {tiering.NodeLeft, "10.0.0.9:7948", false},
	} {
		g.status("c2", tc.status)
		if home, got := c.elsewhere("c2", tc.addr); got != tc.want {
			t.Errorf("%s, from %s: %q, %v", tc.status, tc.addr, home, got)
		}
	}
	if _, got := c.elsewhere("c3", "anywhere"); got {
		t.Error("nobody knows c3, and it is elsewhere")
	}
}
