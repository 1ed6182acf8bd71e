package relay

import "time"

// schedule is a min-heap of the lines that have packets, by when the first of
// them arrives. Packets keep their order within a line, so nothing else need
// be in it.
type schedule struct {
	lines []*line
}

// next is when the next packet of any line arrives; false: there is none.
func (s *schedule) next() (*line, time.Duration, bool) {
	if len(s.lines) == 0 {
		return nil, 0, false
	}
	return s.lines[0], s.lines[0].key, true
}

// update puts a line in its place after its first packet has changed.
func (s *schedule) update(l *line) {
	due, ok := l.due()
	switch {
	case !ok && l.place >= 0:
		s.remove(l)
	case !ok:
	case l.place < 0:
		l.key, l.place = due, len(s.lines)
		s.lines = append(s.lines, l)
		s.up(l.place)
	case l.key != due:
		l.key = due
		s.up(l.place)
		s.down(l.place)
	}
}

func (s *schedule) remove(l *line) {
	i, last := l.place, len(s.lines)-1
	s.swap(i, last)
	s.lines[last] = nil
	s.lines = s.lines[:last]
	l.place = -1
	if i < last {
		s.up(i)
		s.down(i)
	}
}

func (s *schedule) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if s.lines[parent].key <= s.lines[i].key {
			return
		}
		s.swap(i, parent)
		i = parent
	}
}

func (s *schedule) down(i int) {
	for {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(s.lines); c++ {
			if s.lines[c].key < s.lines[least].key {
				least = c
			}
		}
		if least == i {
			return
		}
		s.swap(i, least)
		i = least
	}
}

func (s *schedule) swap(i, k int) {
	s.lines[i], s.lines[k] = s.lines[k], s.lines[i]
	s.lines[i].place, s.lines[k].place = i, k
}
