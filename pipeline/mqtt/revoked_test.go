package mqtt

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/pipeline/mqtt/broker"
)

// TestRevokedBroker: a link and a subscription leave the broker of a node that
// is revoked, and do not come back.
func TestRevokedBroker(t *testing.T) {
	ca := pkitest.CA(t)
	thief := identity(t, ca, "fog-1")
	b, _ := startBroker(t, broker.Config{TLS: thief.ServerTLS(pki.Agent)})
	self := pkitest.Follow(t, identity(t, ca, "edge-1"))
	url, conf := "tls://"+b.Addr(), self.ClientTLS(pki.Agent)
	l, _ := startLink(t, Config{Broker: url, Node: "edge-1", TLS: conf, Peers: self.Peers()}, ignore)
	ended := make(chan error, 1)
	go func() {
		ended <- Subscribe(t.Context(), SubscribeConfig{Broker: url, TLS: conf, Peers: self.Peers(), Topic: "cameras/gate", Log: l.log}, func([]byte) {})
	}()
	eventually(t, "both to be connected", func() bool { return b.Stats().Clients == 2 && l.Stats().Sessions == 1 })

	self.Revoke(ca, thief.Certificate())
	if err := <-ended; !errors.Is(err, pipeline.ErrUnreachable) {
		t.Errorf("the subscription: %v", err)
	}
	eventually(t, "the link to be refused", func() bool {
		err := l.Send(t.Context(), "edge-1", "detect", newFrame(1, time.Minute))
		return err != nil && strings.Contains(err.Error(), pki.ErrRevoked.Error())
	})
	eventually(t, "both to be gone", func() bool { return b.Stats().Clients == 0 })
}
