package chaos

import (
	"math/rand/v2"
	"slices"
	"time"
)

// What the issue of each fault is measured with.
const (
	firstAt       = 2 * time.Second // of a round: so much is seen of it untouched
	partedFor     = 30 * time.Second
	lossyFor      = 30 * time.Second
	wrongFor      = 30 * time.Second // clocks
	pausedFor     = 20 * time.Second
	fullFor       = 20 * time.Second
	lossOfPackets = 0.10
	clockOff      = time.Hour
)

// Plan draws the faults of so many rounds. It is pure: of the same arguments it
// makes the same rounds, and of more rounds the first are the same.
//
// Kinds come from a deck that holds every kind once and the killing of a node
// twice, shuffled anew when it is empty; nodes that are killed, stopped or
// filled come from decks of their own. So every kind and every node has its
// turn; a coordinator may have to let the leader have its. In a quarter of the rounds a second fault strikes elsewhere while the
// first lasts. only, if not empty, leaves the other kinds out.
func Plan(seed uint64, rounds int, p Plant, only ...Kind) []Round {
	d := &drawing{rand: rand.New(rand.NewPCG(seed, 0x77656674)), plant: p, nodes: map[Kind][]string{}}
	for _, k := range append(Kinds(), KillNode) {
		if len(only) == 0 || slices.Contains(only, k) {
			d.all = append(d.all, k)
		}
	}
	var out []Round
	for i := range rounds {
		if len(d.all) == 0 {
			break
		}
		first := d.fault(d.kind(), firstAt+d.between(0, 2*time.Second), p.Nodes)
		r := Round{Number: i + 1, Faults: []Fault{first}}
		if d.rand.IntN(4) == 0 {
			if f, ok := d.beside(first); ok {
				r.Faults = append(r.Faults, f)
			}
		}
		out = append(out, r)
	}
	return out
}

// drawing is a plan in the making.
type drawing struct {
	rand  *rand.Rand
	plant Plant
	all   []Kind            // a whole deck
	deck  []Kind            // what is left of it
	nodes map[Kind][]string // what is left of the nodes' decks
}

func (d *drawing) kind() Kind {
	if len(d.deck) == 0 {
		d.deck = slices.Clone(d.all)
		d.rand.Shuffle(len(d.deck), func(i, k int) { d.deck[i], d.deck[k] = d.deck[k], d.deck[i] })
	}
	k := d.deck[0]
	d.deck = d.deck[1:]
	return k
}

// node draws one of the nodes whose turn it is.
func (d *drawing) node(k Kind, among []string) string {
	deck := d.nodes[k]
	i := slices.IndexFunc(deck, func(n string) bool { return slices.Contains(among, n) })
	if i < 0 {
		more := slices.Clone(d.plant.Nodes)
		d.rand.Shuffle(len(more), func(i, k int) { more[i], more[k] = more[k], more[i] })
		deck = append(slices.Clone(deck), more...) // those whose turn it was not keep it
		i = slices.IndexFunc(deck, func(n string) bool { return slices.Contains(among, n) })
	}
	n := deck[i]
	d.nodes[k] = slices.Delete(slices.Clone(deck), i, i+1)
	return n
}

// role has half the faults of coordinators strike the leader, whoever that is:
// it is the one that is missed.
func (d *drawing) role(node string) string {
	if d.plant.coordinator(node) && d.rand.IntN(2) == 0 {
		return Leader
	}
	return node
}

// between is a moment of tenths of a second.
func (d *drawing) between(least, most time.Duration) time.Duration {
	const step = 100 * time.Millisecond
	return least + step*time.Duration(d.rand.Int64N(int64((most-least)/step)+1))
}

// restartAfter is how long what was killed is away: what a supervisor takes, or
// what a machine takes to boot, by when the others have noticed.
func (d *drawing) restartAfter() time.Duration {
	if d.rand.IntN(2) == 0 {
		return d.between(time.Second, 3*time.Second)
	}
	return d.between(12*time.Second, 20*time.Second)
}

func (d *drawing) fault(k Kind, at time.Duration, among []string) Fault {
	f := Fault{Kind: k, At: at}
	switch k {
	case KillLeader:
		// Away for longer than an election takes: it must be the others' leader.
		f.Target, f.For = Leader, d.between(7*time.Second, 12*time.Second)
	case KillCoordinators:
		f.For = d.restartAfter()
	case KillNode:
		f.Target, f.For = d.node(k, among), d.restartAfter()
	case PartitionCoordinators:
		f.Target, f.For = []string{Leader, Follower}[d.rand.IntN(2)], partedFor
	case PartitionEdge:
		f.For = partedFor
	case Loss:
		f.Loss, f.For = lossOfPackets, lossyFor
	case Clock:
		f.Target, f.For = d.role(d.node(k, among)), wrongFor
		f.Offset = []time.Duration{clockOff, -clockOff}[d.rand.IntN(2)]
		// Where no node may be killed, none is started again.
		f.Restart = d.rand.IntN(2) == 0 && slices.Contains(d.all, KillNode)
	case Pause:
		f.Target, f.For = d.role(d.node(k, among)), pausedFor
	case DiskFull:
		f.Target, f.For = d.role(d.node(k, among)), fullFor
	}
	return f
}

// beside draws a second fault that strikes while the first lasts, elsewhere:
// two that are about the same node or link would contradict each other, and two
// coordinators of three away are more than a mesh need bear.
func (d *drawing) beside(first Fault) (Fault, bool) {
	var kinds []Kind
	for _, k := range []Kind{KillNode, Loss, Clock, Pause, DiskFull} {
		if k != first.Kind && slices.Contains(d.all, k) {
			kinds = append(kinds, k)
		}
	}
	if len(kinds) == 0 {
		return Fault{}, false
	}
	var among []string
	for _, n := range d.plant.Workers {
		if n != first.Target {
			among = append(among, n)
		}
	}
	k := kinds[d.rand.IntN(len(kinds))]
	at := first.At + d.between(0, min(first.For, 10*time.Second))
	return d.fault(k, at, among), true
}
