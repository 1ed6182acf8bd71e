package street

import (
	"cmp"
	"slices"
)

// order sorts things so that each is drawn before those that hide it. The
// distance of their nearest parts does not tell: of a bus and the cyclist
// beside it either may be the nearer.
func (s *scene) order(things []thing) []thing {
	slices.SortStableFunc(things, func(a, b thing) int { return cmp.Compare(b.near, a.near) })
	n := len(things)
	after := make([][]int, n) // those that hide it
	waits := make([]int, n)   // for how many it has to
	for i := range things {
		for j := range i {
			a, b := &things[i], &things[j]
			if a.lo.x >= b.hi.x || b.lo.x >= a.hi.x || a.lo.y >= b.hi.y || b.lo.y >= a.hi.y {
				continue
			}
			switch {
			case s.hides(a, b):
				after[j] = append(after[j], i)
				waits[i]++
			case s.hides(b, a):
				after[i] = append(after[i], j)
				waits[j]++
			}
		}
	}
	out := make([]thing, 0, n)
	for len(out) < n {
		// The farthest that waits for none; where three hide each other in a
		// circle, or two are in the same place, the farthest.
		next := -1
		for i, w := range waits {
			if w == 0 {
				next = i
				break
			}
			if w > 0 && next < 0 {
				next = i
			}
		}
		for _, i := range after[next] {
			if waits[i] > 0 {
				waits[i]--
			}
		}
		waits[next] = -1
		out = append(out, things[next])
	}
	return out
}

// hides reports whether a may hide b: a side of one of them has a and the
// camera before it and b behind it.
func (s *scene) hides(a, b *thing) bool {
	eye := ground{right: s.cam.right}
	for side := range 4 {
		if b.beyond(side, eye) && b.allBeyond(side, a) || !a.beyond(side, eye) && a.allBeyond(side, b) {
			return true
		}
	}
	return false
}

// beyond reports whether a place is on the outer side of a thing's front,
// rear, right or left.
func (t *thing) beyond(side int, g ground) bool {
	dr, da := g.right-t.at.right, g.along-t.at.along
	l, w := (dr*t.fr+da*t.fa)/unit, (dr*t.fa-da*t.fr)/unit
	switch side {
	case 0:
		return l >= t.size.l/2
	case 1:
		return -l >= t.size.l/2
	case 2:
		return w >= t.size.w/2
	default:
		return -w >= t.size.w/2
	}
}

func (t *thing) allBeyond(side int, u *thing) bool {
	corners := u.corners()
	for _, g := range corners[:4] { // the others are above these
		if !t.beyond(side, g) {
			return false
		}
	}
	return true
}
