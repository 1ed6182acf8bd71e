package tiering

import "math/rand/v2"

// maxCandidates bounds the nodes of a tier that are compared for one instance,
// the most free ones, beyond those that the plan already uses. In a tier with
// no more nodes than that, the choice is exact; in a larger one it is the
// nearest of a sample, so that a plan costs the same however large the mesh.
const maxCandidates = 64

// candidate is a node on which an instance could run.
type candidate struct {
	node int32
	// slot is the reservation to take, intensive tasks only; swap is the
	// task's own slot that the other class gets for it, and move says that
	// slot is to be moved to node.
	slot, swap *slot
	move       bool

	siblings int // instances of the same task there
	distance distance
	free     int64 // CPU, before the instance takes its own
}

// decided is what settled a choice.
type decided int

const (
	byLack     decided = iota // there is one candidate
	bySiblings                // fewest replicas of the task there
	byNearness
	byFree
	byLot
)

// choose is selectResource of Algorithm 3: the candidate nearest to the
// predecessor, except that replicas of a task spread first. Among equally near
// ones the one with most free CPU, and what is still equal is drawn by rng.
func choose(all []candidate, anchors int, rng *rand.Rand) (candidate, decided, int) {
	left, how := all, byLack
	narrow := func(why decided, slack int64, key func(*candidate) int64) {
		before := len(left)
		if before == 1 {
			return
		}
		if left = least(left, slack, key); len(left) < before {
			how = why
		}
	}
	narrow(bySiblings, 0, func(c *candidate) int64 { return int64(c.siblings) })
	narrow(byNearness, 0, func(c *candidate) int64 { return int64(c.distance.unknown) })
	narrow(byNearness, int64(nearSlack)*int64(anchors), func(c *candidate) int64 { return int64(c.distance.rtt) })
	narrow(byNearness, 0, func(c *candidate) int64 { return int64(c.distance.apart) })
	narrow(byNearness, 0, func(c *candidate) int64 { return int64(c.distance.tiers) })
	narrow(byFree, 0, func(c *candidate) int64 { return -c.free })
	if equals := len(left); equals > 1 {
		return left[rng.IntN(equals)], byLot, equals
	}
	return left[0], how, 1
}

// least keeps, in place, those whose key is within slack of the
// smallest.
func least[T any](all []T, slack int64, key func(*T) int64) []T {
	smallest := key(&all[0])
	for i := range all[1:] {
		smallest = min(smallest, key(&all[i+1]))
	}
	kept := all[:0]
	for i := range all {
		if key(&all[i]) <= smallest+slack {
			kept = append(kept, all[i])
		}
	}
	return kept
}
