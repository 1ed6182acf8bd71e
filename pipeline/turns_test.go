package pipeline

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Who is nearer to the result goes first, and in their order those that are equally
// near; but every eighth turn is the longest wait's.
func TestTurnsGoByRank(t *testing.T) {
	turns := NewTurns(1)
	names := map[*Turn]int{}
	turn := func(name, rank int) *Turn {
		x := turns.For(rank)
		names[x] = name
		x.Want()
		x.Want() // once is enough
		return x
	}
	now := turn(-1, 0)
	var all []*Turn
	for name := range 4 { // 0 to 3 of rank 0
		all = append(all, turn(name, 0))
	}
	for name := range 8 { // 10 to 17 of rank 2
		all = append(all, turn(10+name, 2))
	}
	all = append(all, turn(20, 1))
	gone := turn(99, 2)
	gone.Leave()
	var order []int
	for {
		<-now.Mine()
		now.Give()
		i := slices.IndexFunc(all, func(x *Turn) bool { return len(x.mine) > 0 })
		if i < 0 {
			break
		}
		now = all[i]
		order = append(order, names[now])
	}
	if want := []int{10, 11, 12, 13, 14, 15, 16, 0, 17, 20, 1, 2, 3}; !slices.Equal(order, want) {
		t.Errorf("%v, want %v", order, want)
	}
	if turns.taken != 0 {
		t.Errorf("%d are taken when all is done", turns.taken)
	}
}

// Never more than allowed work at a time, none is forgotten, and who gives up takes
// nobody's turn away.
func TestTurnsUnderWay(t *testing.T) {
	const most = 3
	turns := NewTurns(most)
	var now, top, worked atomic.Int32
	var wg sync.WaitGroup
	for i := range 40 {
		rng := rand.New(rand.NewPCG(uint64(i), 1))
		wg.Go(func() {
			for range 50 {
				turn := turns.For(i % 3)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(3000))*time.Microsecond)
				turn.Want()
				select {
				case <-turn.Mine():
					n := now.Add(1)
					for old := top.Load(); n > old && !top.CompareAndSwap(old, n); old = top.Load() {
					}
					<-time.After(time.Duration(rng.IntN(100)) * time.Microsecond)
					now.Add(-1)
					worked.Add(1)
					turn.Give()
				case <-ctx.Done():
				}
				turn.Leave()
				turn.Want() // too late
				cancel()
			}
		})
	}
	wg.Wait()
	if top.Load() > most || worked.Load() == 0 {
		t.Errorf("%d at a time, %d in all", top.Load(), worked.Load())
	}
	if turns.taken != 0 || len(turns.waiting) != 0 {
		t.Errorf("%d are taken and %d wait when all is done", turns.taken, len(turns.waiting))
	}
}

// Without turns each works when it wants.
func TestNoTurns(t *testing.T) {
	var none *Turns
	for range 10 {
		x := none.For(0)
		x.Want()
		<-x.Mine()
		x.Want() // it has one
		x.Give()
		x.Want()
		x.Leave()
		x.Leave()
		if x.Want(); len(x.mine) > 0 {
			t.Error("who has left has a turn")
		}
	}
	if none.Most() != 0 || NewTurns(0).Most() != 1 {
		t.Error("no turns are as many as are wanted, and others one at least")
	}
}
