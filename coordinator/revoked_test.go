package coordinator

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
)

// TestRevokedCoordinatorOfRaft: the Raft connections with a revoked coordinator
// end, whoever dialled, and those with others go on.
func TestRevokedCoordinatorOfRaft(t *testing.T) {
	ca := pkitest.CA(t)
	as := func(name string) acquainted { return acquainted{says: hello{Node: name, Cluster: "a"}} }
	node := pkitest.Follow(t, pkitest.Issue(t, ca, pki.Coordinator, "c1"))
	stolen := pkitest.Issue(t, ca, pki.Coordinator, "c2")
	self, _ := listeningAs(t, node.Identity, as("c1"))
	thief, _ := listeningAs(t, stolen, as("c2"))
	honest, _ := listening(t, ca, as("c3"))
	dial := func(from, to *stream, name string) (net.Conn, error) {
		return from.Dial(named(raft.ServerID(name), raft.ServerAddress(to.Addr().String())), patience)
	}
	open := map[string]net.Conn{}
	for what, ends := range map[string]struct {
		from, to *stream
		name     string
	}{
		"of the revoked": {thief, self, "c1"}, "to the revoked": {self, thief, "c2"},
		"of another": {honest, self, "c1"}, "to another": {self, honest, "c3"},
	} {
		c, err := dial(ends.from, ends.to, ends.name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		open[what] = c
	}

	node.Revoke(ca, stolen.Certificate())
	for what, c := range open {
		_ = c.SetDeadline(time.Now().Add(patience))
		// Each end answers with a byte to a byte.
		_, err := c.Write([]byte("x"))
		if err == nil {
			_, err = io.ReadFull(c, make([]byte, 1))
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() || strings.Contains(what, "revoked") != (err != nil) {
			t.Errorf("the connection %s: %v", what, err)
		}
	}
	if _, err := dial(self, thief, "c2"); !errors.Is(err, pki.ErrRevoked) {
		t.Errorf("dialled again: %v", err)
	}
	if _, err := dial(thief, self, "c1"); err == nil {
		t.Error("it dials again, and is let in")
	}
	if log := node.Log(); strings.Count(log, "closed the connections to a peer") != 1 || !strings.Contains(log, "peer=c2") || !strings.Contains(log, "connections=2") {
		t.Errorf("the log says\n%s", log)
	}
}
