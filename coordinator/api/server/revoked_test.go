package server

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
)

// TestRevokedCallers: the open connections of a revoked node end, with what it
// is waiting for; those of others go on.
func TestRevokedCallers(t *testing.T) {
	f := newFake(t)
	self := pkitest.Follow(t, pkitest.Issue(t, f.ca, pki.Coordinator, "c1"))
	f.server.cfg.ServerTLS, f.server.cfg.Peers = self.ServerTLS(pki.Agent, pki.Coordinator, pki.Operator), self.Peers()
	f.run()
	thief, honest := pkitest.Issue(t, f.ca, pki.Agent, "edge-1"), f.caller(pki.Operator, "ada")
	stolen := newCaller(t, thief, f.server)
	held := make(chan error, 1)
	go func() {
		_, err := stolen.try(stolen.request(http.MethodGet, fmt.Sprintf("%s?after=%d", assignments, f.index), ""))
		held <- err
	}()
	wait(t, "the agent's request to be held", func() bool { return f.holding() == 1 })
	if a := honest.do(http.MethodGet, "/v1/mesh", ""); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}

	self.Revoke(f.ca, thief.Certificate())
	if err := receive(t, "the end of the agent's request", held); err == nil {
		t.Error("the revoked agent got an answer")
	}
	wait(t, "nothing to be held for it", func() bool { return f.holding() == 0 })
	if _, err := stolen.try(stolen.request(http.MethodGet, "/v1/mesh", "")); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("it connects again: %v", err)
	}
	if a := honest.do(http.MethodGet, "/v1/mesh", ""); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
	if !strings.Contains(self.Log(), "peer=edge-1") || strings.Contains(self.Log(), "ada") {
		t.Errorf("the log says\n%s", self.Log())
	}
}

// TestRevokedCoordinator: a node takes nothing more from a revoked coordinator.
func TestRevokedCoordinator(t *testing.T) {
	f := newFake(t)
	f.run()
	own, err := f.server.cfg.ServerTLS.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	node := pkitest.Follow(t, pkitest.Issue(t, f.ca, pki.Agent, "edge-1"))
	c := api.NewPeerClient(node.Peers(), func() []string { return []string{f.server.Addr()} }, node.ClientTLS(pki.Coordinator))
	t.Cleanup(c.Close)
	held := make(chan error, 1)
	go func() { _, _, err := c.Assignments(t.Context(), "edge-1", f.index); held <- err }()
	wait(t, "the node's request to be held", func() bool { return f.holding() == 1 })
	node.Revoke(f.ca, own.Leaf)
	if err := receive(t, "the end of the node's request", held); err == nil {
		t.Error("it got an answer")
	}
	if _, err := c.Mesh(t.Context()); err == nil || !strings.Contains(err.Error(), "no coordinator of this mesh") {
		t.Errorf("it connects again: %v", err)
	}
}
