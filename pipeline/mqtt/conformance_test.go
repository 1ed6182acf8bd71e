package mqtt

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/pipeline/linktest"
	"github.com/weft-mesh/weft/pipeline/mqtt/broker"
)

func TestConformanceEmbedded(t *testing.T) {
	linktest.Run(t, func(t *testing.T, recv pipeline.Receiver, opts linktest.Options) linktest.Pair {
		b, _ := startBroker(t, broker.Config{Pending: 256})
		return pair(t, b.Addr(), "", recv, opts)
	})
}

func TestConformanceMosquitto(t *testing.T) {
	addr := startMosquitto(t)
	var n atomic.Int64
	linktest.Run(t, func(t *testing.T, recv pipeline.Receiver, opts linktest.Options) linktest.Pair {
		return pair(t, addr, fmt.Sprint("-", n.Add(1)), recv, opts)
	})
}

// pair starts two links at the broker; the sender's way to it can be cut.
func pair(t *testing.T, addr, suffix string, recv pipeline.Receiver, opts linktest.Options) linktest.Pair {
	t.Helper()
	conf := Config{MaxFrame: opts.Limits.Image, Grace: opts.Grace, Queue: 256, Log: opts.Log}
	far, near := conf, conf
	way := newProxy(t, addr)
	far.Broker, far.Node = "tcp://"+addr, "far"+suffix
	near.Broker, near.Node = "tcp://"+way.addr, "near"+suffix
	receiver, _ := startLink(t, far, recv)
	sender, _ := startLink(t, near, ignore)
	return linktest.Pair{
		Sender: sender, Addr: far.Node,
		Break: way.cut,
		Heal:  func() { way.heal(t) },
		Inject: func(b []byte) {
			c := client(t, far.Broker, nil)
			done(t, c.Publish(framesTopic(far.Node, party{"stranger", "1"}), 0, false, b))
			c.Disconnect(250)
		},
		Malformed: func() uint64 { return receiver.Stats().Malformed },
		InFlight:  func() int { return sender.Stats().InFlight },
	}
}
