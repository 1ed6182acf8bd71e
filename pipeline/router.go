package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/tiering"
)

// RouterConfig says where a Router sends frames from.
type RouterConfig struct {
	Node        string // this node
	Tier        tiering.Tier
	Group       string             // of the source or stage the frames come from
	Outbox      int                // frames that may wait for each remote instance
	Concurrency int                // sends under way to each remote instance
	Turn        uint64             // where turns begin; routers that begin alike go in step, all to one instance
	RTT         tiering.RoundTrips // may be nil: unknown
	Encoder     Encoder            // may be nil if no link changes the encoding
	Log         *slog.Logger
}

// Router sends each frame on to one instance of every group that follows,
// chosen by discovery (Houmani et al., VI-D) for the frame's quality: on this
// node by a call, elsewhere over the link its offer asks for. With nothing to
// follow, the frame has arrived: it is delivered.
//
// The offers may change at any time. Frames that wait for an instance that is
// no longer offered are routed anew. A group that was offered once is still
// expected when its last instance is gone, since nodes fail and tasks are
// placed again: frames for it are then dropped as ReasonNoRoute, not taken for
// delivered. SetGroups says otherwise.
type Router struct {
	cfg     RouterConfig
	local   Receiver
	senders map[tiering.Transport]Sender
	routes  atomic.Pointer[routes]
	sending atomic.Int64  // frames that are in no outbox on their way through one
	changed chan struct{} // tells Run of new outboxes
	limit   logLimit

	mu     sync.Mutex // held while routes are replaced
	closed bool

	turning sync.Mutex
	turns   map[rota]uint64 // how many there were
}

// rota is those instances that take turns: of a group, for what a frame asks
// for. One count for all would go in step with frames of several groups or
// qualities that alternate, and some instances would never have their turn.
type rota struct {
	group string
	want  tiering.Data
}

// maxRotas bounds the counts of turns: more than a workflow has qualities.
const maxRotas = 256

// routes is an immutable view of the offers, with the outboxes that serve
// them.
type routes struct {
	groups   []string                   // that are expected, sorted
	offers   map[string][]tiering.Offer // by group, in order of instance
	outboxes map[outboxKey]*outbox
}

// NewRouter makes a router without offers; local receives the frames for
// instances of this node.
func NewRouter(cfg RouterConfig, local Receiver, senders map[tiering.Transport]Sender) (*Router, error) {
	switch {
	case cfg.Node == "" || cfg.Group == "":
		return nil, fmt.Errorf("router: node %q and group %q must be named", cfg.Node, cfg.Group)
	case cfg.Outbox <= 0 || cfg.Concurrency <= 0:
		return nil, fmt.Errorf("router of %s: outbox %d and concurrency %d must be positive", cfg.Group, cfg.Outbox, cfg.Concurrency)
	case local == nil:
		return nil, fmt.Errorf("router of %s: no local receiver", cfg.Group)
	}
	r := &Router{cfg: cfg, local: local, senders: senders, changed: make(chan struct{}, 1), turns: map[rota]uint64{}}
	r.routes.Store(&routes{})
	return r, nil
}

// SetOffers replaces the offers. One whose transport this node has no sender
// for is left out, and logged.
func (r *Router) SetOffers(offers []tiering.Offer) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	old := r.routes.Load()
	next := &routes{offers: map[string][]tiering.Offer{}, outboxes: map[outboxKey]*outbox{}}
	groups := slices.Clone(old.groups)
	for _, o := range offers {
		groups = append(groups, o.Group)
		if o.Node != r.cfg.Node {
			box, err := r.outboxFor(o, old)
			if err != nil {
				r.cfg.Log.Error("offer left out", "instance", o.Instance, "node", o.Node, "error", err)
				continue
			}
			next.outboxes[keyOf(o)] = box
		}
		next.offers[o.Group] = append(next.offers[o.Group], o)
	}
	next.groups = sortedSet(groups)
	for _, g := range next.offers {
		slices.SortFunc(g, func(a, b tiering.Offer) int { return cmp.Compare(a.Instance, b.Instance) })
	}
	r.routes.Store(next)
	r.mu.Unlock()

	select {
	case r.changed <- struct{}{}:
	default:
	}
	r.sending.Add(1)
	defer r.sending.Add(-1)
	for key, box := range old.outboxes {
		if next.outboxes[key] != nil {
			continue
		}
		for _, f := range box.queue.Drain() {
			r.route(box.offer.Group, f)
		}
	}
}

// SetGroups replaces the groups that are expected; those of the offers always
// are.
func (r *Router) SetGroups(groups []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := *r.routes.Load()
	next.groups = sortedSet(slices.AppendSeq(slices.Clone(groups), maps.Keys(next.offers)))
	r.routes.Store(&next)
}

