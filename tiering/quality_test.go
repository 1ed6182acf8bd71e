package tiering_test

import (
	"fmt"
	"testing"

	"github.com/weft-mesh/weft/tiering"
)

// Of cameras that are numbered about as many begin at each of the frames.
func TestPhase(t *testing.T) {
	for every := range 5 {
		q := tiering.Quality{Every: every}
		seen := map[int]int{}
		for i := range 24 {
			seen[q.Phase(fmt.Sprintf("cam-%d", i+1))]++
		}
		for phase, n := range seen {
			if even := 24 / max(every, 1); phase < 0 || phase >= max(every, 1) || n > 2*even || n < even/2 {
				t.Errorf("one in %d: %d of 24 cameras begin with frame %d", every, n, phase)
			}
		}
		if len(seen) != max(every, 1) {
			t.Errorf("one in %d: %v", every, seen)
		}
	}
}
