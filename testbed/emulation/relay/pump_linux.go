package relay

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// ErrDevice reports a device that went away while the relay ran, as when its
// namespace is deleted.
var ErrDevice = errors.New("device of a node is gone")

const (
	// readBurst is how many packets are read from one device before others
	// get their turn, and writeBurst how many are delivered before devices are
	// read again: some tens of microseconds.
	readBurst  = 32
	writeBurst = 64
)

// Run carries packets until ctx ends, or a device is gone. What is on its way
// then stays there.
func (r *Relay) Run(ctx context.Context) (err error) {
	if err := r.begin(); err != nil {
		return err
	}
	defer r.end()
	if !r.cfg.Ordinary {
		restore := raise(ctx, r.cfg.Log)
		defer func() { err = errors.Join(err, restore()) }()
	}
	called := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(called)
		r.poller.wake()
	})
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and its timer slack with it
		// By default the kernel lets the timers of ordinary threads be 50 µs
		// late, to save wake-ups.
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
		done <- r.pump(ctx)
	}()
	err = <-done
	if !stop() {
		<-called // or it would wake a poller that Close has closed
	}
	return err
}

func (r *Relay) begin() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return ErrClosed
	case r.running:
		return ErrRunning
	}
	r.running = true
	return nil
}

func (r *Relay) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running = false
}

// pump carries packets. It sleeps whenever there is nothing to do, and now and
// then where there always is, since at real-time priority nothing else would
// run on its core.
func (r *Relay) pump(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ctx.Err() == nil {
		more, err := r.receive()
		if err != nil {
			return err
		}
		due, ok := r.deliver()
		if now := r.now(); more || ok && due <= r.pace.horizon(now) {
			r.mu.Unlock() // Set and Counters may have their turn
			if r.pace.tired(now) {
				await(-1, grain)
				r.pace.woke(r.now())
			}
			r.mu.Lock()
			continue
		}
		r.mu.Unlock()
		err = r.sleep(due, ok)
		r.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

// sleep waits until a packet is due, if timed, or something else is to be done.
func (r *Relay) sleep(due time.Duration, timed bool) error {
	now := r.now()
	if rest := r.pace.rest(now); rest > 0 {
		await(-1, rest)
		r.pace.woke(r.now())
		return nil
	}
	wait := forever
	if timed {
		wait = r.pace.wait(now, due)
		if wait <= 0 {
			return nil
		}
	}
	err := r.poller.sleep(wait)
	woke := r.now()
	r.pace.woke(woke)
	if timed && woke >= now+wait {
		r.pace.measure(woke - now - wait)
	} else {
		r.pace.called(woke)
	}
	return err
}

// receive reads from the devices that have packets, and reports whether it has
// left some.
func (r *Relay) receive() (more bool, err error) {
	ready, err := r.poller.ready()
	if err != nil {
		return false, err
	}
	for _, e := range ready {
		if e.Fd == woken {
			r.poller.awake()
			continue
		}
		left, err := r.read(r.ports[e.Fd])
		if err != nil {
			return false, err
		}
		more = more || left
	}
	return more, nil
}

// read offers a burst of a device's packets to their links.
func (r *Relay) read(p *port) (more bool, err error) {
	now := r.pace.arrival(r.now())
	for range readBurst {
		x := r.pool.get()
		if x == nil {
			x = &r.scratch
		}
		n, err := read(p.tun.fd, x.bytes[:])
		if err != nil {
			r.free(x)
			if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
				return false, nil
			}
			return false, fmt.Errorf("%w: read from device %s of node %s: %w", ErrDevice, p.tun.name, p.node, err)
		}
		if !r.route(p, now, n, x) {
			r.free(x)
		}
	}
	return true, nil
}

// route offers a packet to its link, and reports whether that has kept it.
func (r *Relay) route(p *port, now time.Duration, n int, x *packet) bool {
	to, kind := parse(x.bytes[:n])
	switch kind {
	case notIPv4:
		r.refused.NotIPv4++
		return false
	case malformed:
		r.refused.Malformed++
		return false
	case multicast:
		r.refused.Multicast++
		return false
	}
	l := p.to[to]
	if l == nil {
		r.refused.Unknown++
		return false
	}
	if x == &r.scratch {
		l.counters.DroppedMemory++
		return false
	}
	if !l.offer(now, n, x) {
		return false
	}
	if l.place < 0 {
		r.schedule.update(l)
	}
	return true
}

func (r *Relay) free(x *packet) {
	if x != &r.scratch {
		r.pool.put(x)
	}
}

// deliver writes a burst of the packets that are due, and returns when the
// next one is; false: none is.
func (r *Relay) deliver() (time.Duration, bool) {
	horizon := r.pace.horizon(r.now())
	for range writeBurst {
		l, due, ok := r.schedule.next()
		if !ok {
			return 0, false
		}
		if due > horizon {
			if horizon = r.pace.horizon(r.now()); due > horizon {
				return due, true
			}
		}
		t := l.next()
		r.schedule.update(l)
		if err := write(l.to, t.packet.bytes[:t.size]); err != nil {
			l.counters.DroppedDevice++
		} else {
			l.counters.Packets++
			l.counters.Bytes += uint64(t.size)
			if horizon > due+LateAfter+r.pace.late {
				l.counters.Late++
			}
		}
		r.pool.put(t.packet)
	}
	_, due, ok := r.schedule.next()
	return due, ok
}
