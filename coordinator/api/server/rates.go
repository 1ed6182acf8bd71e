package server

import (
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"github.com/weft-mesh/weft/internal/lobby"
)

const (
	// An agent reports once a second and asks for its assignments when they have
	// changed; an operator's commands ask a few times a second.
	callerRate, callerBurst = 100, 500
	// Each write is two lines of the audit log, also one that comes to nothing.
	writeRate, writeBurst = 5, 100
	// Strangers have shown neither a certificate nor a valid token.
	strangerRate, strangerBurst = 10, 50
	maxRates                    = 4096 // of each of the three
)

// rates bounds how often each may ask. Callers go by their names, so that many
// behind one address do not take from each other; strangers go by address, in
// a table of their own, so that they cannot push callers out.
type rates struct {
	callers, strangers, writers buckets
}

func newRates() *rates {
	return &rates{callers: newBuckets(callerRate, callerBurst), strangers: newBuckets(strangerRate, strangerBurst), writers: newBuckets(writeRate, writeBurst)}
}

// caller is how long a caller has to wait; 0: it may go on.
func (r *rates) caller(name string, now time.Time) time.Duration { return r.callers.take(name, now) }

// writer is the same for writes, which count as requests too.
func (r *rates) writer(name string, now time.Time) time.Duration { return r.writers.take(name, now) }

// stranger is the same for one that is known by its address only.
func (r *rates) stranger(addr string, now time.Time) time.Duration {
	return r.strangers.take(addr, now)
}

// buckets is a token bucket for each name. Of too many, the one that was used
// the longest ago is forgotten; it was full in all likelihood.
type buckets struct {
	rate  rate.Limit
	burst int
	mu    *sync.Mutex
	each  *simplelru.LRU[string, *rate.Limiter]
}

func newBuckets(each rate.Limit, burst int) buckets {
	c, err := simplelru.NewLRU[string, *rate.Limiter](maxRates, nil)
	if err != nil {
		panic(err) // of a size that is not positive
	}
	return buckets{each, burst, new(sync.Mutex), c}
}

func (b *buckets) take(name string, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, ok := b.each.Get(name)
	if !ok {
		l = rate.NewLimiter(b.rate, b.burst)
		b.each.Add(name, l)
	}
	reserved := l.ReserveN(now, 1)
	wait := reserved.DelayFrom(now)
	if wait > 0 {
		reserved.CancelAt(now)
	}
	return wait
}

// addressOf is where a request comes from.
func addressOf(r *http.Request) string { return lobby.Network(r.RemoteAddr) }
