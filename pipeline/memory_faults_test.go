package pipeline

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

func memoryPair(t *testing.T, change func(*MemoryConfig), recv Receiver) (n *MemoryNetwork, a, b *MemoryLink) {
	t.Helper()
	cfg := MemoryConfig{Limits: DefaultLimits(), Grace: time.Second, InFlight: 3, Inbox: 1, Log: quiet()}
	if change != nil {
		change(&cfg)
	}
	n, err := NewMemoryNetwork(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if a, err = n.Join("a", recv); err != nil {
		t.Fatal(err)
	}
	if b, err = n.Join("b", recv); err != nil {
		t.Fatal(err)
	}
	return n, a, b
}

// A peer that does not read: Send waits, and ends with the deadline or the
// context.
func TestMemorySendWaits(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(cancel func())
		want error
	}{
		"deadline": {func(func()) { pass(time.Second) }, ErrLate},
		"context":  {func(cancel func()) { cancel() }, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				_, a, _ := memoryPair(t, nil, NewSwitchboard()) // b is not running
				defer start(t, a.Run)()
				var c0, c1 fates
				if err := a.Send(t.Context(), "b", "x", c0.frame(1, time.Hour)); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				got := make(chan error, 1)
				go func() { got <- a.Send(ctx, "b", "x", c1.frame(2, 500*time.Millisecond)) }()
				synctest.Wait()
				c.end(cancel)
				if err := <-got; !errors.Is(err, c.want) {
					t.Errorf("send: %v, want %v", err, c.want)
				}
				if c1.total() != 0 {
					t.Errorf("settled although Send failed: %v", c1.all)
				}
			})
		})
	}
}

// The connection breaks, or the link ends, while Send waits: either Send says
// so or the frame is settled, not both.
func TestMemoryBreakWhileSending(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(n *MemoryNetwork, stopA func())
		want error
	}{
		"break": {func(n *MemoryNetwork, _ func()) { n.Break("a", "b") }, ErrUnreachable},
		"end":   {func(_ *MemoryNetwork, stopA func()) { stopA() }, ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n, a, _ := memoryPair(t, nil, NewSwitchboard())
				stopA := start(t, a.Run)
				defer stopA()
				var before, during, after fates
				if err := a.Send(t.Context(), "b", "x", before.frame(1, time.Hour)); err != nil {
					t.Fatal(err)
				}
				got := make(chan error, 1)
				go func() { got <- a.Send(t.Context(), "b", "x", during.frame(2, time.Hour)) }()
				synctest.Wait()
				c.end(n, stopA)
				before.want(t, map[Reason]int{ReasonLink: 1})
				if err := <-got; err == nil {
					during.want(t, map[Reason]int{ReasonLink: 1})
				} else {
					during.want(t, nil)
					if !errors.Is(err, c.want) && !errors.Is(err, ErrUnreachable) {
						t.Errorf("send: %v, want %v", err, c.want)
					}
				}
				if err := a.Send(t.Context(), "b", "x", after.frame(3, 0)); !errors.Is(err, c.want) {
					t.Errorf("send afterwards: %v, want %v", err, c.want)
				}
				after.want(t, nil)
			})
		})
	}
}

func TestMemoryRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n, a, b := memoryPair(t, func(c *MemoryConfig) { c.Inbox = 9 }, ReceiverFunc(func(string, *Frame) {}))
		if _, err := n.Join("a", NewSwitchboard()); err == nil {
			t.Error("an address was given twice")
		}
		stopA, stopB := start(t, a.Run), start(t, b.Run)
		var c fates
		for seq := range uint64(3) {
			if err := a.Send(t.Context(), "b", "x", c.frame(seq, 0)); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Send(t.Context(), "b", "x", c.frame(4, 0)); !errors.Is(err, ErrFull) {
			t.Errorf("send with 3 in flight: %v, want ErrFull", err)
		}
		if err := a.Send(t.Context(), "c", "x", c.frame(5, 0)); !errors.Is(err, ErrUnreachable) {
			t.Errorf("send to nobody: %v, want ErrUnreachable", err)
		}
		stopB() // takes its connections with it
		c.want(t, map[Reason]int{ReasonLink: 3})
		if err := a.Send(t.Context(), "b", "x", c.frame(6, 0)); !errors.Is(err, ErrUnreachable) {
			t.Errorf("send to a link that left: %v, want ErrUnreachable", err)
		}
		if _, err := n.Join("b", NewSwitchboard()); err != nil {
			t.Errorf("join again: %v", err)
		}
		stopA()
		if err := a.Send(t.Context(), "b", "x", c.frame(7, 0)); !errors.Is(err, ErrClosed) {
			t.Errorf("send by a link that left: %v, want ErrClosed", err)
		}
		n.Break("x", "y") // between two that never met
		n.Break("x", "y")
		n.Heal("x", "y")
	})
}

func TestNewMemoryNetworkRefuses(t *testing.T) {
	ok := MemoryConfig{Limits: DefaultLimits(), Grace: time.Second, InFlight: 1, Inbox: 1, Rand: rand.New(rand.NewPCG(1, 1)), Log: quiet()}
	for i, change := range []func(*MemoryConfig){
		func(c *MemoryConfig) { c.Limits.Image = 0 },
		func(c *MemoryConfig) { c.Grace = 0 },
		func(c *MemoryConfig) { c.InFlight = 0 },
		func(c *MemoryConfig) { c.Inbox = 0 },
		func(c *MemoryConfig) { c.Delay = -1 },
		func(c *MemoryConfig) { c.Jitter = -1 },
		func(c *MemoryConfig) { c.Cut = 1.1 },
		func(c *MemoryConfig) { c.Rand, c.Cut = nil, 0.1 },
	} {
		cfg := ok
		change(&cfg)
		if _, err := NewMemoryNetwork(cfg); err == nil {
			t.Errorf("case %d: no error", i)
		}
	}
}
