package quic

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/weft-mesh/weft/pipeline"
)

// BenchmarkLink sends 60 kB frames over loopback, to compare with
// BenchmarkRaw: the same bytes over the same QUIC, a stream each, and nothing
// else. Run both at once and take the ratio.
func BenchmarkLink(b *testing.B) {
	const size = 60_000
	for _, senders := range []int{1, 4} {
		b.Run(fmt.Sprintf("senders=%d", senders), func(b *testing.B) {
			m := newMesh(b)
			from, to := startNew(b, m.config("edge"), deliver), startNew(b, m.config("fog"), deliver)
			warm := newParcel(0, size, 0)
			mustSend(b, from, to.at(), warm)
			warm.await(b)
			inParallel(b, senders, size, func(pending *sync.WaitGroup) error {
				f := frame(1, size, time.Minute)
				pending.Add(1)
				f.OnSettle(func(pipeline.Outcome) { pending.Done() })
				err := from.Send(context.Background(), to.at(), "detect", f)
				if err != nil {
					pending.Done()
				}
				return err
			})
		})
	}
}

func BenchmarkRaw(b *testing.B) {
	const size = 60_000
	for _, senders := range []int{1, 4} {
		b.Run(fmt.Sprintf("senders=%d", senders), func(b *testing.B) {
			m := newMesh(b)
			cfg := m.config("raw").withDefaults()
			server := &quic.Transport{Conn: listenUDP(b)}
			client := &quic.Transport{Conn: listenUDP(b)}
			ln, err := server.Listen(tlsConfig(cfg.ServerTLS), cfg.quicConfig())
			if err != nil {
				b.Fatal(err)
			}
			conn, err := client.Dial(b.Context(), server.Conn.LocalAddr(), tlsConfig(cfg.ClientTLS), cfg.diallerConfig())
			if err != nil {
				b.Fatal(err)
			}
			var wg sync.WaitGroup
			var received sync.WaitGroup
			wg.Go(func() {
				in, err := ln.Accept(context.Background())
				if err != nil {
					return
				}
				for {
					s, err := in.AcceptUniStream(in.Context())
					if err != nil {
						return
					}
					wg.Go(func() {
						if _, err := io.ReadFull(s, make([]byte, size)); err == nil {
							_, _ = s.Read(make([]byte, 1))
							received.Done()
						}
					})
				}
			})
			b.Cleanup(func() {
				_ = conn.CloseWithError(0, "")
				wg.Wait()
				_, _ = server.Close(), client.Close()
				_, _ = server.Conn.Close(), client.Conn.Close()
			})
			inParallel(b, senders, size, func(pending *sync.WaitGroup) error {
				data := frame(1, size, 0).Image.Data
				s, err := conn.OpenUniStreamSync(context.Background())
				if err != nil {
					return err
				}
				received.Add(1)
				if _, err := s.Write(data); err != nil {
					return err
				}
				return s.Close()
			}, &received)
		})
	}
}

// inParallel runs send b.N times and waits for what it leaves pending.
func inParallel(b *testing.B, senders, size int, send func(*sync.WaitGroup) error, also ...*sync.WaitGroup) {
	b.SetBytes(int64(size))
	var wg, pending sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	for range senders {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := send(&pending); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	pending.Wait()
	for _, w := range also {
		w.Wait()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "frames/s")
}
