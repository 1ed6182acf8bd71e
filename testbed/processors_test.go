package testbed_test

import (
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
