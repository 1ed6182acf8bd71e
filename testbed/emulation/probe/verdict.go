package probe

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/weft-mesh/weft/testbed"
)

// What is checked.
const (
	roundTrip  = "round trip"
	jitter     = "jitter"
	loss       = "loss"
	throughput = "throughput"
	cut        = "cut"
)

// What is allowed.
const (
	confidence     = 0.001                  // probability that a run over good links is found fault with
	delayShare     = 0.1                    // of the round trip
	delayLeast     = 300 * time.Microsecond // or so much
	throughputOff  = 0.05
	strayLoss      = 0.005 // of a link without loss
	jitterOff      = 0.1
	quartilesApart = 2 * (2 - math.Sqrt2) // of the sum of two variables uniform in ±1: 1.17
)

// tolerance is how far a round trip may be off.
func tolerance(trip time.Duration) time.Duration {
	return max(delayLeast, time.Duration(delayShare*float64(trip)))
}

// judgeTrips compares the round trips of a pair with what was asked of the two
// directions, and returns their median too. A packet takes a while to leave at
// the link's rate: token buckets let one out at once, other links do not, and
// both are right.
func judgeTrips(out, back testbed.Link, header int, trips []time.Duration, sent int, alpha float64) (time.Duration, testbed.Verdict) {
	asked := out.Delay + back.Delay
	off := tolerance(asked)
	if n := len(trips); n > 0 {
		// The density of the sum of two uniform variables is highest in the
		// middle, 1 over the wider one's width, so that is the median's error.
		off += time.Duration(quantile(alpha) * float64(max(out.Jitter, back.Jitter)) / math.Sqrt(float64(n)))
	}
	low, high := max(0, asked-off), asked+off
	for _, l := range []testbed.Link{out, back} {
		if l.Rate > 0 {
			high += seconds(bits(smallSize+header) / float64(l.Rate))
		}
	}
	v := testbed.Verdict{What: roundTrip, Asked: fmt.Sprintf("%s (%s–%s)", ms(asked), bare(low), ms(high))}
	if len(trips) < minAnswers {
		v.Found = fmt.Sprintf("%d of %d probes answered", len(trips), sent)
		return 0, v
	}
	m := at(trips, 0.5)
	v.OK = low <= m && m <= high
	v.Found = ms(m)
	return m, v
}

// judgeJitter compares the distance of the quartiles of round trips with that
// of the sum of two uniform delays; outliers of a busy machine are outside. It
// returns too whether there is less than asked, which no busy machine causes.
func judgeJitter(out, back testbed.Link, trips []time.Duration, alpha float64) (v testbed.Verdict, less bool) {
	j := (out.Jitter + back.Jitter) / 2
	if len(trips) < minAnswers {
		return testbed.Verdict{What: jitter, Asked: "± " + ms(j), Found: fmt.Sprintf("%d answers", len(trips))}, false
	}
	found := time.Duration(float64(at(trips, 0.75)-at(trips, 0.25)) / quartilesApart)
	// The variance of the distance is 2 j²/n, by the densities at the quartiles.
	sampling := quantile(alpha) * math.Sqrt2 / quartilesApart / math.Sqrt(float64(len(trips)))
	off := max(delayLeast, time.Duration(jitterOff*float64(j))) + time.Duration(sampling*float64(j))
	low, high := max(0, j-off), j+off
	return testbed.Verdict{
		What:  jitter,
		OK:    low <= found && found <= high,
		Asked: fmt.Sprintf("± %s (%s–%s)", ms(j), bare(low), ms(high)),
		Found: "± " + ms(found),
	}, found < low
}

// judgeLoss compares what was lost of a stream with what was asked.
func judgeLoss(asked float64, lost, sent int, alpha float64) testbed.Verdict {
	v := testbed.Verdict{What: loss, Asked: percent(asked)}
	share := float64(lost) / float64(max(sent, 1))
	if asked == 0 {
		v.Asked = fmt.Sprintf("0 %% (at most %s)", percent(strayLoss))
		v.OK = sent > 0 && share <= strayLoss
		v.Found = fmt.Sprintf("%s (%d of %d)", percent(share), lost, sent)
		return v
	}
	low, high := interval(lost, sent, alpha)
	v.OK = sent > 0 && low <= asked && asked <= high
	v.Found = fmt.Sprintf("%s (%d of %d: between %s and %s)", percent(share), lost, sent, percent(low), percent(high))
	return v
}

// interval is what the probability of an event may be that happened k of n
// times, at confidence 1-alpha: Clopper and Pearson's.
func interval(k, n int, alpha float64) (low, high float64) {
	return least(k, n, alpha/2), 1 - least(n-k, n, alpha/2)
}

