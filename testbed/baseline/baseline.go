package baseline

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/weft-mesh/weft/tiering"
)

// Tier places analysis and postprocessing on the nodes of one tier, those with
// the fewest instances of the task and then the most free first. Preprocessing
// stays beside the sources, or as near to them as there is room.
func Tier(t tiering.Tier) Placer {
	return func(v *tiering.View, w *tiering.Workflow, _ *rand.Rand) (*tiering.Plan, error) {
		return fill(v, w, func(f *filler, s spot, fits []*tiering.Node) *tiering.Node {
			if s.task.Type == tiering.Preprocess {
				return f.least(s, fits, func(n *tiering.Node) int64 { return int64(f.away(s.near, n.ID)) })
			}
			fits = slices.DeleteFunc(fits, func(n *tiering.Node) bool { return n.Tier != t })
			return f.least(s, fits, func(*tiering.Node) int64 { return 0 })
		}), nil
	}
}

// Random places each instance on any node where it fits. The same seed and view
// give the same plan.
func Random(seed uint64) Placer {
	return func(v *tiering.View, w *tiering.Workflow, rng *rand.Rand) (*tiering.Plan, error) {
		rng = rand.New(rand.NewPCG(seed, rng.Uint64()))
		return fill(v, w, func(_ *filler, _ spot, fits []*tiering.Node) *tiering.Node {
			return fits[rng.IntN(len(fits))]
		}), nil
	}
}

// Costs says what a frame takes to get from one node to an instance of a task on
// another, and there.
type Costs struct {
	Transfer func(from, to *tiering.Node, t *tiering.Task) time.Duration
	Execute  func(on *tiering.Node, t *tiering.Task) time.Duration
}

// Greedy places each instance where transfer from its predecessors (the mean of
// them) and execution take least together; of equals on the one with the fewest
// instances of the task.
func Greedy(c Costs) Placer {
	return func(v *tiering.View, w *tiering.Workflow, _ *rand.Rand) (*tiering.Plan, error) {
		return fill(v, w, func(f *filler, s spot, fits []*tiering.Node) *tiering.Node {
			return f.least(s, fits, func(n *tiering.Node) int64 {
				sum := c.Execute(n, s.task)
				for _, from := range s.near {
					sum += c.Transfer(f.node(from), n, s.task) / time.Duration(len(s.near))
				}
				return int64(sum)
			})
		}), nil
	}
}

// Fixed places each instance on the node that is named for its placement's ID;
// the others as near to the sources as there is room.
func Fixed(nodes map[string]string) Placer {
	return func(v *tiering.View, w *tiering.Workflow, _ *rand.Rand) (*tiering.Plan, error) {
		return fill(v, w, func(f *filler, s spot, fits []*tiering.Node) *tiering.Node {
			id, ok := nodes[tiering.SlotID(w.Name, s.task.Name, s.instance)]
			if !ok {
				return f.least(s, fits, func(n *tiering.Node) int64 { return int64(f.away(s.near, n.ID)) })
			}
			i := slices.IndexFunc(fits, func(n *tiering.Node) bool { return n.ID == id })
			if i < 0 {
				return nil
			}
			return fits[i]
		}), nil
	}
}

// least is the node with the least key; of equals the one with the fewest
// instances of the task, then with the most free, then the first by name. Nil:
// there is none.
func (f *filler) least(s spot, fits []*tiering.Node, key func(*tiering.Node) int64) *tiering.Node {
	if len(fits) == 0 {
		return nil
	}
	here := f.count[s.task.Name]
	return slices.MinFunc(fits, func(a, b *tiering.Node) int {
		return cmp.Or(cmp.Compare(key(a), key(b)), cmp.Compare(here[a.ID], here[b.ID]), cmp.Compare(f.free[b.ID].CPU, f.free[a.ID].CPU), cmp.Compare(a.ID, b.ID))
	})
}

// away is the sum of the round trips to a node; one that is not known counts as
// a second.
func (f *filler) away(near []string, to string) time.Duration {
	var sum time.Duration
	for _, n := range near {
		if n == to {
			continue
		}
		d, ok := f.view.RoundTrip(n, to)
		if !ok {
			d = time.Second
		}
		sum += d
	}
	return sum
}
