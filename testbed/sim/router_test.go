package sim

import (
	"testing"
	"time"
)

// Instances of each group take turns among themselves, as in pipeline.Router.
func TestTurnsApart(t *testing.T) {
	l := newLab(t, 1, realRules(), 1, free("a", timing{mean: time.Millisecond}), free("b", timing{mean: time.Millisecond}))
	next := []int32{l.stage(0, 0), l.stage(0, 0), l.stage(0, 1), l.stage(0, 1)}
	l.source(0, 10, 0, next...)
	l.run(10 * time.Second)
	for _, i := range next {
		if n := l.instances[i].received; n < 45 || n > 55 {
			t.Errorf("instance %d has received %d of 100 frames, want half", i, n)
		}
	}
}