// least is the probability at which k or more of n events have probability
// tail: a quantile of the beta distribution. Gonum's is now and then far off in
// the tails; its distribution function is right.
func least(k, n int, tail float64) float64 {
	if k == 0 {
		return 0
	}
	d := distuv.Beta{Alpha: float64(k), Beta: float64(n - k + 1)}
	low, high := 0.0, 1.0
	for range 64 {
		if p := (low + high) / 2; d.CDF(p) < tail {
			low = p
		} else {
			high = p
		}
	}
	return high
}

// judgeThroughput compares what arrived, in bits a second, with what was
// asked. A link may drop packets before they wait for its rate or after. That
// of a link which was not full can be anything above what was found: it is
// faster than asked, or this machine is too slow or too busy to tell.
func judgeThroughput(l testbed.Link, found, offered float64, full bool) testbed.Verdict {
	low, high := (1-throughputOff)*float64(l.Rate)*passing(l), (1+throughputOff)*float64(l.Rate)
	v := testbed.Verdict{
		What:  throughput,
		OK:    full && low <= found && found <= high,
		Asked: fmt.Sprintf("%s (%s–%s)", testbed.FormatRate(l.Rate), rate(low), rate(high)),
		Found: rate(found),
	}
	if !full && found > 0 {
		v.Found = fmt.Sprintf("at least %s (sent at %s)", rate(found), rate(offered))
	}
	return v
}

// overflowed reports whether a link was full whose queue is too short for its
// packets to be seen to wait: by what it dropped of a stream.
func overflowed(l testbed.Link, header, lost, sent int) bool {
	short := slack(l, header) < surely+2*l.Jitter
	return short && float64(lost) > (l.Loss+(overload-1)/2)*float64(sent)
}

// unmeasured says why there is no throughput.
func unmeasured(l testbed.Link) testbed.Verdict {
	v := testbed.Verdict{What: throughput, OK: true, Asked: testbed.FormatRate(l.Rate), Found: "not measured above " + testbed.FormatRate(fastest)}
	switch {
	case l.Rate == 0:
		v.Found = "not measured: unshaped"
	case l.Loss >= 1:
		v.Found = "not measured: nothing passes"
	}
	return v
}

// judgeCut checks that nothing passed.
func judgeCut(passed, sent int) testbed.Verdict {
	return testbed.Verdict{
		What:  cut,
		OK:    passed == 0 && sent > 0,
		Asked: "nothing passes",
		Found: fmt.Sprintf("%d of %d packets passed", passed, sent),
	}
}

// speed is the throughput of packets of one size in bytes, in bits a second,
// and whether most of them had to wait for the link. The warming part of the
// time they took is ignored: token buckets are full at first. Of the rest, it
// is the time counted in which packets waited, which is between the arrivals of
// two of which the second had been sent slack earlier than it needed to be:
// that the sender was held up is not the link's fault. If most did not wait,
// all of the time counts.
func speed(arrivals []arrival, size int, slack time.Duration) (found float64, waiting bool) {
	if len(arrivals) < 2 {
		return 0, false
	}
	a := slices.Clone(arrivals)
	slices.SortFunc(a, func(x, y arrival) int { return cmp.Compare(x.at, y.at) })
	first, last := a[0].at, a[len(a)-1].at
	from := slices.IndexFunc(a, func(x arrival) bool { return x.at-first >= (last-first)/warming })
	idle := int64(math.MaxInt64) // time that a packet takes which does not wait
	for _, x := range a {
		idle = min(idle, x.at-x.sent)
	}
	var busy int64
	waited := 0
	for i := from + 1; i < len(a); i++ {
		if a[i-1].at-a[i].sent >= idle+int64(slack) {
			busy += a[i].at - a[i-1].at
			waited++
		}
	}
	all := len(a) - 1 - from
	waiting = 2*waited >= all
	if !waiting {
		busy, waited = last-a[from].at, all
	}
	if busy <= 0 {
		return 0, false
	}
	return float64(waited) * bits(size) / (float64(busy) / 1e9), waiting
}

// at is the quantile q of values, interpolated.
func at(values []time.Duration, q float64) time.Duration {
	s := slices.Sorted(slices.Values(values))
	x := q * float64(len(s)-1)
	i := int(x)
	if i+1 == len(s) {
		return s[i]
	}
	return s[i] + time.Duration((x-float64(i))*float64(s[i+1]-s[i]))
}

func bare(d time.Duration) string { return fmt.Sprintf("%.3g", float64(d)/1e6) }
func ms(d time.Duration) string   { return bare(d) + " ms" }
func percent(p float64) string    { return fmt.Sprintf("%.3g %%", 100*p) }

// rate formats bits a second to a thousandth.
func rate(b float64) string {
	if b <= 0 {
		return "0 bit/s"
	}
	unit := math.Pow(10, math.Floor(math.Log10(b))-3)
	return testbed.FormatRate(int64(math.Round(math.Round(b/unit) * unit)))
}
