package testbed

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/yamlfile"
)

// happening is an event with the item of the timeline that it comes from.
type happening struct {
	Event
	entry int
	until time.Duration // end of what the item's for keeps up; zero: no for
	ends  bool          // it is that end
}

// field is where the event is in the document.
func (h happening) field() string { return yamlfile.Item("spec.timeline", h.entry) }

// opposites are what ends an action.
var opposites = map[Action]Action{Kill: Start, Stop: Start, Pause: Resume, Drain: Undrain, Partition: Heal, Change: Restore}

// byTime lists the items of the timeline in order of time.
func (c *checker) byTime() []int {
	events := c.in.Spec.Timeline
	order := make([]int, len(events))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, k int) int { return cmp.Compare(events[i].At, events[k].At) })
	return order
}

// timeline expands the events, and checks that each makes sense after those
// before it.
func (c *checker) timeline() {
	var all, good []happening
	start := NewTopology(c.s)
	for _, i := range c.byTime() {
		h, ok := c.event(i)
		if !ok {
			continue
		}
		if c.fits(h, all, start) {
			good = append(good, h)
			if h.until > 0 {
				end := happening{Event: Event{At: h.until, Action: opposites[h.Action], Node: h.Node, Ends: h.Ends}, entry: i, ends: true}
				good = append(good, end)
			}
		}
		all = append(all, h)
	}
	slices.SortStableFunc(good, func(a, b happening) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.entry, b.entry))
	})
	c.walk(good)
	for _, h := range good {
		c.s.Timeline = append(c.s.Timeline, h.Event)
	}
}

// event reads one item of the timeline.
func (c *checker) event(i int) (happening, bool) {
	in, field := &c.in.Spec.Timeline[i], yamlfile.Item("spec.timeline", i)
	before := len(c.problems)
	h := happening{Event: Event{At: in.At}, entry: i}
	if d := c.s.Measure.Duration; in.At < 0 {
		c.add(field+".at", "%v is before the start; use a time from the end of the warm-up on", in.At)
	} else if in.At >= d {
		c.add(field+".at", "at %v the run is over (spec.measure.duration is %v); use an earlier time, or a longer duration", in.At, d)
	}
	var given []string
	node := func(action Action, name *string) {
		if name == nil {
			return
		}
		given = append(given, string(action))
		h.Action, h.Node = action, *name
		if !c.has(*name) {
			c.unknown(field+"."+string(action), "node", *name, c.nodeNames())
		}
	}
	node(Kill, in.Kill)
	node(Stop, in.Stop)
	node(Start, in.Start)
	node(Pause, in.Pause)
	node(Resume, in.Resume)
	node(Drain, in.Drain)
	node(Undrain, in.Undrain)
	ends := func(action Action, key string, words []string) {
		if at := field + "." + key; c.Has(at) {
			given = append(given, string(action))
			h.Action = action
			h.Ends, _ = c.ends(at, words)
		}
	}
	ends(Partition, "partition", in.Partition)
	ends(Heal, "heal", in.Heal)
	ends(Restore, "restore", in.Restore)
	if in.Link != nil {
		ends(Change, "link.between", in.Link.Between)
		c.linkValues(field+".link", in.Link)
		if h.Link = in.Link.change(); h.Link == (LinkChange{}) {
			c.add(field+".link", "nothing changes; give at least one of delay, jitter, rate, loss and queue")
		}
	}
	if in.Sources != nil {
		given = append(given, string(Sources))
		h.Action, h.Count = Sources, int(*in.Sources)
		if len(c.s.Sources) == 0 {
			c.add(field+".sources", "the scenario has no sources of its own to take more or fewer of; add spec.sources")
		}
	}
	switch len(given) {
	case 0:
		c.add(field, "nothing happens; give one of kill, stop, start, pause, resume, drain, undrain, partition, heal, link, restore and sources")
	case 1:
		c.lasts(field, in, &h)
	default:
		c.add(field, "%s at once; make an item of each", enumerate(given, "and"))
	}
	return h, len(c.problems) == before
}

// lasts reads an item's for.
func (c *checker) lasts(field string, in *eventForm, h *happening) {
	if in.For == nil {
		return
	}
	field += ".for"
	if _, ok := opposites[h.Action]; !ok {
		c.add(field, "%s has no end; remove the key, and write the opposite as an item of its own", h.Action)
		return
	}
	if *in.For <= 0 {
		c.add(field, "%v is no time; use a duration above 0s", *in.For)
		return
	}
	h.until = h.At + min(*in.For, maxLength)
	if d := c.s.Measure.Duration; h.until >= d && h.At < d {
		c.add(field, "at %v, when this would end, the run is over (spec.measure.duration is %v); use a shorter time, or remove the key",
			h.At+*in.For, d)
	}
}

// fits reports whether an event leaves alone what the items before it happen
// to at the same moment or keep up with a for.
func (c *checker) fits(h happening, before []happening, start *Topology) bool {
	for _, b := range before {
		switch {
		case b.At == h.At && b.sameThing(h):
			c.add(h.field(), "line %d does something to the %s at %v, too; keep one, or move it", c.line(b.field()), h.thing(), h.At)
			return false
		case b.until >= h.At && b.touches(h, start):
			c.add(h.field(), "until %v the %s is as line %d has it (%s at %v, with a for); move one of the two, or remove that for",
				b.until, h.thing(), c.line(b.field()), b.Event, b.At)
			return false
		}
	}
	return true
}

