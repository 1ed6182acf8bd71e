package relay

import (
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/testbed"
)

// figuresVariable turns TestFigures on.
const figuresVariable = "WEFT_RELAY_FIGURES"

// TestFigures measures how well links keep what was asked. It asserts nothing:
// what is measured depends on what else the machine does.
func TestFigures(t *testing.T) {
	if os.Getenv(figuresVariable) == "" {
		t.Skip("set " + figuresVariable + " to measure; it takes about a minute")
	}
	b := makeBed(t, Config{Seed: 1, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))}, "a", "b")
	b.link("a", "b", testbed.Link{}, true)
	b.run()
	for _, busy := range []bool{false, true} {
		t.Run(fmt.Sprintf("round trip, busy=%v", busy), func(t *testing.T) {
			if busy {
				defer b.serve("", "spin").kill()
			}
			own := b.ping("a", "a", 500)
			t.Logf("without a link, of which the two programs and the kernel take: %s median", own.quantile(0.5).Round(time.Microsecond))
			for _, d := range []time.Duration{0, 500 * time.Microsecond, time.Millisecond, 4 * time.Millisecond, 5 * time.Millisecond, 50 * time.Millisecond} {
				b.link("a", "b", testbed.Link{Delay: d}, true)
				p := b.ping("a", "b", min(500, int(2*time.Second/max(2*d, time.Millisecond))))
				t.Logf("delay %6s: round trip %9s median, %9s 95 %%, %9s 99 %%, %9s most; median off by %s", d,
					p.quantile(0.5).Round(time.Microsecond), p.quantile(0.95).Round(time.Microsecond), p.quantile(0.99).Round(time.Microsecond), p.quantile(1).Round(time.Microsecond),
					(p.quantile(0.5) - 2*d).Round(time.Microsecond))
			}
		})
	}
	for _, mbit := range []int64{1, 3, 30, 100, 300, 1000} {
		for _, load := range []float64{1.1, 1.3} {
			t.Run(fmt.Sprintf("throughput of %d Mbit/s at %g", mbit, load), func(t *testing.T) {
				rate := mbit * 1e6
				b.link("a", "b", testbed.Link{Rate: rate, Delay: time.Millisecond, Queue: 1000}, true)
				before, cpu := b.Counters()[Pair{"a", "b"}], processCPU()
				sent, got := b.blast("a", "b", load*float64(rate), 3*time.Second)
				c := b.Counters()[Pair{"a", "b"}]
				packets, dropped := c.Packets-before.Packets, c.DroppedQueue-before.DroppedQueue
				t.Logf("%7.2f Mbit/s (%+.2f %%), sent %d, relayed %d, dropped %d, lost in kernel %d, late %d, longest gap %s, relay's CPU %.0f %%, %.1f µs a packet",
					got.Rate/1e6, 100*(got.Rate/float64(rate)-1), sent, packets, dropped, sent-int(packets+dropped), c.Late-before.Late, got.Longest.Round(time.Microsecond),
					100*(processCPU()-cpu).Seconds()/3, float64((processCPU()-cpu).Microseconds())/float64(packets+dropped))
			})
		}
	}
	for _, loss := range []float64{0.01, 0.1} {
		t.Run(fmt.Sprintf("loss %g", loss), func(t *testing.T) {
			b.link("a", "b", testbed.Link{Delay: time.Millisecond, Loss: loss}, true)
			sent, got := b.blast("a", "b", 100e6, 3*time.Second)
			t.Logf("lost %.2f %% of %d", 100*(1-float64(got.Packets)/float64(sent)), sent)
		})
	}
	t.Run("TCP", func(t *testing.T) {
		for _, l := range []testbed.Link{
			{Rate: 30e6, Delay: 4 * time.Millisecond, Queue: 1000},
			{Rate: 30e6, Delay: 4 * time.Millisecond, Queue: 50},
			{Rate: 1e9, Delay: time.Millisecond, Queue: 1000},
		} {
			b.link("a", "b", l, true)
			at := addr("b").String() + ":9"
			server := b.serve("b", "download", at)
			b.start("a", "upload", at, "4s")
			var rate float64
			server.result(&rate)
			t.Logf("%s, %s, queue %d: %.1f Mbit/s of content (%.1f %%)", testbed.FormatRate(l.Rate), l.Delay, l.Queue, rate/1e6, 100*rate/float64(l.Rate))
		}
	})
}

func processCPU() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
