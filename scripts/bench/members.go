package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-metrics"
	"golang.org/x/sync/errgroup"
)

const (
	meshSize   = 200
	victims    = 3                 // of them, in processes of their own, to be killed
	meshWithin = 130 * time.Second // one mesh, from its first member to its last figure
	meshEnds   = 15 * time.Second  // and until its members are gone
	// settled is from a mesh's start until its members are done with introducing
	// themselves, which weftd's do again after some 20 s.
	settled  = 60 * time.Second
	countFor = 20 * time.Second
)

// errLimit reports a mesh that has not reached in time what was to be measured.
var errLimit = fmt.Errorf("limit of %s reached", meshWithin)

// benchMembers makes meshes of 200 nodes, one after the other: with the
// settings of weftd and with Serf's own for a LAN.
func benchMembers(ctx context.Context, h *harness) ([]Ratio, error) {
	traffic, err := newTraffic()
	if err != nil {
		return nil, err
	}
	// Two hundred nodes in one process: without room the collector would take
	// most of the machine (memberlist makes a compressor of 100 kB for a packet).
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	kinds := []membership{weftMembership(), serfMembership()}
	seen := make([]convergence, len(kinds))
	var errs []error
	for i, k := range kinds {
		// The other's turns are not to be missed for this one's.
		if err := mesh(ctx, h, k, traffic, &seen[i]); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", k.name, err))
		}
	}
	return memberRows(seen[0], seen[1]), errors.Join(errs...)
}

// convergence is how a mesh did, as far as it came.
type convergence struct{ joined, first, all, bytes figure }

// figure is what was measured, once or for each victim, in seconds or in bytes a
// second and node. Where the limit came before, it is the time waited until then.
type figure struct {
	turns []float64
	late  bool
}

// memberRows compares two meshes. What Weft did not reach in time is told as the
// limit and meets no aim; what one has no figure for is no row.
func memberRows(ours, serf convergence) []Ratio {
	var out []Ratio
	for _, row := range []struct {
		name, unit string
		aim        float64
		ours, serf figure
	}{
		{"all know all after a mass join", "s", 0, ours.joined, serf.joined},
		{"a killed one is known to the first", "s", 1, ours.first, serf.first},
		{"a killed one is known to all", "s", 1, ours.all, serf.all},
		{"traffic a member", "bytes/s", 0, ours.bytes, serf.bytes},
	} {
		if row.aim > 0 && ours.joined.late { // it did not even get to the killing
			row.ours = figure{slices.Repeat([]float64{meshWithin.Seconds()}, victims), true}
		}
		n := min(len(row.ours.turns), len(row.serf.turns))
		if n == 0 {
			continue
		}
		r := compare(fmt.Sprintf("%d members, %s", meshSize, row.name), "Serf's LAN settings", row.unit, less, row.aim,
			row.ours.turns[:n], row.serf.turns[:n])
		if row.ours.late {
			r.Note = "Weft reached the limit"
			if r.Met != nil {
				r.Met = new(false)
			}
		}
		if row.serf.late {
			r.Note = strings.TrimPrefix(r.Note+", Serf reached the limit", ", ")
		}
		out = append(out, r)
	}
	return out
}