// outboxFor returns the outbox that serves the offer already, or a new one.
func (r *Router) outboxFor(o tiering.Offer, old *routes) (*outbox, error) {
	if box := old.outboxes[keyOf(o)]; box != nil {
		return box, nil
	}
	sender := r.senders[o.Link.Transport]
	if sender == nil {
		return nil, fmt.Errorf("this node has no %q link", o.Link.Transport)
	}
	if _, err := formatOf(o.Link.Encoding); err != nil {
		return nil, err
	}
	queue, err := NewQueue(r.cfg.Group, r.cfg.Outbox)
	if err != nil {
		return nil, err
	}
	return &outbox{offer: o, group: r.cfg.Group, queue: queue, sender: sender, encoder: r.cfg.Encoder, sending: &r.sending, log: r.cfg.Log}, nil
}

// Forward takes ownership of the frame and never blocks.
func (r *Router) Forward(f *Frame) {
	now := time.Now()
	if f.Late(now) {
		r.settle(f, ReasonDeadline, now)
		return
	}
	groups := r.routes.Load().groups
	if len(groups) == 0 {
		f.Settle(Outcome{Stage: r.cfg.Group, Age: f.Age(now), Found: f.finding()})
		return
	}
	for i, part := range f.Split(len(groups)) {
		r.route(groups[i], part)
	}
}

// route hands the frame to one instance of the group.
func (r *Router) route(group string, f *Frame) {
	want := tiering.Data{Type: "image", Resolution: f.Quality, Model: f.Analyser}
	turn := r.turn(rota{group, want})
	for {
		now := time.Now()
		routes := r.routes.Load()
		offer, err := tiering.Discover(want, r.cfg.Node, r.cfg.Tier, routes.offers[group], r.cfg.RTT, turn)
		if err != nil {
			r.limit.warn(r.cfg.Log, now, "no instance takes the frame", "from", r.cfg.Group, "to", group, "quality", f.Quality, "error", err)
			r.settle(f, ReasonNoRoute, now)
			return
		}
		if offer.Node == r.cfg.Node {
			r.local.Receive(offer.Instance, f)
			return
		}
		if routes.outboxes[keyOf(offer)].queue.Push(f, now) {
			return
		}
		// The outbox was closed meanwhile: its offer is gone, or all are.
		if r.ended() {
			r.settle(f, ReasonShutdown, now)
			return
		}
	}
}

// turn is the number of the next turn.
func (r *Router) turn(of rota) uint64 {
	r.turning.Lock()
	defer r.turning.Unlock()
	n, ok := r.turns[of]
	if !ok && len(r.turns) >= maxRotas {
		clear(r.turns)
	}
	r.turns[of] = n + 1
	return r.cfg.Turn + n + 1
}

// Fit is how pictures are brought to the input of the detector that the frame
// goes to next; false: no offer says.
func (r *Router) Fit(f *Frame) (tiering.Fit, bool) {
	routes := r.routes.Load()
	for _, group := range routes.groups {
		for _, o := range routes.offers[group] {
			if o.Fit != "" && (o.Accepts.Resolution == f.Quality || o.Accepts.Resolution == 0) && (f.Analyser == "" || o.Accepts.Model == "" || o.Accepts.Model == f.Analyser) {
				return o.Fit, true
			}
		}
	}
	return "", false
}

// Run sends what waits for other nodes until ctx ends; then it settles the
// rest as ReasonShutdown.
func (r *Router) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	running := map[*outbox]bool{}
	for {
		current := map[*outbox]bool{}
		for _, box := range r.routes.Load().outboxes {
			current[box] = true
			if !running[box] {
				workers.Go(func() { box.run(ctx, r.cfg.Concurrency) })
			}
		}
		running = current
		select {
		case <-r.changed:
			continue
		case <-ctx.Done():
		}
		workers.Wait()
		r.mu.Lock()
		r.closed = true
		r.mu.Unlock()
		for _, box := range r.routes.Load().outboxes {
			box.queue.Close(time.Now())
		}
		return nil
	}
}

// Waiting is the number of frames in the outboxes.
func (r *Router) Waiting() int {
	n := 0
	for _, box := range r.routes.Load().outboxes {
		n += box.queue.Len()
	}
	return n
}

// Unsent is 0 once no frame waits in an outbox or is being sent.
func (r *Router) Unsent() int {
	return r.Waiting() + int(r.sending.Load()) // in this order: so frames go
}

func (r *Router) ended() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

func (r *Router) settle(f *Frame, reason Reason, now time.Time) {
	f.Settle(Outcome{Reason: reason, Stage: r.cfg.Group, Age: f.Age(now)})
}

func sortedSet(names []string) []string {
	out := slices.Clone(names)
	slices.Sort(out)
	return slices.Compact(out)
}
