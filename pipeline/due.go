package pipeline

import (
	"container/heap"
	"time"
)

// dueList holds values by when they are due, the next one first.
type dueList[T any] struct{ h dueHeap[T] }

// due is one entry of a dueList, by which it can be removed again.
type due[T any] struct {
	value T
	at    time.Time
	index int
}

func (l *dueList[T]) add(value T, at time.Time) *due[T] {
	d := &due[T]{value: value, at: at}
	heap.Push(&l.h, d)
	return d
}

func (l *dueList[T]) remove(d *due[T]) { heap.Remove(&l.h, d.index) }

// next returns the entry due first, nil when there is none.
func (l *dueList[T]) next() *due[T] {
	if len(l.h) == 0 {
		return nil
	}
	return l.h[0]
}

// overdue returns the next entry if it is due at now, else nil.
func (l *dueList[T]) overdue(now time.Time) *due[T] {
	if d := l.next(); d != nil && !now.Before(d.at) {
		return d
	}
	return nil
}

// dueHeap implements heap.Interface.
type dueHeap[T any] []*due[T]

func (h dueHeap[T]) Len() int           { return len(h) }
func (h dueHeap[T]) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap[T]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *dueHeap[T]) Push(x any) {
	d := x.(*due[T])
	d.index = len(*h)
	*h = append(*h, d)
}

func (h *dueHeap[T]) Pop() any {
	old := *h
	d := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return d
}
