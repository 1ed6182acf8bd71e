package mqtt

import (
	"crypto/tls"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/pipeline/linktest"
	"github.com/weft-mesh/weft/pipeline/mqtt/broker"
)

// As in a mesh: over TLS, and with the broker's access list.
func TestConformanceEmbedded(t *testing.T) {
	ca := pkitest.CA(t)
	server := identity(t, ca, "fog-1").ServerTLS(pki.Agent, pki.Operator)
	linktest.Run(t, func(t *testing.T, recv pipeline.Receiver, opts linktest.Options) linktest.Pair {
		b, _ := startBroker(t, broker.Config{Pending: 256, TLS: server})
		p := pair(t, "tls://", b.Addr(), "", func(name string) *tls.Config { return identity(t, ca, name).ClientTLS(pki.Agent) }, recv, opts)
		t.Cleanup(func() {
			if n := b.Stats().Refused; n > 0 {
				t.Errorf("the broker refused %d messages or subscriptions", n)
			}
		})
		return p
	})
}

func TestConformanceMosquitto(t *testing.T) {
	addr := startMosquitto(t)
	var n atomic.Int64
	linktest.Run(t, func(t *testing.T, recv pipeline.Receiver, opts linktest.Options) linktest.Pair {
		return pair(t, "tcp://", addr, fmt.Sprint("-", n.Add(1)), func(string) *tls.Config { return nil }, recv, opts)
	})
}

// pair starts two links at the broker; the sender's way to it can be cut.
func pair(t *testing.T, scheme, addr, suffix string, creds func(string) *tls.Config, recv pipeline.Receiver, opts linktest.Options) linktest.Pair {
	t.Helper()
	conf := Config{MaxFrame: opts.Limits.Image, Grace: opts.Grace, Queue: 256, Log: opts.Log}
	far, near := conf, conf
	way := newProxy(t, addr)
	far.Broker, far.Node = scheme+addr, "far"+suffix
	near.Broker, near.Node = scheme+way.addr, "near"+suffix
	far.TLS, near.TLS = creds(far.Node), creds(near.Node)
	receiver, _ := startLink(t, far, recv)
	sender, _ := startLink(t, near, ignore)
	return linktest.Pair{
		Sender: sender, Addr: far.Node,
		Break: way.cut,
		Heal:  func() { way.heal(t) },
		Inject: func(b []byte) {
			c := client(t, far.Broker, creds("stranger"))
			done(t, c.Publish(framesTopic(far.Node, party{"stranger", "1"}), 0, false, b))
			c.Disconnect(250)
		},
		Malformed: func() uint64 { return receiver.Stats().Malformed },
		InFlight:  func() int { return sender.Stats().InFlight },
	}
}
