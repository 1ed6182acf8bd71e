package coordinator

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/tiering"
)

// tlsConfig is a coordinator on loopback.
func tlsConfig(t *testing.T, ca *pki.CA, name string) Config {
	t.Helper()
	id := pkitest.Issue(t, ca, pki.Coordinator, name)
	return Config{
		ID: name, Cluster: "test", DataDir: t.TempDir(), RaftListen: "127.0.0.1:0", Expect: 1,
		ServerTLS: id.ServerTLS(pki.Coordinator), ClientTLS: id.ClientTLS(pki.Coordinator),
		Reconcile: 200 * time.Millisecond, Timing: quick(), Log: discard(),
	}
}

// start runs a coordinator and returns what stops it.
func start(t *testing.T, c *Coordinator) (stop func() error) {
	t.Helper()
	m := &member{Coordinator: c}
	m.run()
	return func() error {
		m.stop()
		select {
		case err := <-m.done:
			return err
		case <-time.After(patience):
			t.Fatal("coordinator does not end")
			return nil
		}
	}
}

// release frees what New bound.
func release(t *testing.T, c *Coordinator) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestClusterOverTLS(t *testing.T) {
	ca, g := pkitest.CA(t), newGossip()
	g.set(worker("edge-1", tiering.Edge, 1), tiering.NodeAlive)
	g.set(worker("fog-1", tiering.Fog, 2), tiering.NodeAlive)
	var all []*Coordinator
	for _, name := range []string{"c1", "c2", "c3"} {
		cfg := tlsConfig(t, ca, name)
		cfg.Expect = 3
		c, err := New(cfg, g.view(), nil)
		if err != nil {
			t.Fatal(err)
		}
		n := coordinatorNode(name)
		n.Addresses.Raft = c.RaftAddr()
		g.set(n, tiering.NodeAlive)
		all = append(all, c)
	}
	for _, c := range all {
		stop := start(t, c)
		defer func() {
			if err := stop(); err != nil {
				t.Error(err)
			}
		}()
	}
	wait(t, "the workflow to be taken", func() bool {
		for _, c := range all {
			if n, _ := c.Snapshot().Node("fog-1"); !c.IsLeader() || !n.Alive() {
				continue
			}
			_, err := c.Submit(context.Background(), people("people", 1), "")
			if err != nil && !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrNoLeader) && !errors.Is(err, tiering.ErrRefused) {
				t.Fatal(err)
			}
			return err == nil
		}
		return false
	})
	for _, c := range all {
		wait(t, "the workflow on "+c.cfg.ID, func() bool { return running(c.Snapshot(), "people") })
	}
	strangers(t, ca, all[0].RaftAddr())
}

// strangers tries to speak Raft without being a coordinator of the mesh.
func strangers(t *testing.T, ca *pki.CA, addr string) {
	t.Helper()
	foreign := pkitest.CA(t)
	self := pkitest.Issue(t, ca, pki.Coordinator, "c9").ClientTLS(pki.Coordinator)
	otherProtocol := self.Clone()
	otherProtocol.NextProtos = []string{"h2"}
	agent := pkitest.Issue(t, ca, pki.Agent, "edge-1").ClientTLS(pki.Coordinator)
	agent.NextProtos = []string{raftProtocol}
	// They would trust this server.
	outsider := self.Clone()
	outsider.NextProtos = []string{raftProtocol}
	outsider.GetClientCertificate = pkitest.Issue(t, foreign, pki.Coordinator, "c1").ClientTLS(pki.Coordinator).GetClientCertificate
	nobody := self.Clone()
	nobody.NextProtos = []string{raftProtocol}
	nobody.GetClientCertificate = nil
	for name, c := range map[string]struct {
		conf  *tls.Config
		alert string
	}{
		"an agent":                    {agent, "tls: bad certificate"},
		"a coordinator of another CA": {outsider, "tls: bad certificate"},
		"nobody":                      {nobody, "tls: certificate required"},
		"another protocol":            {otherProtocol, "tls: no application protocol"},
	} {
		// Only what TLS says counts: one that is let in, and is silent, hears
		// nothing either, and then that the connection has ended.
		var refused *net.OpError
		err := greet(addr, c.conf, nil)
		if !errors.As(err, &refused) || refused.Op != "remote error" || refused.Err.Error() != c.alert {
			t.Errorf("%s: %v, want to be refused with %q", name, err, c.alert)
		}
	}
	known := self.Clone()
	known.NextProtos = []string{raftProtocol}
	if err := greet(addr, known, &hello{Version: helloVersion, Node: "c9", Address: "127.0.0.1:1"}); err != nil {
		t.Errorf("a coordinator is not let in: %v", err)
	}
}

// greet dials, says a hello unless it is nil, and reads that of the other end.
func greet(addr string, conf *tls.Config, say *hello) error {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", addr, conf)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if say != nil {
		if err := say.write(c); err != nil {
			return err
		}
	}
	var answer hello
	if err := answer.read(c); err != nil { // in TLS 1.3 a client learns here that it was refused
		return err
	}
	if answer.Refused != "" {
		return errors.New(answer.Refused)
	}
	return nil
}