func mesh(ctx context.Context, h *harness, k membership, traffic *traffic, c *convergence) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, meshWithin, errLimit)
	defer cancel()
	life, stop := context.WithCancel(context.Background())
	var running errgroup.Group
	defer func() {
		if errors.Is(err, errLimit) && len(c.joined.turns) == 0 {
			c.joined = figure{[]float64{meshWithin.Seconds()}, true}
		}
		stop()
		err = errors.Join(err, ended(&running))
	}()
	var members []member
	var dead []*helper
	var names []string // of the dead
	defer func() {
		for _, v := range dead {
			kill(v)
		}
	}()
	began := time.Now()
	join := ""
	for i := range meshSize - victims {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		m, err := k.start(fmt.Sprintf("node-%03d", i), join)
		if err != nil {
			return err
		}
		if join == "" {
			join = m.addr()
		}
		members = append(members, m)
		running.Go(func() error { return m.run(life) })
	}
	for i := range victims {
		name := fmt.Sprintf("victim-%d", i)
		v, err := startVictim(ctx, k.name, name, join)
		if err != nil {
			return err
		}
		dead, names = append(dead, v), append(names, name)
	}
	left := members
	err = eventually(ctx, "all members to know all", meshWithin, func() bool {
		for len(left) > 0 && ctx.Err() == nil && left[0].known() == meshSize {
			left = left[1:]
		}
		return len(left) == 0
	})
	if err != nil {
		return fmt.Errorf("%w; %d of %d do not know all, one of them knows %d", err, len(left), len(members), left[0].known())
	}
	joined := time.Since(began).Seconds()
	c.joined.turns = []float64{joined}
	h.say("%s: %d members know each other after %.1f s", k.name, meshSize, joined)

	killed := time.Now()
	for _, v := range dead {
		kill(v)
	}
	c.first, c.all, err = noticed(ctx, members, names, killed)
	h.say("%s: killed ones are known to the first after s: %.1f, to all after s: %.1f", k.name, c.first.turns, c.all.turns)
	if err != nil {
		return err
	}
	if err := pause(ctx, settled-time.Since(began)); err != nil {
		return err
	}
	before, at := traffic.bytes(), time.Now()
	if err := pause(ctx, countFor); err != nil {
		return err
	}
	each := (traffic.bytes() - before) / time.Since(at).Seconds() / float64(len(members))
	c.bytes.turns = []float64{each}
	h.say("%s: %.0f bytes/s a member", k.name, each)
	return nil
}

// ended waits for the members, but no longer than meshEnds.
func ended(running *errgroup.Group) error {
	done := make(chan error, 1)
	go func() { done <- running.Wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(meshEnds):
		return fmt.Errorf("not all members have stopped within %s", meshEnds)
	}
}

// noticed waits until all members know that those of the names have failed, and
// returns the seconds after which the first knew of each, and all.
func noticed(ctx context.Context, members []member, names []string, killed time.Time) (first, all figure, err error) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		times = map[string][]float64{} // by name, in order
	)
	for _, m := range members {
		wg.Go(func() {
			left := slices.Clone(names)
			for ctx.Err() == nil {
				failed := m.failed()
				left = slices.DeleteFunc(left, func(name string) bool {
					if !slices.Contains(failed, name) {
						return false
					}
					mu.Lock()
					defer mu.Unlock()
					times[name] = append(times[name], time.Since(killed).Seconds())
					return true
				})
				if len(left) == 0 {
					return
				}
				select {
				case <-m.changed():
				case <-ctx.Done():
				}
			}
		})
	}
	wg.Wait()
	waited, late := time.Since(killed).Seconds(), errors.Is(context.Cause(ctx), errLimit)
	for _, name := range names {
		t := times[name]
		first.add(t, 1, waited, late)
		all.add(t, len(members), waited, late)
		if len(t) < len(members) {
			err = errors.Join(err, fmt.Errorf("%d of %d members noticed that %s was killed: %w", len(t), len(members), name, context.Cause(ctx)))
		}
	}
	return first, all, err
}

// add adds the time of the n-th of the times, or the time waited if the limit
// came before it.
func (f *figure) add(times []float64, n int, waited float64, late bool) {
	switch {
	case len(times) >= n:
		f.turns = append(f.turns, times[n-1])
	case late:
		f.turns, f.late = append(f.turns, waited), true
	}
}

// traffic counts what memberlist gives to the network, which it tells
// go-metrics. There is one sink for the process.
type traffic struct {
	metrics.BlackholeSink
	sent atomic.Uint64
}

func newTraffic() (*traffic, error) {
	t := &traffic{}
	c := metrics.DefaultConfig("")
	c.EnableHostname, c.EnableRuntimeMetrics = false, false
	_, err := metrics.NewGlobal(c, t)
	return t, err
}

// IncrCounterWithLabels implements metrics.MetricSink.
func (t *traffic) IncrCounterWithLabels(key []string, v float32, _ []metrics.Label) {
	if len(key) == 3 && key[0] == "memberlist" && key[2] == "sent" && (key[1] == "udp" || key[1] == "tcp") {
		t.sent.Add(uint64(v))
	}
}

func (t *traffic) bytes() float64 { return float64(t.sent.Load()) }
