package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// priority raises the threads of this process above the others of the machine.
//
// All of them, not the pump's alone: the Go runtime takes the processor from a
// goroutine now and then, and another thread, which may have to queue for a
// core, gives it back. A pump that leaves a system call also spins while the
// runtime's monitor looks at it; at real-time priority it could keep the
// monitor's thread from its core meanwhile. With the pump's thread alone
// raised, on a busy machine, packets were up to 135 ms late, and 1.2 s once;
// with all of them, 9 ms.
//
// What the process starts is not raised, neither processes nor threads
// (SCHED_FLAG_RESET_ON_FORK); keep raises new threads.
type priority struct {
	attr   unix.SchedAttr
	before map[int]*unix.SchedAttr // of the threads that were raised
}

// rescan is how often threads that the runtime has made since are raised.
const rescan = time.Second

// raise raises all threads until restore is called, as far as it may, and logs
// how far.
func raise(ctx context.Context, log *slog.Logger) (restore func() error) {
	p := &priority{before: map[int]*unix.SchedAttr{}}
	errFIFO := p.try(unix.SchedAttr{Policy: unix.SCHED_FIFO, Priority: 1})
	if errFIFO == nil {
		log.Debug("relay runs at real-time priority (SCHED_FIFO 1)")
	} else if err := p.try(unix.SchedAttr{Policy: unix.SCHED_NORMAL, Nice: -20}); err == nil {
		log.Debug("relay runs at nice -20", "SCHED_FIFO", errFIFO)
	} else {
		log.Debug("relay runs at ordinary priority", "SCHED_FIFO", errFIFO, "nice", err)
		return p.restore
	}
	ctx, stop := context.WithCancel(ctx)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		p.keep(ctx)
	}()
	return func() error {
		stop()
		<-kept
		return p.restore()
	}
}

// try raises all threads to attr.
func (p *priority) try(attr unix.SchedAttr) error {
	attr.Size, attr.Flags = unix.SizeofSchedAttr, unix.SCHED_FLAG_RESET_ON_FORK
	p.attr = attr
	return threads(func(id int) error {
		was, err := unix.SchedGetAttr(id, 0)
		if err != nil {
			return err
		}
		if was.Policy == attr.Policy && was.Nice == attr.Nice && was.Priority == attr.Priority {
			return nil
		}
		if err := unix.SchedSetAttr(id, &attr, 0); err != nil {
			return err
		}
		if p.before[id] == nil {
			p.before[id] = was
		}
		return nil
	})
}

// keep raises new threads, until ctx ends.
func (p *priority) keep(ctx context.Context) {
	tick := time.NewTicker(rescan)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = p.try(p.attr) // as it could at first
		}
	}
}

// restore gives the threads the priority that they had.
func (p *priority) restore() error {
	return threads(func(id int) error {
		was := p.before[id]
		if was == nil {
			return nil
		}
		was.Size = unix.SizeofSchedAttr
		return unix.SchedSetAttr(id, was, 0)
	})
}

// threads calls do for each thread of this process.
func threads(do func(id int) error) error {
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("list threads: %w", err)
	}
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			return fmt.Errorf("list threads: %w", err)
		}
		if err := do(id); err != nil && !errors.Is(err, unix.ESRCH) { // it has ended meanwhile
			return err
		}
	}
	return nil
}