func TestConfigurationErrors(t *testing.T) {
	ca := pkitest.CA(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for want, change := range map[string]func(c *Config){
		"no node ID":                       func(c *Config) { c.ID = "" },
		"no name of the mesh":              func(c *Config) { c.Cluster = "" },
		"no data directory":                func(c *Config) { c.DataDir = "" },
		"no address to listen on for Raft": func(c *Config) { c.RaftListen = "" },
		"needs TLS settings":               func(c *Config) { c.ClientTLS = nil },
		"expects -1 coordinators":          func(c *Config) { c.Expect = -1 },
		"reconciles every -1s":             func(c *Config) { c.Reconcile = -time.Second },
		"others cannot dial \"[::]":        func(c *Config) { c.RaftListen = ":0" },
		"others cannot dial \"0.0.0.0:":    func(c *Config) { c.RaftAdvertise = "0.0.0.0:7000" },
		"missing port in address":          func(c *Config) { c.RaftAdvertise = "10.0.0.1" },
		"is no number from 0 to 65535":     func(c *Config) { c.RaftAdvertise = "10.0.0.1:raft" },
		"Raft cannot listen on " + taken.Addr().String() + ": listen tcp": func(c *Config) { c.RaftListen = taken.Addr().String() },
	} {
		cfg := tlsConfig(t, ca, "c1")
		change(&cfg)
		c, err := New(cfg, newGossip().view(), nil)
		if err == nil {
			release(t, c)
		}
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}

	cfg := tlsConfig(t, ca, "c1")
	cfg.RaftListen = taken.Addr().String()
	if _, err := New(cfg, newGossip().view(), nil); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "choose another address") {
		t.Errorf("port already taken: %v", err)
	}
}

func TestAdvertisedAddress(t *testing.T) {
	cfg := tlsConfig(t, pkitest.CA(t), "c1")
	cfg.RaftListen, cfg.RaftAdvertise = "127.0.0.1:0", "c1.example:0"
	c, err := New(cfg, newGossip().view(), nil)
	if err != nil {
		t.Fatal(err)
	}
	release(t, c)
	host, port, err := net.SplitHostPort(c.RaftAddr())
	if err != nil || host != "c1.example" || port == "0" {
		t.Fatalf("advertises %q, %v", c.RaftAddr(), err)
	}
}

func TestReleasesPortAndDirectory(t *testing.T) {
	ca := pkitest.CA(t)
	cfg := tlsConfig(t, ca, "c1")
	for range 2 {
		c, err := New(cfg, newGossip().view(), nil)
		if err != nil {
			t.Fatal(err)
		}
		cfg.RaftListen = c.RaftAddr() // the second time it must be free again
		release(t, c)
	}
}

func TestDataDirectoryInUse(t *testing.T) {
	ca := pkitest.CA(t)
	cfg := tlsConfig(t, ca, "c1")
	first, err := New(cfg, newGossip(coordinatorNode("c1")).view(), nil)
	if err != nil {
		t.Fatal(err)
	}
	stop := start(t, first)
	wait(t, "the first to lead", first.IsLeader)
	second, err := New(cfg, newGossip().view(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "in use by another weftd") {
		t.Fatalf("got %v", err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedDataDirectory(t *testing.T) {
	ca := pkitest.CA(t)
	for name, damage := range map[string]func(dir string) error{
		"meta data garbled": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "raft", "log", "wal-meta.db"), []byte("not a database"), 0o600)
		},
		"a file in place of the directory": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "raft"), nil, 0o600)
		},
	} {
		cfg := tlsConfig(t, ca, "c1")
		if name == "meta data garbled" {
			if err := os.MkdirAll(filepath.Join(cfg.DataDir, "raft", "log"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := damage(cfg.DataDir); err != nil {
			t.Fatal(err)
		}
		c, err := New(cfg, newGossip().view(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Run(context.Background()); err == nil || !strings.Contains(err.Error(), cfg.DataDir) {
			t.Errorf("%s: got %v, want an error that names %s", name, err, cfg.DataDir)
		}
	}
}

func TestDirectoryOfAnotherMesh(t *testing.T) {
	ca := pkitest.CA(t)
	cfg := tlsConfig(t, ca, "c1")
	g := newGossip(coordinatorNode("c1"))
	c, err := New(cfg, g.view(), nil)
	if err != nil {
		t.Fatal(err)
	}
	stop := start(t, c)
	wait(t, "the mesh to be named", func() bool { return c.Snapshot().Cluster() == "test" })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	cfg.Cluster = "other"
	if c, err = New(cfg, g.view(), nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Run(context.Background()); !errors.Is(err, ErrWrongMesh) || !strings.Contains(err.Error(), cfg.DataDir) {
		t.Fatalf("got %v, want ErrWrongMesh", err)
	}
}

func TestSlowHandshakeHoldsUpNobody(t *testing.T) {
	ca, g := pkitest.CA(t), newGossip(coordinatorNode("c1"))
	c, err := New(tlsConfig(t, ca, "c1"), g.view(), nil)
	if err != nil {
		t.Fatal(err)
	}
	stop := start(t, c)
	silent, err := net.Dial("tcp", c.RaftAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	// The silent connection comes first; the next one is still served.
	conf := pkitest.Issue(t, ca, pki.Coordinator, "c2").ClientTLS(pki.Coordinator)
	conf.NextProtos = []string{raftProtocol}
	next, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", c.RaftAddr(), conf)
	if err != nil {
		t.Fatal(err)
	}
	_ = next.Close()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	// Stopping broke the connection that never said a word, before its handshake
	// timed out.
	if err := silent.SetDeadline(time.Now().Add(handshakeTimeout / 2)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := silent.Read(make([]byte, 1)); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatalf("the silent connection is still open: %v", err)
	}
}
