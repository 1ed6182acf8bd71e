package sim

import "slices"

// fairly is that of pipeline.Turns.
const fairly = 8

// turns are pipeline.Turns of a node.
type turns struct {
	most    int // 0: any number
	taken   int
	given   int
	waiting []int32 // instances, who came first first
}

// take reports whether it is an instance's turn; otherwise it stands in line.
func (t *turns) take(i int32) bool {
	if t.most == 0 || t.taken < t.most {
		t.taken++
		return true
	}
	t.waiting = append(t.waiting, i)
	return false
}

// give takes a turn back, and returns whose it is now; none: nobody's.
func (t *turns) give(rank func(i int32) int) int32 {
	if len(t.waiting) == 0 {
		t.taken--
		return none
	}
	t.given++
	next := 0
	if t.given%fairly != 0 {
		for i, w := range t.waiting {
			if rank(w) > rank(t.waiting[next]) {
				next = i
			}
		}
	}
	i := t.waiting[next]
	t.waiting = append(t.waiting[:next], t.waiting[next+1:]...)
	return i
}

// leave takes an instance out of the line.
func (t *turns) leave(i int32) {
	t.waiting = slices.DeleteFunc(t.waiting, func(w int32) bool { return w == i })
}
