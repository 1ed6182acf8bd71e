package sim

import (
	"slices"
	"time"

	"github.com/weft-mesh/weft/testbed/sim/des"
	"github.com/weft-mesh/weft/tiering"
)

// The kinds of events. Those from evControl on are not of the data plane.
const (
	evProcessor uint8 = iota // a: node, c: generation
	evCapture                // a: feed
	evWritten                // a: peer, c: generation of the write
	evLate                   // a: frame, c: generation
	evArrive                 // a: frame, c: generation
	evGiveUp                 // a: frame, c: generation
	evDialled                // a: peer, c: generation of the dial
	evSilent                 // a: peer, c: generation of the stall
	evResume                 // a: peer, c: generation of the stall
	evLinger                 // a: instance
	evFeedEnd                // a: feed
	evControl
)

// plane is the data plane: nodes, links between them, and the frames. It knows
// nothing of who decides what runs where.
//
// Everything is in slices and refers to everything else by index; -1, none, is
// nothing. So a frame costs no allocation, and a run can be repeated to the
// bit.
type plane struct {
	q      des.Queue
	seed   uint64
	rules  rules
	rtt    tiering.RoundTrips // that discovery goes by
	wiring uint64             // counts the changes of what rtt answers
	stats  *stats

	nodes     []node
	peers     []peer // by pair, see peerOf
	feeds     []feed
	instances []instance
	routers   []router
	boxes     []outbox
	slots     []slot
	slotIndex map[string]int32
	tasks     []task
	wants     []tiering.Data // that frames ask for, each once; the first is any

	frames  []frame
	free    []int32
	scratch []int32 // parts of frames being split
	streams map[string]des.Stream

	other func(des.Event)  // handles events from evControl on
	ended func(node int32) // is told when something on the node has ended; may be nil
	err   error            // why the run cannot go on
}

// rules are the sizes and policies of queues; the real ones but for tests.
type rules struct {
	stage   policy
	outbox  policy
	senders int  // frames on their way out of an outbox at a time; 0: any number
	poisson bool // sources capture at random moments, at their mean rate
}

// realRules are those of package agent.
func realRules() rules {
	return rules{stage: policy{limit: 4, skip: true}, outbox: policy{limit: 4}, senders: 4}
}

// node is a machine.
type node struct {
	name   string
	tier   tiering.Tier
	cpu    processor
	idle   float64 // cores taken while it is up
	up     bool
	paused bool
	ran    time.Duration // until since, in all
	since  time.Duration // when it began to run or stopped
	board  []int32       // instance that takes the frames, by slot
	turns  turns
}

func (n *node) running() bool { return n.up && !n.paused }

// slot is a placement: it stays the same when the instance moves.
type slot struct {
	id   string
	task int32 // none: a source's
}

// task is a task of the workflow with what it costs.
type task struct {
	name          string
	rank          int // pipeline.Turns
	work          timing
	send, receive timing
	bytes         int64 // negative: not known
	start         time.Duration
	filtered      float64 // share of its frames that go no further
}

// timing is a testbed.Time; one that is not known has a negative mean.
type timing struct {
	mean time.Duration
	cv   float64
}

func (t timing) draw(s des.Stream) time.Duration { return s.Gamma(t.mean, t.cv) }

func (t timing) known() bool { return t.mean >= 0 }

func newPlane(seed uint64, r rules, s *stats) *plane {
	return &plane{seed: seed, rules: r, stats: s, streams: map[string]des.Stream{}, slotIndex: map[string]int32{}, wants: []tiering.Data{{Type: "image"}}}
}

// wantOf returns the number of what frames of a quality ask for.
func (p *plane) wantOf(q tiering.Quality) int32 {
	want := tiering.Data{Type: "image", Resolution: q.Resolution, Model: q.Model}
	i := slices.Index(p.wants, want)
	if i < 0 {
		i = len(p.wants)
		p.wants = append(p.wants, want)
	}
	return int32(i)
}

func (p *plane) now() time.Duration { return p.q.Now() }

// stream returns the random numbers of that name, where they had got to.
func (p *plane) stream(name string) des.Stream {
	s, ok := p.streams[name]
	if !ok {
		s = des.NewStream(p.seed, name)
		p.streams[name] = s
	}
	return s
}

// addNode adds a node that is up; connect says what it is joined to.
func (p *plane) addNode(name string, tier tiering.Tier, cpu processor, idle float64) int32 {
	n := node{name: name, tier: tier, cpu: cpu, idle: idle, up: true}
	for range p.slots {
		n.board = append(n.board, none)
	}
	p.nodes = append(p.nodes, n)
	return int32(len(p.nodes) - 1)
}

// slotOf returns the number of a placement.
func (p *plane) slotOf(id string, task int32) int32 {
	if i, ok := p.slotIndex[id]; ok {
		return i
	}
	i := int32(len(p.slots))
	p.slotIndex[id] = i
	p.slots = append(p.slots, slot{id, task})
	for k := range p.nodes {
		p.nodes[k].board = append(p.nodes[k].board, none)
	}
	return i
}

// handle carries out one event.
func (p *plane) handle(e des.Event) {
	switch e.Kind {
	case evProcessor:
		p.processed(e.A, e.C)
	case evCapture:
		p.grab(e.A)
	case evWritten:
		p.written(e.A, e.C)
	case evLate:
		p.cancelLate(e.A, e.C)
	case evArrive:
		p.arrive(e.A, e.C)
	case evGiveUp:
		p.giveUp(e.A, e.C)
	case evDialled:
		p.dialled(e.A, e.C)
	case evSilent:
		p.silent(e.A, e.C)
	case evResume:
		p.resume(e.A, e.C)
	case evLinger:
		p.linger(e.A)
	case evFeedEnd:
		p.closeFeed(e.A, shutdown)
	default:
		p.other(e)
	}
}

// work puts a job on a node's processor; one that takes no time is done at
// once.
func (p *plane) work(n int32, d time.Duration, kind jobKind, a, b int32) {
	if d <= 0 {
		p.jobDone(kind, a, b)
		return
	}
	cpu := &p.nodes[n].cpu
	if kind == jobStart { // slow cores slow down stages alone
		d = time.Duration(float64(d) * cpu.speed)
	}
	cpu.add(p.now(), d, kind, a, b)
	p.wake(n)
}

// wake schedules what happens next on a processor, if that is earlier than
// what is scheduled already. If it is later, the event that comes too early
// schedules it.
func (p *plane) wake(n int32) {
	cpu := &p.nodes[n].cpu
	if at := cpu.next(); at < cpu.wake {
		cpu.wake = at
		cpu.gen++
		p.q.Add(at, evProcessor, n, 0, cpu.gen)
	}
}

// processed ends the jobs that are done.
func (p *plane) processed(n int32, gen uint32) {
	if p.nodes[n].cpu.gen != gen {
		return
	}
	// What the jobs lead to wakes the processor anew.
	p.nodes[n].cpu.wake = 0
	for {
		j, ok := p.nodes[n].cpu.done(p.now())
		if !ok {
			break
		}
		p.jobDone(j.kind, j.a, j.b)
	}
	p.nodes[n].cpu.wake = never
	p.wake(n)
}

func (p *plane) jobDone(kind jobKind, a, b int32) {
	switch kind {
	case jobCapture:
		p.captured(a)
	case jobSend:
		p.encoded(a)
	case jobReceive:
		p.deliverTo(a)
	case jobWork:
		p.worked(a, b)
	case jobStart:
		p.started(a)
	}
}
