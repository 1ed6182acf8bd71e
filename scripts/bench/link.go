package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Many short turns: what else the machine does changes slowly.
	linkTurn  = 250 * time.Millisecond
	linkTurns = 4 // for one of the others
	drainFor  = 10 * time.Second
	// plenty is a deadline that no frame misses on loopback.
	plenty = time.Minute
)

// benchLink compares links between two nodes in this process, over loopback:
// how many frames they carry, and how late the frames are at half of that.
func benchLink(ctx context.Context, h *harness) (_ []Ratio, err error) {
	var lines []*line
	closeAll := sync.OnceValue(func() error {
		var errs []error
		for _, l := range lines {
			errs = append(errs, l.close())
		}
		return errors.Join(errs...)
	})
	defer func() { err = errors.Join(err, closeAll()) }()
	const cameras = 4
	for _, c := range contenders(kernels) {
		l, err := newLine(ctx, c, h.pair, cameras)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		lines = append(lines, l)
	}
	// Only Weft and the raw copy heed ctx while they send.
	defer context.AfterFunc(ctx, func() { _ = closeAll() })()
	var out []Ratio
	sides := func(measure func(context.Context, *line) (float64, error)) []side {
		s := make([]side, len(lines))
		for i, l := range lines {
			s[i] = side{l.name, func(ctx context.Context) (float64, error) { return measure(ctx, l) }}
		}
		return s
	}
	add := func(name, unit, better string, v [][]float64) {
		for i, l := range lines[1:] {
			aim := 0.0
			if i == 0 {
				aim = 0.9 // against the raw copy alone
			}
			out = append(out, compare(name+", against "+l.name, l.name, unit, better, aim, v[0], v[i+1]))
		}
	}
	slowest := 0.0
	for _, n := range []int{1, cameras} {
		name := fmt.Sprintf("QUIC link, frames of %d kB, senders: %d", frameSize/1000, n)
		cpu := map[*line][]float64{}
		v, err := h.interleave(ctx, fmt.Sprintf("frames/s, senders: %d", n), h.runs*linkTurns, sides(func(ctx context.Context, l *line) (float64, error) {
			began := cpuTime()
			rate, frames, err := l.flood(ctx, n)
			cpu[l] = append(cpu[l], float64((cpuTime()-began).Microseconds())/float64(frames))
			return rate, err
		})...)
		if err != nil {
			return out, err
		}
		add(name, "frames/s", more, v)
		used := make([][]float64, len(lines))
		for i, l := range lines {
			used[i] = cpu[l]
		}
		add(name+", CPU time of both ends a frame", "µs", less, used)
		slowest = min(median(v[0]), median(v[1]))
	}
	v, err := h.interleave(ctx, fmt.Sprintf("p99 in ms at %.0f frames/s", slowest/2), h.runs*linkTurns, sides(func(ctx context.Context, l *line) (float64, error) { return l.paced(ctx, cameras, slowest/2) })...)
	if err != nil {
		return out, err
	}
	add(fmt.Sprintf("QUIC link, p99 latency at half load (%.0f frames/s)", slowest/2), "ms", less, v)
	return out, nil
}

// line is one contender, connected.
type line struct {
	contender
	in  *listening
	out *dialled

	seq      atomic.Uint64
	received atomic.Int64
	since    atomic.Uint64 // frames of this turn have higher numbers
	mu       sync.Mutex
	delays   []time.Duration // of the frames of this turn; nil: not wanted
}

func newLine(ctx context.Context, c contender, p pair, cameras int) (*line, error) {
	l := &line{contender: c}
	var err error
	if l.in, err = c.listen("127.0.0.1:0", p.to, l.got); err != nil {
		return nil, err
	}
	if l.out, err = c.dial(ctx, l.in.addr, p.from, cameras); err != nil {
		return nil, errors.Join(err, l.in.close())
	}
	return l, nil
}

func (l *line) close() error { return errors.Join(l.out.close(), l.in.close()) }

// got is called by the receiver of each whole frame.
func (l *line) got(data []byte) {
	seq, captured, _ := stamp(data)
	if seq <= l.since.Load() {
		return
	}
	l.mu.Lock()
	if l.delays != nil {
		l.delays = append(l.delays, clock()-captured)
	}
	l.mu.Unlock()
	l.received.Add(1)
}

func (l *line) begin(delays []time.Duration) {
	l.since.Store(l.seq.Load())
	l.received.Store(0)
	l.mu.Lock()
	l.delays = delays
	l.mu.Unlock()
}

// flood has so many senders send as fast as they can, and returns the frames
// a second that arrived, and how many they were.
func (l *line) flood(ctx context.Context, senders int) (rate float64, frames int64, err error) {
	l.begin(nil)
	start := time.Now()
	var (
		wg   sync.WaitGroup
		sent atomic.Int64
		errs = make([]error, senders)
	)
	for s := range senders {
		wg.Go(func() {
			for time.Since(start) < linkTurn && ctx.Err() == nil {
				if errs[s] = l.out.send(ctx, s, newFrame(l.seq.Add(1), clock(), plenty, frameSize)); errs[s] != nil {
					return
				}
				sent.Add(1)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return 0, 1, err
	}
	err = eventually(ctx, "the last frames", drainFor, func() bool { return l.received.Load() == sent.Load() })
	return float64(sent.Load()) / time.Since(start).Seconds(), sent.Load(), err
}

// paced has cameras send at a rate together, and returns the 99th percentile
// of the milliseconds from when a frame was due to be sent until it had
// arrived: a sender that is held up is late with the next frame too.
func (l *line) paced(ctx context.Context, cameras int, rate float64) (float64, error) {
	l.begin(make([]time.Duration, 0, int(3*rate*linkTurn.Seconds())))
	period := time.Duration(float64(cameras) / rate * float64(time.Second))
	n := int(2 * linkTurn.Seconds() * rate / float64(cameras))
	start := clock()
	var wg sync.WaitGroup
	errs := make([]error, cameras)
	for c := range cameras {
		wg.Go(func() {
			first := start + period*time.Duration(c)/time.Duration(cameras)
			for i := range n {
				due := first + time.Duration(i)*period
				if errs[c] = pause(ctx, due-clock()); errs[c] != nil {
					return
				}
				if errs[c] = l.out.send(ctx, c, newFrame(l.seq.Add(1), due, plenty, frameSize)); errs[c] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return 0, err
	}
	if err := eventually(ctx, "the last frames", drainFor, func() bool { return l.received.Load() == int64(n*cameras) }); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.Sort(l.delays)
	return float64(l.delays[len(l.delays)*99/100].Microseconds()) / 1000, nil
}
