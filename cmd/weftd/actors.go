package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// actor is a part of weftd that runs until its context ends.
type actor struct {
	name string
	run  func(context.Context) error
}

// stopWithin is the one deadline for all actors to stop.
const stopWithin = 20 * time.Second

// runAll starts the actors in order and runs them until ctx ends or one of
// them does. Then it stops them in reverse order, each only when the one
// before has ended, so that nothing loses what it still needs; what has not
// stopped by the deadline is told to stop all at once.
func runAll(ctx context.Context, log *slog.Logger, actors []actor) error {
	type running struct {
		actor
		stop context.CancelFunc
		done chan struct{}
		err  error
	}
	first := make(chan struct{}, len(actors))
	all := make([]*running, len(actors))
	for i, a := range actors {
		life, stop := context.WithCancel(context.WithoutCancel(ctx))
		r := &running{actor: a, stop: stop, done: make(chan struct{})}
		all[i] = r
		go func() {
			defer close(r.done)
			if err := a.run(life); err != nil {
				r.err = fmt.Errorf("%s: %w", a.name, err)
			}
			first <- struct{}{}
		}()
	}
	select {
	case <-ctx.Done():
	case <-first:
	}
	deadline := time.NewTimer(stopWithin)
	defer deadline.Stop()
	var errs []error
	hurry := false
	for i := len(all) - 1; i >= 0; i-- {
		r := all[i]
		log.Debug("stopping", "part", r.name)
		r.stop()
		if !hurry {
			select {
			case <-r.done:
			case <-deadline.C:
				hurry = true
				log.Warn("a part takes too long to stop; stopping all", "part", r.name)
			}
		}
	}
	for i := len(all) - 1; i >= 0; i-- {
		if hurry {
			select {
			case <-all[i].done:
			case <-time.After(stopWithin / 10):
				errs = append(errs, fmt.Errorf("%s: did not stop", all[i].name))
				continue
			}
		}
		errs = append(errs, all[i].err)
	}
	return errors.Join(errs...)
}
