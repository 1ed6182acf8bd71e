package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pipeline"
)

func TestHeadIsAsLongAsTheLinks(t *testing.T) {
	codec, err := pipeline.NewCodec(pipeline.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	base := time.Now()
	now, at := base.Add(time.Minute), time.Hour
	f := weftFrame(1, newFrame(1000, at-2*time.Microsecond, plenty, frameSize), now, at)
	head, err := codec.AppendFrameHead(nil, pipeline.NewMessage(instance, f, 0, now, pipeline.NewClock(base)))
	if err != nil {
		t.Fatal(err)
	}
	if len(head) != headSize {
		t.Errorf("headSize is %d, the codec's head is %d bytes", headSize, len(head))
	}
}

func TestFrameIsReadAsWritten(t *testing.T) {
	f := newFrame(7, time.Second, 200*time.Millisecond, 100)
	both := bytes.NewReader(append(f, newFrame(8, 0, 0, stampSize)...))
	for _, want := range []struct {
		seq                uint64
		captured, deadline time.Duration
		size               int
	}{{7, time.Second, 1200 * time.Millisecond, 100}, {8, 0, 0, stampSize}} {
		p, err := readFrame(both)
		if err != nil {
			t.Fatal(err)
		}
		seq, captured, deadline := stamp(p)
		if len(p) != want.size || seq != want.seq || captured != want.captured || deadline != want.deadline {
			t.Errorf("frame %d of %d bytes, captured at %s, good until %s; want %+v", seq, len(p), captured, deadline, want)
		}
	}
	if p, err := readFrame(both); err == nil {
		t.Errorf("a third frame of %d bytes", len(p))
	}
}

// Over a real connection each, all contenders deliver what they were given.
func TestContendersDeliver(t *testing.T) {
	p, err := newPair()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range append(contenders(kernels), contenders(record)[2:]...) {
		t.Run(c.name, func(t *testing.T) {
			l, err := newLine(t.Context(), c, p, 2)
			if err != nil {
				t.Fatal(err)
			}
			l.begin(nil)
			const frames = 20
			for i := range frames {
				if err := l.out.send(t.Context(), i%2, newFrame(l.seq.Add(1), clock(), plenty, frameSize)); err != nil {
					t.Fatal(err)
				}
			}
			if err := eventually(t.Context(), "all frames", drainFor, func() bool { return l.received.Load() == frames }); err != nil {
				t.Error(err)
			}
			if err := l.close(); err != nil {
				t.Error(err)
			}
		})
	}
}
