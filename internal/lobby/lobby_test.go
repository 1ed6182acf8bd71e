package lobby

import (
	"fmt"
	"slices"
	"sync"
	"testing"
)

type conn struct {
	name  string
	leave func()
	gone  *[]string
}

func (c *conn) Close() error {
	*c.gone = append(*c.gone, c.name)
	c.leave()
	return nil
}

func TestLobby(t *testing.T) {
	l := New(5, 3)
	var gone []string
	enter := func(name, ip string) *conn {
		c := &conn{name: name, gone: &gone}
		before := len(gone)
		var full bool
		c.leave, full = l.Enter(c, ip+":1")
		if full != (len(gone) > before) {
			t.Errorf("%s: full %v, gone %v", name, full, gone)
		}
		return c
	}
	expect := func(when string, want ...string) {
		t.Helper()
		if !slices.Equal(gone, want) {
			t.Errorf("%s: closed %v, want %v", when, gone, want)
		}
	}
	enter("a1", "192.0.2.1")
	enter("b1", "192.0.2.2")
	known := enter("b2", "192.0.2.2")
	enter("b3", "192.0.2.2")
	expect("there is room")
	enter("b4", "192.0.2.2")
	expect("b has too many", "b1")
	known.leave()
	known.leave()
	enter("b5", "192.0.2.2")
	expect("one of b's is known", "b1")
	enter("c1", "192.0.2.3")
	expect("there is room", "b1")
	enter("c2", "192.0.2.3")
	expect("all are too many", "b1", "a1")
	enter("b6", "192.0.2.2")
	expect("b has too many, and all are", "b1", "a1", "b3")
	if len(l.waiting) != 5 {
		t.Errorf("%d wait", len(l.waiting))
	}
}

type nothing struct{}

func (nothing) Close() error { return nil }

func TestLobbyConcurrently(t *testing.T) {
	l := New(10, 4)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 200 {
				leave, _ := l.Enter(nothing{}, fmt.Sprintf("192.0.2.%d:1", i%3))
				leave()
			}
		})
	}
	wg.Wait()
	if len(l.waiting) != 0 {
		t.Errorf("%d wait", len(l.waiting))
	}
}

func TestNetworks(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7:80": "192.0.2.7", "[::ffff:192.0.2.7]:80": "192.0.2.7", "pipe": "pipe",
		"[2001:db8:1:2:3::4]:5": "2001:db8:1:2::/64", "[fe80::1%eth0]:5": "fe80::/64",
	} {
		if got := Network(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
