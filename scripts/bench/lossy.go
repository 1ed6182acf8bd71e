package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/emulation/ns"
	"github.com/weft-mesh/weft/testbed/emulation/relay"
)

const (
	lossyTurn = 4 * time.Second
	// lossyRest lets what is late arrive, and be counted as late.
	lossyRest    = 500 * time.Millisecond
	lossyAllowed = 200 * time.Millisecond
)

// badLink is the link, the same in both directions.
var badLink = testbed.Link{Delay: 20 * time.Millisecond, Loss: 0.01}

// loads are what a camera sends over it. A Reno connection carries some
// 430 kB/s at this loss and round trip (Mathis et al., 1997): the second is
// below that, the first far above. Of the second nearly all frames arrive on
// time whoever carries them, and one of a turn's 40 is 2.5 %: the aim leaves room
// for it.
var loads = []load{
	{Size: frameSize, FPS: 30, aim: 1},
	{Size: 20_000, FPS: 10, aim: 0.97},
}

// bbrContender is TCP with the algorithm that is made for such links, and that
// quic-go does not have: what would be possible.
const bbrContender = "TCP+TLS with BBR"

// lossyContenders are the contenders, and BBR where the kernel has it.
func lossyContenders() []contender {
	all := contenders(record)
	has, err := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
	if err == nil && slices.Contains(strings.Fields(string(has)), bbr) {
		all = append(all, tlsContender(bbrContender, tcp{bbr, record}))
	}
	return all
}

// load is one camera's.
type load struct {
	Size int     `json:"size"`
	FPS  float64 `json:"fps"`

	aim float64
}

func (l load) String() string { return fmt.Sprintf("%d kB × %.0f/s", l.Size/1000, l.FPS) }

// benchLossy counts the frames that arrive before their deadline, between
// processes in two network namespaces with the testbed's emulated link between
// them. Each turn has a connection of its own.
func benchLossy(ctx context.Context, h *harness) (_ []Ratio, err error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: network namespaces need root", errLeftOut)
	}
	bed, err := newBed(ctx, h)
	if errors.Is(err, relay.ErrNoTUN) {
		return nil, fmt.Errorf("%w: %w", errLeftOut, err)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bed.close()) }()
	var out []Ratio
	for _, load := range loads {
		all := lossyContenders()
		sides := make([]side, len(all))
		for i, c := range all {
			sides[i] = side{c.name, func(ctx context.Context) (float64, error) { return bed.turn(ctx, c.name, load) }}
		}
		v, err := h.interleave(ctx, fmt.Sprintf("%% of %s on time", load), h.runs, sides...)
		if err != nil {
			return out, err
		}
		for i, c := range all[1:] {
			aim := load.aim
			if c.name == bbrContender {
				aim = 0 // for information
			}
			out = append(out, compare(fmt.Sprintf("frames on time (200 ms) at 1 %% loss, 20 ms: %s, against %s", load, c.name),
				c.name, "% of frames", more, aim, v[0], v[i+1]))
		}
	}
	return out, nil
}

// bed is two namespaces, the relay between them, and a helper in each.
type bed struct {
	relay    *relay.Relay
	stop     context.CancelFunc
	ended    chan error
	spaces   []string
	sender   *helper
	receiver *helper
	turns    int
}

func newBed(ctx context.Context, h *harness) (_ *bed, err error) {
	b := &bed{ended: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.relay, err = relay.New(relay.Config{Seed: 1}); err != nil {
		return nil, err
	}
	keys := filepath.Join(h.dir, "lossy")
	if err := errors.Join(h.pair.from.Save(keys), h.pair.to.Save(keys)); err != nil {
		return nil, err
	}
	nodes := []*pki.Identity{h.pair.from, h.pair.to}
	for i, id := range nodes {
		name, space := id.Subject.Name, fmt.Sprintf("weft-bench-%d-%d", os.Getpid(), i)
		if err := ns.Create(space); err != nil {
			return nil, err
		}
		b.spaces = append(b.spaces, space)
		var tun *relay.TUN
		err := ns.Do(space, func() (err error) {
			if tun, err = relay.OpenTUN("weft0"); err != nil {
				return err
			}
			return relay.Configure("weft0", netip.PrefixFrom(bedAddr(i), 24))
		})
		if err != nil {
			return nil, err
		}
		if err := b.relay.Attach(name, bedAddr(i), tun); err != nil {
			return nil, err
		}
	}
	a, z := nodes[0].Subject.Name, nodes[1].Subject.Name
	if err := errors.Join(b.relay.Set(a, z, badLink, true), b.relay.Set(z, a, badLink, true)); err != nil {
		return nil, err
	}
	life, stop := context.WithCancel(context.Background())
	b.stop = stop
	go func() { b.ended <- b.relay.Run(life) }()
	if b.receiver, err = startHelper(ctx, "receiver", b.spaces[1], keys, z); err != nil {
		return nil, err
	}
	if b.sender, err = startHelper(ctx, "sender", b.spaces[0], keys, a); err != nil {
		return nil, err
	}
	// From now on the namespaces need no names: they go with the helpers and the
	// devices, also when this process is killed.
	return b, b.forget()
}

func bedAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 98, 0, byte(i + 1)}) }

// order is what sender and receiver are told for one turn.
type order struct {
	Contender string        `json:"contender"`
	Turn      int           `json:"turn"`
	Addr      string        `json:"addr,omitempty"` // the receiver's, for the sender
	Load      load          `json:"load"`
	For       time.Duration `json:"for"`
}

// counted is what the receiver has seen of a turn.
type counted struct {
	OnTime int    `json:"on_time"`
	Late   int    `json:"late"`
	Error  string `json:"error,omitempty"`
}

// sent is what the sender made of a turn.
type sent struct {
	Captured int    `json:"captured"`
	Error    string `json:"error,omitempty"`
}

// turn returns the percentage of the frames captured that arrived on time.
func (b *bed) turn(ctx context.Context, name string, load load) (float64, error) {
	b.turns++
	at := fmt.Sprintf("%s:%d", bedAddr(1), 7000+slices.IndexFunc(lossyContenders(), func(c contender) bool { return c.name == name }))
	o := order{Contender: name, Turn: b.turns, Addr: at, Load: load, For: lossyTurn}
	var c counted
	if err := b.receiver.ask(ctx, o, &c); err != nil || c.Error != "" { // resets what it counts
		return 0, cmp.Or(err, errors.New(c.Error))
	}
	var s sent
	if err := b.sender.ask(ctx, o, &s); err != nil || s.Error != "" {
		return 0, cmp.Or(err, errors.New(s.Error))
	}
	if err := pause(ctx, lossyRest); err != nil {
		return 0, err
	}
	if err := b.receiver.ask(ctx, order{}, &c); err != nil || c.Error != "" {
		return 0, cmp.Or(err, errors.New(c.Error))
	}
	return 100 * float64(c.OnTime) / float64(s.Captured), nil
}

// forget removes the namespaces' names.
func (b *bed) forget() error {
	var errs []error
	for _, s := range b.spaces {
		errs = append(errs, ns.Delete(s))
	}
	b.spaces = nil
	return errors.Join(errs...)
}

func (b *bed) close() error {
	var errs []error
	for _, h := range []*helper{b.sender, b.receiver} {
		if h != nil {
			errs = append(errs, h.end())
		}
	}
	if b.stop != nil {
		b.stop()
		errs = append(errs, <-b.ended)
	}
	if b.relay != nil {
		errs = append(errs, b.relay.Close())
	}
	return errors.Join(append(errs, b.forget())...)
}
