package testbed_test

import (
	"math"
	"testing"

	"github.com/weft-mesh/weft/testbed"
)

func TestProcessors(t *testing.T) {
	for _, x := range []struct {
		cores int64
		scale float64
		want  int
	}{
		{8000, 1, 8}, {8000, 0.05, 2}, {8000, 0.3, 3}, {1000, 0.05, 1}, {1000, 1, 1}, {2500, 1, 3}, {4000, 0.75, 3}, {500, 1, 1},
	} {
		if got := testbed.Processors(x.cores, x.scale); got != x.want {
			t.Errorf("%d thousandths at %g: %d, want %d", x.cores, x.scale, got, x.want)
		}
	}
}

func TestSlowCores(t *testing.T) {
	s, n := testbed.Scenario{}, testbed.Node{Cores: 8000}
	if s.CoreSpeed(0.05) != 1 || s.Turns(n, 0.05) != 3 {
		t.Errorf("an instance gets %g of a core, %d at a time", s.CoreSpeed(0.05), s.Turns(n, 0.05))
	}
	s.SlowCores = true
	if s.CoreSpeed(0.05) != 0.05 || s.Turns(n, 0.05) != 8 {
		t.Errorf("of slow cores an instance gets %g, %d at a time", s.CoreSpeed(0.05), s.Turns(n, 0.05))
	}
}

func TestQuota(t *testing.T) {
	for _, x := range []struct {
		cores, overhead int64
		scale, want     float64
	}{
		{8000, 0, 0.05, 0.4}, {8000, 30, 0.05, 0.43}, {1000, 30, 0.05, 0.08}, {1000, 30, 1, 1}, {1000, 30, 0.99, 1}, {20, 30, 0.5, 0.02},
	} {
		s := testbed.Scenario{CPUOverhead: x.overhead}
		if got := s.Quota(testbed.Node{Cores: x.cores}, x.scale); math.Abs(got-x.want) > 1e-12 {
			t.Errorf("%d and %d thousandths at %g: %g cores, want %g", x.cores, x.overhead, x.scale, got, x.want)
		}
	}
}
