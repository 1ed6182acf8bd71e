package tiering

import (
	"cmp"
	"slices"
)

// adjusted is Algorithm 4 (section VI-C): it reserves what the node with most
// free has, if that is half of what is asked for; else it takes the missing
// part of that half evenly from the other reservations on the node, of this
// workflow and of others, none of which goes below its own half.
//
// "Most free" is measured by the share of what is asked for that the node can
// give of its scarcest resource. Where the paper gives up after one node, the
// next in that order is tried: an instance is refused only if no node can
// reach its half. That is exact for several instances too, since each one
// uses up one half of free + slack, however much it was given at first.
//
// Only what is scarce is cut: a task short of CPU keeps its memory.
func (r *reservation) adjusted(c *class) (*claim, bool) {
	half := r.ask.Half()
	best, share := int32(-1), -1.0
	for _, t := range c.tiers {
		for _, n := range r.draft.view.free[t] {
			if !c.runs(n) {
				continue
			}
			free := r.draft.free(n)
			if s := shareOf(r.ask, free); s > share &&
				(half.Fits(free) || half.Fits(free.Add(r.draft.slack(n)))) {
				best, share = n, s
			}
		}
	}
	if best < 0 {
		return nil, false
	}
	give := r.ask.Min(r.draft.free(best)).Max(half)
	r.draft.shrink(best, give.Sub(r.draft.free(best)))
	return r.draft.reserve(best, r.ask, give), true
}

// shareOf is the part of ask that free can give of the scarcest resource, 0 to
// 1. A node that is over its capacity gives nothing.
func shareOf(ask, free Resources) float64 {
	share := 1.0
	for _, x := range [...][2]int64{{ask.CPU, free.CPU}, {ask.Memory, free.Memory}, {ask.Disk, free.Disk}} {
		switch {
		case x[1] < 0:
			return 0
		case x[0] > 0:
			share = min(share, float64(x[1])/float64(x[0]))
		}
	}
	return share
}

// shrink frees the missing amount on a node, which its reservations must have
// in slack; negative components are nothing missing.
func (d *draft) shrink(n int32, missing Resources) {
	for _, part := range []func(*Resources) *int64{
		func(r *Resources) *int64 { return &r.CPU },
		func(r *Resources) *int64 { return &r.Memory },
		func(r *Resources) *int64 { return &r.Disk },
	} {
		need := *part(&missing)
		if need <= 0 {
			continue
		}
		claims := d.claims(n)
		slack := make([]int64, len(claims))
		for i, c := range claims {
			s := c.slack()
			slack[i] = *part(&s)
		}
		for i, cut := range evenly(need, slack) {
			*part(&claims[i].reserved) -= cut
		}
		*part(&d.node(n).free) += need
	}
}

// evenly divides need into equal cuts, except that none exceeds its limit: who
// cannot give as much as the others gives what it can, and they make up for
// it. The limits must sum to need at least.
func evenly(need int64, limits []int64) []int64 {
	order := make([]int, len(limits))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(limits[a], limits[b]) })
	cuts := make([]int64, len(limits))
	for k, i := range order { // smallest first: what it cannot give is left to the rest
		cuts[i] = min(limits[i], need/int64(len(order)-k))
		need -= cuts[i]
	}
	return cuts
}