// thing is what an event happens to.
func (h happening) thing() string {
	switch h.class() {
	case classNode:
		return "node " + h.Node
	case classDrain:
		return "drain of node " + h.Node
	case classCut:
		return "partition " + h.Ends.String()
	case classLink:
		return "link " + h.Ends.String()
	}
	return "number of sources"
}

type class uint8

const (
	classNode class = iota
	classDrain
	classCut
	classLink
	classSources
)

func (h happening) class() class {
	switch h.Action {
	case Drain, Undrain:
		return classDrain
	case Partition, Heal:
		return classCut
	case Change, Restore:
		return classLink
	case Sources:
		return classSources
	}
	return classNode
}

func (h happening) sameThing(o happening) bool {
	return h.class() == o.class() && h.Node == o.Node && h.Ends.same(o.Ends)
}

// touches reports whether the end of one would undo the other.
func (h happening) touches(o happening, t *Topology) bool {
	if h.class() == classLink && o.class() == classLink {
		return t.touch(h.Ends, o.Ends)
	}
	return h.sameThing(o)
}

// walk goes through the run and reports what contradicts the state it finds.
func (c *checker) walk(events []happening) {
	w := walker{c: c, topology: NewTopology(c.s), nodes: map[string]happening{}, drains: map[string]happening{}, run: len(c.s.Sources)}
	for _, h := range events {
		if err := w.step(h); err != nil {
			c.add(h.field(), "%v", err)
		}
	}
}

type walker struct {
	c        *checker
	topology *Topology
	nodes    map[string]happening // last that happened to a node
	drains   map[string]happening // nodes that drain
	cuts     []happening          // partitions
	run      int                  // sources
}

func (w *walker) step(h happening) error {
	switch h.class() {
	case classNode:
		return w.node(h)
	case classDrain:
		return w.drain(h)
	case classSources:
		if w.run+h.Count < 1 {
			return fmt.Errorf("at %v only %d sources run, of which one has to stay; remove fewer", h.At, w.run)
		}
		if w.run += h.Count; w.run > maxSources {
			return fmt.Errorf("at %v this makes %d sources; at most %d may run", h.At, w.run, maxSources)
		}
		return nil
	}
	changed := w.topology.changed(h.Ends)
	if err := w.topology.Apply(h.Event); err != nil {
		return w.contradiction(h, err)
	}
	switch {
	case h.Action == Partition:
		w.cuts = append(w.cuts, h)
	case h.Action == Heal:
		w.cuts = slices.DeleteFunc(w.cuts, h.sameThing)
	case h.Action == Change:
		w.jitter(h)
	case h.Action == Restore && !changed && !h.ends:
		return fmt.Errorf("at %v the link %s is what it was at the start; remove this item", h.At, h.Ends)
	}
	return nil
}

// contradiction words what the topology says, with the line that it is about.
func (w *walker) contradiction(h happening, err error) error {
	text := strings.TrimPrefix(err.Error(), ErrContradiction.Error()+": ")
	if i := slices.IndexFunc(w.cuts, h.sameThing); i >= 0 {
		return fmt.Errorf("at %v %s, since line %d; heal them first, or remove this item", h.At, text, w.c.line(w.cuts[i].field()))
	}
	if h.Action == Heal {
		return fmt.Errorf("at %v %s; remove this item", h.At, text)
	}
	return fmt.Errorf("%s; name ends that have nodes", text)
}

// jitter reports a change after which a link's jitter is more than its delay.
func (w *walker) jitter(h happening) {
	var wrong *Link
	w.topology.each(h.Ends, func(p *path, whole bool, part int) {
		l := p.link()
		if !whole {
			l = p.now[part]
		}
		if l.Jitter > l.Delay && wrong == nil {
			wrong = &l
		}
	})
	if wrong != nil {
		w.c.jitter(h.field()+".link", w.c.in.Spec.Timeline[h.entry].Link, *wrong)
	}
}

// drain checks that a drain begins once, and ends after it has begun. A node
// that is down may drain: it gets nothing when it returns.
func (w *walker) drain(h happening) error {
	began, draining := w.drains[h.Node]
	switch {
	case h.Action == Drain && draining:
		return fmt.Errorf("at %v %s is draining, since %v (line %d); remove this item, or undrain the node first", h.At, h.Node, began.At, w.c.line(began.field()))
	case h.Action == Undrain && !draining:
		return fmt.Errorf("at %v %s is not draining; remove this item, or drain the node first", h.At, h.Node)
	case h.Action == Drain:
		w.drains[h.Node] = h
	default:
		delete(w.drains, h.Node)
	}
	return nil
}

// node checks an event of a node against the last one.
func (w *walker) node(h happening) error {
	last, ever := w.nodes[h.Node]
	down := ever && (last.Action == Kill || last.Action == Stop)
	paused := ever && last.Action == Pause
	var wrong, remedy string
	switch {
	case h.Action == Start && !down:
		wrong, remedy = "runs", "remove this item, or kill or stop the node first"
	case h.Action == Resume && !paused:
		wrong, remedy = "is not paused", "remove this item, or pause the node first"
	case h.Action != Start && down:
		wrong, remedy = "is down", "remove this item, or start the node first"
	case h.Action == Pause && paused:
		wrong, remedy = "is paused", "remove this item, or resume the node first"
	case h.Action == Stop && paused:
		wrong, remedy = "is paused and can't say good-bye", "resume the node first, or kill it"
	default:
		w.nodes[h.Node] = h
		return nil
	}
	since := "since the start"
	if ever {
		since = fmt.Sprintf("since %v (%s, line %d)", last.At, last.Event, w.c.line(last.field()))
	}
	return fmt.Errorf("at %v weftd on %s %s, %s; %s", h.At, h.Node, wrong, since, remedy)
}
