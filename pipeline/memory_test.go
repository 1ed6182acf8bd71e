package pipeline_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/pipeline/linktest"
)

func memoryFactory(delay, jitter time.Duration) linktest.Factory {
	return func(t *testing.T, recv pipeline.Receiver, opts linktest.Options) linktest.Pair {
		net, err := pipeline.NewMemoryNetwork(pipeline.MemoryConfig{
			Limits: opts.Limits, Grace: opts.Grace, InFlight: 1000, Inbox: 64,
			Delay: delay, Jitter: jitter, Rand: rand.New(rand.NewPCG(1, 2)), Log: opts.Log,
		})
		if err != nil {
			t.Fatal(err)
		}
		a := joinMemory(t, net, "a", pipeline.ReceiverFunc(func(string, *pipeline.Frame) { t.Error("frame at the sender") }))
		b := joinMemory(t, net, "b", recv)
		return linktest.Pair{
			Sender: a, Addr: "b",
			Break: func() { net.Break("a", "b") }, Heal: func() { net.Heal("b", "a") },
			Inject: b.Inject, Malformed: b.Malformed, InFlight: a.InFlight,
		}
	}
}

// joinMemory joins a link and runs it until the test ends.
func joinMemory(t *testing.T, net *pipeline.MemoryNetwork, addr string, recv pipeline.Receiver) *pipeline.MemoryLink {
	t.Helper()
	l, err := net.Join(addr, recv)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run link %s: %v", addr, err)
		}
	})
	return l
}

func TestMemoryLink(t *testing.T) { linktest.Run(t, memoryFactory(0, 0)) }
func TestMemoryLinkDelayed(t *testing.T) {
	linktest.Run(t, memoryFactory(5*time.Millisecond, 5*time.Millisecond))
}
