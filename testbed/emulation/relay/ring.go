package relay

// ring is a FIFO queue that grows as needed. The zero value is empty.
type ring struct {
	slots []transit // a power of two
	head  int
	n     int
}

func (r *ring) len() int { return r.n }

// at is the i-th from the head.
func (r *ring) at(i int) *transit { return &r.slots[(r.head+i)&(len(r.slots)-1)] }

func (r *ring) push(t transit) {
	if r.n == len(r.slots) {
		grown := make([]transit, max(16, 2*r.n))
		for i := range r.n {
			grown[i] = *r.at(i)
		}
		r.slots, r.head = grown, 0
	}
	r.n++
	*r.at(r.n - 1) = t
}

func (r *ring) pop() transit {
	t := *r.at(0)
	*r.at(0) = transit{}
	r.head = (r.head + 1) & (len(r.slots) - 1)
	r.n--
	return t
}
