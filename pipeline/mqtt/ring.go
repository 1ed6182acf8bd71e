package mqtt

// ring is a first-in, first-out queue of at most limit items; when it is full
// the oldest gives way. It is not safe for concurrent use.
type ring[T any] struct {
	items []T // from head on, wrapped around
	head  int
	n     int
}

func newRing[T any](limit int) ring[T] { return ring[T]{items: make([]T, limit)} }

// push appends v and returns the item that had to give way, if one had.
func (r *ring[T]) push(v T) (oldest T, full bool) {
	if r.n == len(r.items) {
		oldest, full = r.pop()
	}
	r.items[(r.head+r.n)%len(r.items)] = v
	r.n++
	return oldest, full
}

// pop removes the oldest item.
func (r *ring[T]) pop() (v T, ok bool) {
	if r.n == 0 {
		return v, false
	}
	var zero T
	v, r.items[r.head] = r.items[r.head], zero
	r.head = (r.head + 1) % len(r.items)
	r.n--
	return v, true
}

// clear empties the ring and returns how many items there were.
func (r *ring[T]) clear() int {
	n := r.n
	clear(r.items)
	r.head, r.n = 0, 0
	return n
}
