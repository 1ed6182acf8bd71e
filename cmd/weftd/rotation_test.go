package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/agent/gossip"
	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/tiering"
)

// TestRotationWithoutARestart exchanges a running mesh's certificates, its
// authority and its gossip key, and revokes a node, with the processes as they
// are.
func TestRotationWithoutARestart(t *testing.T) {
	t.Parallel()
	f := &farm{t: t, dir: t.TempDir(), ca: newCA(t), processes: map[string]*process{}}
	writeKey(t, f.dir)
	t.Cleanup(f.stopAll)
	gossipAt, apiAt := freePort(t), freePort(t)
	f.join = []string{gossipAt}
	f.write("coord-1", tiering.Cloud, gossipAt, apiAt, true)
	f.write("edge-1", tiering.Edge, "127.0.0.1:0", "127.0.0.1:0", false)
	conf, err := os.ReadFile(f.config("coord-1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.config("coord-1"), bytes.Replace(conf, []byte("expect: 3"), []byte("expect: 1"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	f.start("coord-1")
	f.start("edge-1")
	names := []string{"coord-1", "edge-1"}
	hangup := func() {
		for _, n := range names {
			if err := f.processes[n].cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Every question comes on a connection of its own.
	ask := func(id *pki.Identity, question func(*api.Client) error) error {
		c := api.NewClient(func() []string { return []string{apiAt} }, id.ClientTLS(pki.Coordinator))
		defer c.Close()
		return question(c)
	}
	operator := func(ca *pki.CA) *pki.Identity {
		id, err := ca.Issue(pki.Subject{Role: pki.Operator, Name: "tester"}, nil, time.Now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	both := func(c *api.Client) error {
		if n := alive(t, c); n != 2 {
			return errors.New("not both nodes are alive")
		}
		return nil
	}
	old := operator(f.ca)
	eventually(t, time.Minute, "both nodes are alive", func() bool { return ask(old, both) == nil })

	keys := filepath.Join(f.dir, "keys")
	load := func(name string) *pki.Identity {
		id, err := pki.LoadIdentity(filepath.Join(keys, "ca.crt"), filepath.Join(keys, name+".crt"), filepath.Join(keys, name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	next, err := f.ca.Replace(time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	renew := func() {
		for _, n := range names {
			id, err := next.Renew(load(n).Certificate(), 0, time.Now(), 0)
			if err == nil {
				err = id.Overwrite(keys)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		hangup()
	}
	renew()
	now := operator(next)
	eventually(t, time.Minute, "the new authority is used, and the old one trusted", func() bool { return ask(now, both) == nil })
	next.Retire()
	renew()
	now = operator(next)
	eventually(t, time.Minute, "the old authority is trusted no longer", func() bool {
		// It would trust the coordinator, and shows the old certificate.
		conf := now.ClientTLS(pki.Coordinator)
		conf.GetClientCertificate = old.ClientTLS(pki.Coordinator).GetClientCertificate
		c := api.NewClient(func() []string { return []string{apiAt} }, conf)
		defer c.Close()
		_, err := c.Mesh(t.Context())
		return err != nil && strings.Contains(err.Error(), "accept this certificate")
	})
	eventually(t, time.Minute, "both nodes are alive", func() bool { return ask(now, both) == nil })

	key := bytes.Repeat([]byte{9}, gossip.KeySize)
	eventually(t, time.Minute, "the gossip key is exchanged", func() bool {
		done := false
		err := ask(now, func(c *api.Client) error {
			r, err := c.RotateGossipKey(t.Context(), key)
			done = r.Done
			return err
		})
		return err == nil && done
	})

	edge := load("edge-1")
	mesh := func(c *api.Client) error { _, err := c.Mesh(t.Context()); return err }
	if err := ask(edge, mesh); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(next.Revoke(time.Now(), edge.Certificate()), next.SaveRevoked(keys)); err != nil {
		t.Fatal(err)
	}
	hangup()
	eventually(t, time.Minute, "the revoked node is refused", func() bool {
		err := ask(edge, mesh)
		return err != nil && strings.Contains(err.Error(), "accept this certificate")
	})
	if err := ask(now, mesh); err != nil {
		t.Errorf("the operator: %v", err)
	}
	eventually(t, time.Minute, "its open connections are closed", func() bool {
		for line := range strings.Lines(f.processes["coord-1"].log.String()) {
			if strings.Contains(line, "closed the connections to a peer") && strings.Contains(line, "peer=edge-1") && strings.Contains(line, "revoked") {
				return true
			}
		}
		return false
	})
	eventually(t, time.Minute, "the node says that it is revoked", func() bool {
		return strings.Contains(f.processes["edge-1"].log.String(), "this node's certificate is revoked")
	})
	for _, n := range names {
		select {
		case <-f.processes[n].done:
			t.Errorf("%s has ended", n)
		default:
		}
	}
}
