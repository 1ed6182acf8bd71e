package coordinator

import (
	"testing"
	"time"
)

func TestGateWaitsForThoseInside(t *testing.T) {
	g := newGate(nil)
	for range 2 {
		if !g.enter() {
			t.Fatal("an open gate lets nobody in")
		}
	}
	g.leave()
	shut := make(chan struct{})
	go func() { g.close(); close(shut) }()
	wait(t, "the gate to shut", func() bool {
		if !g.enter() {
			return true
		}
		g.leave()
		return false
	})
	select {
	case <-shut:
		t.Fatal("closed with someone inside")
	case <-time.After(20 * time.Millisecond):
	}
	g.leave()
	<-shut
	g.close() // again
}
