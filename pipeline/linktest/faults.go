package linktest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/weft-mesh/weft/pipeline"
)

func isErr(err, target error) bool { return errors.Is(err, target) }

// Frames that the peer holds when the connection breaks are settled as lost
// on the link, long before their deadline if the link notices, soon after it
// if not.
func testLoss(b *bench) {
	b.usable()
	before := len(b.received(1))
	b.hold()
	const n = 20
	var sent []*parcel
	for range n {
		f := b.frame(1000)
		f.Deadline = time.Now().Add(3 * time.Second)
		sent = append(sent, b.mustSend("detect", f))
	}
	held := b.received(before + n)[before:]
	b.Break()
	for _, p := range sent {
		if o := b.outcome(p); o.Reason != pipeline.ReasonLink {
			b.Errorf("%s: settled as %+v, want %q", p.id, o, pipeline.ReasonLink)
		}
	}
	for _, a := range held {
		a.frame.Settle(pipeline.Outcome{Stage: "detect"}) // into the void
	}
	b.Heal()
	b.usable()
}

// After a break frames flow again, more than once.
func testReconnect(b *bench) {
	for range 2 {
		b.usable()
		b.Break()
		b.Heal()
		b.usable()
	}
}

// With the connection broken throughout, Send neither hangs nor loses track.
func testBrokenThroughout(b *bench) {
	b.usable()
	b.Break()
	for range 3 {
		f := b.frame(1000)
		f.Deadline = time.Now().Add(500 * time.Millisecond)
		ctx, cancel := context.WithTimeout(b.Context(), patience)
		p, err := b.send(ctx, "detect", f)
		cancel()
		switch {
		case err == nil:
			if o := b.outcome(p); o.Delivered() {
				b.Errorf("%s: delivered through a broken connection", p.id)
			}
		case !refusal(err):
			b.Errorf("send: %v, want ErrUnreachable or ErrLate", err)
		}
	}
	b.Heal()
	b.usable()
}

// The connection comes and goes under several senders; audit does the rest.
func testFlapping(b *bench) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-b.Context().Done():
					return
				default:
				}
				f := b.frame(10_000)
				f.Deadline = time.Now().Add(time.Second)
				ctx, cancel := context.WithTimeout(b.Context(), patience)
				if _, err := b.send(ctx, "detect", f); err != nil && !refusal(err) {
					b.Errorf("send: %v", err)
				}
				cancel()
				b.pause()
			}
		})
	}
	for range 3 {
		n := len(b.received(0))
		b.received(n + 5)
		b.Break()
		b.pause()
		b.Heal()
	}
	close(stop)
	wg.Wait()
	b.settled()
	b.usable()
}

// A frame over the limit is refused and harms nobody.
func testOversized(b *bench) {
	b.usable()
	tooManyBytes := b.frame(maxImage + 1)
	tooManyObjects := b.frame(100)
	tooManyObjects.Detections = make([]pipeline.Detection, pipeline.DefaultLimits().Detections+1)
	for _, f := range []*pipeline.Frame{tooManyBytes, tooManyObjects} {
		if _, err := b.send(b.Context(), "detect", f); !isErr(err, pipeline.ErrOversized) {
			b.Errorf("send: %v, want ErrOversized", err)
		}
	}
	if p := b.mustSend("detect", b.frame(maxImage)); !b.outcome(p).Delivered() {
		b.Errorf("a frame at the limit: %+v", b.outcome(p))
	}
}

// Bytes that are no frame are counted, reach no stage, and leave the link
// usable.
func testMalformed(b *bench) {
	b.usable()
	good := b.encoded()
	huge := bytes.Clone(good)
	binary.BigEndian.PutUint32(huge[12:], 1<<31)
	newer := bytes.Clone(good)
	newer[4] = 0x7f
	garbled := bytes.Clone(good)
	for i := 16; i < 32; i++ {
		garbled[i] = 0xff
	}
	for _, c := range []struct {
		name string
		data []byte
	}{
		{"garbage", []byte("GET / HTTP/1.1\r\nHost: weft\r\n\r\n")},
		{"one byte", []byte{0}},
		{"cut in the prefix", good[:10]},
		{"cut in the header", good[:20]},
		{"cut in the picture", good[:len(good)-1]},
		{"newer version", newer},
		{"payload of 2 GiB announced", huge},
		{"garbled header", garbled},
	} {
		arrived := b.deliveredTo("injected")
		count := b.Malformed()
		b.Inject(c.data)
		b.eventually(c.name+" to be counted as malformed", func() bool { return b.Malformed() > count })
		if n := b.deliveredTo("injected"); n != arrived {
			b.Errorf("%s: reached the receiver", c.name)
		}
		b.usable()
	}
}

// deliveredTo counts the arrivals for an instance.
func (b *bench) deliveredTo(instance string) int {
	n := 0
	for _, a := range b.received(0) {
		if a.instance == instance {
			n++
		}
	}
	return n
}

// encoded is a valid frame message for the instance "injected".
func (b *bench) encoded() []byte {
	b.Helper()
	codec, err := pipeline.NewCodec(pipeline.DefaultLimits())
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	msg, err := codec.AppendFrame(nil, pipeline.NewMessage("injected", b.frame(100), 1<<40, now, pipeline.NewClock(now)))
	if err != nil {
		b.Fatal(err)
	}
	return msg
}

// A cancelled context ends Send, at once or while it waits.
func testCancellation(b *bench) {
	b.usable()
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	f := b.frame(100)
	if _, err := b.send(ctx, "detect", f); !isErr(err, context.Canceled) {
		b.Errorf("send with a cancelled context: %v, want context.Canceled", err)
	}
	b.usable()
	for _, a := range b.received(0) {
		if a.frame.ID == f.ID {
			b.Error("a frame sent with a cancelled context arrived")
		}
	}

	b.Break()
	ctx, cancel = context.WithCancel(b.Context())
	defer cancel()
	done := make(chan error, 1)
	late := b.frame(100)
	late.Deadline = time.Now().Add(5 * time.Second)
	go func() {
		_, err := b.send(ctx, "detect", late)
		done <- err
	}()
	b.pause()
	cancel()
	end := time.NewTimer(patience)
	defer end.Stop()
	select {
	case err := <-done:
		if err != nil && !isErr(err, context.Canceled) && !refusal(err) {
			b.Errorf("send over a broken connection: %v", err)
		}
	case <-end.C:
		b.Fatal("send does not end with its context")
	}
	b.Heal()
	b.usable()
}
