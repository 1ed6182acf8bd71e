package main

import (
	"context"
	"log/slog"
	"os"
	"reflect"
	"time"
)

// lookAtKeys is how often the gossip key file is looked at.
const lookAtKeys = 5 * time.Second

// keyFollower uses the gossip keys of a file when it changes, without a
// restart.
type keyFollower struct {
	file string
	seen [][]byte
	now  <-chan os.Signal // to look at once; may be nil
	use  func([][]byte) error
	log  *slog.Logger
}

func (f *keyFollower) run(ctx context.Context) error {
	tick := time.NewTicker(lookAtKeys)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-f.now:
		}
		keys, err := readKeys(f.file)
		if err == nil && !reflect.DeepEqual(keys, f.seen) {
			if err = f.use(keys); err == nil {
				f.seen = keys
				f.log.Info("new gossip keys in use", "file", f.file, "keys", len(keys))
			}
		}
		if err == nil {
			said = ""
		} else if text := err.Error(); text != said {
			said = text
			f.log.Warn("the gossip key on disk cannot be used, the one before stays in use", "err", err)
		}
	}
}

// split gives every receiver each signal; one that does not listen misses it.
func split(ctx context.Context, from <-chan os.Signal, to ...chan<- os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-from:
			for _, c := range to {
				select {
				case c <- s:
				default:
				}
			}
		}
	}
}
