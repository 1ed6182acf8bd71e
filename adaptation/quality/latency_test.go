package quality

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/weft-mesh/weft/tiering"
)

// Equation 2: between edge and cloud data pass the fog; on one node they stay.
func TestTransferPassesTheFog(t *testing.T) {
	edge, fog, cloud := Place{"e", tiering.Edge}, Place{"f", tiering.Fog}, Place{"c", tiering.Cloud}
	links := map[[2]string]Link{
		{"e", "f"}: {"e-f", 30e6, ms(8)},
		{"f", "c"}: {"f-c", 10e9, ms(10)},
		{"c", "f"}: {"c-f", 10e9, ms(10)},
		{"f", "e"}: {"f-e", 30e6, ms(8)},
	}
	network := func(from, to Place) (Link, bool) {
		l, ok := links[[2]string{from.Node, to.Node}]
		return l, ok
	}
	up := Visit{"e-f", ms(10), ms(4)} // 37,500 bytes in 10 ms
	on := Visit{"f-c", 30 * time.Microsecond, ms(5)}
	for _, of := range []struct {
		from, via, to Place
		want          []Visit
		err           error
	}{
		{edge, fog, edge, nil, nil},
		{edge, Place{}, fog, []Visit{up}, nil},
		{edge, fog, cloud, []Visit{up, on}, nil},
		{cloud, fog, edge, []Visit{{"c-f", 30 * time.Microsecond, ms(5)}, {"f-e", ms(10), ms(4)}}, nil},
		{edge, edge, cloud, nil, ErrNoLink},
		{edge, Place{"g", tiering.Fog}, cloud, nil, ErrNoLink},
	} {
		got, err := Transfer(network, of.from, of.via, of.to, 37_500)
		if !errors.Is(err, of.err) {
			t.Errorf("%v to %v: error %v, want %v", of.from, of.to, err, of.err)
		}
		if len(got) != len(of.want) {
			t.Errorf("%v to %v passes %v, want %v", of.from, of.to, got, of.want)
			continue
		}
		for i := range got {
			if got[i] != of.want[i] {
				t.Errorf("%v to %v passes %v, want %v", of.from, of.to, got[i], of.want[i])
			}
		}
	}
}

// erlangC is the exact probability of waiting in M/M/c.
func erlangC(c int, offered float64) float64 {
	b := 1.0
	for k := 1; k <= c; k++ {
		b = offered * b / (float64(k) + offered*b)
	}
	rho := offered / float64(c)
	return b / (1 - rho + rho*b)
}

func TestWaitAgainstExactQueues(t *testing.T) {
	const service = 0.04
	for _, servers := range []int{1, 2, 4, 8, 32} {
		for _, rho := range []float64{0.3, 0.5, 0.7, 0.8, 0.9, 0.95} {
			rate := rho * float64(servers) / service
			markov := Station{Servers: servers, Variability: 1}
			exact := erlangC(servers, rate*service) * service / float64(servers) / (1 - rho)
			if off := math.Abs(markov.Wait(rate, service) - exact); off > 0.05*exact+0.03*service {
				t.Errorf("M/M/%d at %g: %g s, exactly %g s", servers, rho, markov.Wait(rate, service), exact)
			}
			if servers == 1 { // Pollaczek and Khinchine, M/D/1
				deterministic := Station{Servers: 1}
				if got, want := deterministic.Wait(rate, service), rho*service/(2*(1-rho)); !near(got, want) {
					t.Errorf("M/D/1 at %g: %g s, exactly %g s", rho, got, want)
				}
			}
		}
		full := Station{Servers: servers}
		for _, rate := range []float64{float64(servers) / service, 2 * float64(servers) / service} {
			if w := full.Wait(rate, service); !math.IsInf(w, 1) {
				t.Errorf("%d servers with %g frames a second of %g s: wait %g s, want +Inf", servers, rate, service, w)
			}
		}
	}
}

func TestPoolKeepsThroughput(t *testing.T) {
	servers, service := Pool(ms(100), ms(50))
	if servers != 2 || service != seconds(2.0/30) {
		t.Errorf("a pool of 10 and 20 frames a second is %d servers of %v", servers, service)
	}
	if servers, _ := Pool(); servers != 0 {
		t.Errorf("an empty pool has %d servers", servers)
	}
}
