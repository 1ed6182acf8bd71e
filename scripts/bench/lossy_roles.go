package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/pipeline"
)

// waiting is how many frames of a camera wait to be sent, as in an agent: a
// newer one takes the place of the oldest, and the newest goes first. All
// contenders get this.
const waiting = 4

func identity(keys, name string) (*pki.Identity, error) {
	return pki.LoadIdentity(filepath.Join(keys, pki.CACertFile), filepath.Join(keys, name+".crt"), filepath.Join(keys, name+".key"))
}

func find(name string) (contender, error) {
	for _, c := range lossyContenders() {
		if c.name == name {
			return c, nil
		}
	}
	return contender{}, fmt.Errorf("no contender %q", name)
}

// obey carries out orders until there are no more.
func obey(do func(order) any) error {
	in := json.NewDecoder(os.Stdin)
	for {
		var o order
		switch err := in.Decode(&o); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if err := answer(os.Stdout, do(o)); err != nil {
			return err
		}
	}
}

// turnBits are the upper bits of a frame's number, which say its turn.
const turnBits = 32

// playReceiver counts what arrives: an order with a contender begins its turn,
// one without ends it and asks what was seen.
func playReceiver(_ context.Context, keys, name string) error {
	id, err := identity(keys, name)
	if err != nil {
		return err
	}
	var (
		mu   sync.Mutex
		now  order
		seen counted
		open *listening
	)
	got := func(data []byte) {
		seq, _, deadline := stamp(data)
		at := clock()
		mu.Lock()
		defer mu.Unlock()
		switch {
		case int(seq>>turnBits) != now.Turn || seq<<turnBits == 0: // of an earlier turn, or no camera's
		case at <= deadline:
			seen.OnTime++
		default:
			seen.Late++
		}
	}
	return obey(func(o order) any {
		if o.Contender == "" {
			mu.Lock()
			out := seen
			mu.Unlock()
			if err := open.close(); err != nil {
				out.Error = err.Error()
			}
			return out
		}
		mu.Lock()
		now, seen = o, counted{}
		mu.Unlock()
		c, err := find(o.Contender)
		if err == nil {
			open, err = c.listen(o.Addr, id, got)
		}
		if err != nil {
			return counted{Error: err.Error()}
		}
		return counted{}
	})
}

// playSender is a camera that sends for a turn.
func playSender(ctx context.Context, keys, name string) error {
	id, err := identity(keys, name)
	if err != nil {
		return err
	}
	return obey(func(o order) any {
		n, err := film(ctx, id, o)
		if err != nil {
			return sent{Error: err.Error()}
		}
		return sent{Captured: n}
	})
}

// film captures frames for a turn, has them sent, and says how many they were.
func film(ctx context.Context, id *pki.Identity, o order) (captured int, err error) {
	c, err := find(o.Contender)
	if err != nil {
		return 0, err
	}
	dialling, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := c.dial(dialling, o.Addr, id, 1)
	if err != nil {
		return 0, err
	}
	queue, err := pipeline.NewQueue("camera", waiting)
	if err != nil {
		return 0, err
	}
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for range c.senders {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-queue.Ready():
				}
				for ctx.Err() == nil {
					f, _, ok := queue.PopNewest(time.Now())
					if !ok {
						break
					}
					// An error is a frame that does not arrive: one that was late.
					_ = out.send(ctx, 0, f.Image.Data)
				}
			}
		})
	}
	period := time.Duration(float64(time.Second) / o.Load.FPS)
	start := clock()
	for due := start; due < start+o.For; due += period {
		if err := pause(ctx, due-clock()); err != nil {
			break
		}
		captured++
		f := newFrame(uint64(o.Turn)<<turnBits|uint64(captured), due, lossyAllowed, o.Load.Size)
		now := time.Now()
		queue.Push(&pipeline.Frame{
			Deadline: now.Add(due + lossyAllowed - clock()), Image: pipeline.Image{Format: pipeline.JPEG, Data: f},
		}, now)
	}
	// What waits may still be sent in time.
	_ = pause(ctx, lossyAllowed) // ctx ends the turn in any case
	stop()
	err = out.close()
	wg.Wait()
	return captured, err
}
