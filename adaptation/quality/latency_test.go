package quality

import (
	"math"
	"testing"
)

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
