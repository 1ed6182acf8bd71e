package chaos

import (
	"cmp"
	"maps"
	"slices"
)

// tally adds up counters that begin anew when who counts is started again.
type tally struct {
	sum      map[string]uint64 // by name
	restarts map[string]int
	last     map[[2]string]uint64
}

func newTally() *tally {
	return &tally{sum: map[string]uint64{}, restarts: map[string]int{}, last: map[[2]string]uint64{}}
}

// add takes what one of those who count by a name has counted. What it had
// counted before the round, when it is seen for the first time, does not count.
func (t *tally) add(before bool, name, who string, n uint64) {
	key := [2]string{name, who}
	last, known := t.last[key]
	switch {
	case !known && before:
		t.sum[name] += 0
	case !known:
		t.sum[name] += n
	case n < last:
		t.sum[name] += n
		t.restarts[name]++
	default:
		t.sum[name] += n - last
	}
	t.last[key] = n
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
