package broker

import (
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
)

func TestRevoked(t *testing.T) {
	ca := pkitest.CA(t)
	self := pkitest.Follow(t, pkitest.Issue(t, ca, pki.Agent, "fog-1"))
	b, stop := start(t, Config{TLS: self.ServerTLS(pki.Agent, pki.Operator), Peers: self.Peers()})
	m := &mesh{b, ca, stop}
	thief := pkitest.Issue(t, ca, pki.Agent, "edge-1")
	lost := make(chan error, 1)
	o := m.options(t, pki.Agent, "edge-1", lost).SetTLSConfig(thief.ClientTLS(pki.Agent))
	stolen := paho.NewClient(o)
	done(t, stolen.Connect())
	ada := m.join(t, pki.Operator, "ada", nil)
	got := inbox(t, ada, "cameras/gate")

	self.Revoke(ca, thief.Certificate())
	select {
	case <-lost:
	case <-time.After(patience):
		t.Fatal("the revoked client stays connected")
	}
	eventually(t, "the broker to forget it", func() bool { return m.Stats().Clients == 1 })
	again := paho.NewClient(o)
	if tok := again.Connect(); !tok.WaitTimeout(patience) || tok.Error() == nil {
		t.Error("it is let in again")
		again.Disconnect(0)
	}
	done(t, ada.Publish("cameras/gate", 0, false, "picture"))
	select {
	case <-got:
	case <-time.After(patience):
		t.Error("the operator is cut off, too")
	}
	if !strings.Contains(self.Log(), "peer=edge-1") {
		t.Errorf("the log says\n%s", self.Log())
	}
}
