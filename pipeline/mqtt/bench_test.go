package mqtt

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/pipeline/mqtt/broker"
)

// BenchmarkLink is a 60 kB frame from Send to its outcome, through the
// embedded broker on loopback, sixteen at a time.
func BenchmarkLink(b *testing.B) {
	quiet := slog.New(slog.DiscardHandler)
	br, err := broker.New(broker.Config{Listen: "127.0.0.1:0", Plaintext: true, Log: quiet})
	if err != nil {
		b.Fatal(err)
	}
	conf := Config{Broker: "tcp://" + br.Addr(), Plaintext: true, Node: "fog-1", Log: quiet}
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { _ = br.Run(ctx) })
	l, err := New(conf, ignore) // it sends to itself
	if err != nil {
		b.Fatal(err)
	}
	wg.Go(func() { _ = l.Run(ctx) })
	eventually(b, "the link to be connected", func() bool { return l.Stats().Connected })
	picture := make([]byte, 60_000)
	b.SetBytes(int64(len(picture)))
	slots := make(chan struct{}, 16)
	for b.Loop() {
		slots <- struct{}{}
		f := newFrame(1, time.Minute)
		f.Image.Data = picture
		f.OnSettle(func(o pipeline.Outcome) {
			if !o.Delivered() {
				b.Errorf("settled as %+v", o)
			}
			<-slots
		})
		if err := l.Send(ctx, "fog-1", "detect", f); err != nil {
			b.Fatal(err)
		}
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
}
