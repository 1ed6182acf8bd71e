package broker

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/mochi-mqtt/server/v2/packets"
)

// How passwords may be tried.
const (
	// Of one network so many may fail in a row, and one more each failEvery.
	maxFailed   = 10
	failEvery   = 5 * time.Second
	maxNetworks = 4096 // whose failures are remembered
	// loginPatience is how long one waits for others to be checked.
	loginPatience = 5 * time.Second
)

// logins bounds what the checking of passwords costs, which is slow on purpose:
// how many are checked at once, on at most half of the cores, and how many a
// network has wrong. Those that are right cost it nothing: many cameras may be
// behind one address, and come back together.
type logins struct {
	places chan struct{}

	mu     sync.Mutex
	failed *simplelru.LRU[string, tally]
}

// tally is a bucket that leaks: level, as it was at a time.
type tally struct {
	level float64
	at    time.Time
}

func newLogins() *logins {
	c, err := simplelru.NewLRU[string, tally](maxNetworks, nil)
	if err != nil {
		panic(err) // of a size that is not positive
	}
	return &logins{places: make(chan struct{}, max(runtime.GOMAXPROCS(0)/2, 1)), failed: c}
}

// begin takes an attempt of a network's, if there is one left.
func (l *logins) begin(network string, now time.Time) bool { return l.change(network, now, 1) }

// succeeded gives it back.
func (l *logins) succeeded(network string, now time.Time) { l.change(network, now, -1) }

func (l *logins) change(network string, now time.Time, by float64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, _ := l.failed.Get(network)
	t.level = max(t.level-now.Sub(t.at).Seconds()/failEvery.Seconds(), 0)
	t.at = now
	if t.level+by > maxFailed {
		return false
	}
	t.level = max(t.level+by, 0)
	l.failed.Add(network, t)
	return true
}

// check calls login when it is its turn; false: that took too long.
func (l *logins) check(ctx context.Context, login func() bool) (ok, checked bool) {
	timer := time.NewTimer(loginPatience)
	defer timer.Stop()
	select {
	case l.places <- struct{}{}:
	case <-timer.C:
		return false, false
	case <-ctx.Done():
		return false, false
	}
	defer func() { <-l.places }()
	return login(), true
}

// login finds out who a guest is. Whether it was the name or the password that
// is wrong it does not say, neither in words nor by the time that it takes.
func (g *gate) login(c *guest, said packets.ConnectParams) packets.Code {
	remote, network := c.RemoteAddr().String(), c.network()
	if !said.UsernameFlag || !said.PasswordFlag {
		g.log.warn(time.Now(), "a client with neither a certificate nor a name and a password, turned away", "remote", remote)
		return packets.ErrBadUsernameOrPassword
	}
	if !g.logins.begin(network, time.Now()) {
		g.log.warn(time.Now(), "too many wrong passwords from one network, further ones are not looked at for a while", "network", network, "limit", maxFailed)
		return packets.ErrServerUnavailable
	}
	name := string(said.Username)
	ok, checked := g.logins.check(c.ctx, func() bool { return g.users.Login(name, said.Password) })
	switch {
	case !checked:
		g.logins.succeeded(network, time.Now())
		g.log.warn(time.Now(), "too many clients log in at once, one turned away", "remote", remote)
		return packets.ErrServerUnavailable
	case !ok:
		// The name may be a password that somebody gave in its place.
		g.log.warn(time.Now(), "wrong name or password, a client turned away", "remote", remote)
		return packets.ErrBadUsernameOrPassword
	}
	g.logins.succeeded(network, time.Now())
	if c.user = name; !c.admit(c.owner()) {
		return packets.ErrServerUnavailable
	}
	return packets.CodeSuccess
}
