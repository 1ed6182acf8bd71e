package tiering

import "math"

// fullLink is the share of its rate that a link is to be planned for. Frames
// come at random: beyond it they wait for each other.
const fullLink = 0.7

// uplink is what the node's way up carries, in bits a second.
func (n *Node) uplink() float64 {
	if n.Uplink <= 0 {
		return math.Inf(1)
	}
	return float64(n.Uplink)
}

// gamma is γ of equation 2, the bits that stand for a pixel: of JPEG as pictures
// of streets and COCO come to at quality 90, of PNG about half of what is raw.
func gamma(e Encoding) float64 {
	switch e {
	case Raw:
		return 24
	case PNG:
		return 12
	}
	return 2.4
}

// inflow is what comes to a group from instances on a tier, in bits a second,
// and the most that could come from the fog, if adaptation gives all frames to
// what is there.
type inflow struct{ fog, cloud, most float64 }

// turn has instances of HI tasks turn to the fog first where the cloud is out of
// reach.
//
// Section VI-B sends HI to the cloud by what the cloud has free. But a tier is
// of no use to a task that its links bring no frames to, and the paper finds
// itself that its cloud pipeline loses where "the Fog-Cloud network performance is
// constrained" (VII-B). So where nodes say what their uplinks carry:
//
//   - a task that frames of the edge come to turns to the fog if the ways to the
//     cloud, which pass the fog, carry less of its share of them (equation 2:
//     S = γ·f·r²);
//   - of a task that follows others as many instances as those send it frames
//     from the fog turn to it, if the fog's uplinks do not carry these. Discovery
//     goes to the nearest, so that each tier then keeps its own.
//
// Nothing is known of rates of sources that do not say theirs, and then nothing
// turns. Instances that run stay where they are.
func (s *scheduler) turn(missing []instance) {
	if !s.limited() {
		return
	}
	from := map[string]inflow{} // what leaves a group's instances off the edge
	for i := range s.workflow.Tasks {
		t := &s.workflow.Tasks[i]
		in := s.inflow(t.Group, from)
		var turned int
		switch n := max(1, t.Replicas); {
		case s.classes[i].category == HI && in == (inflow{}):
			if s.carried(t, Cloud) < 0.99*s.carried(t, Fog) {
				turned = n
			}
		case s.classes[i].category == HI:
			turned = s.split(in, n)
		}
		s.turnSome(i, missing, turned)
		s.outflow(i, missing, from)
	}
}

// limited reports whether links could be too slow for anything: some node said
// what its uplink carries, and every source its rate.
func (s *scheduler) limited() bool {
	for i := range s.workflow.Sources {
		if s.workflow.Sources[i].FPS <= 0 {
			return false
		}
	}
	if n := len(s.view.mesh.uplinks); n > 0 && !math.IsInf(s.view.mesh.uplinks[n-1], 1) {
		return true
	}
	for _, anchors := range s.at { // where sources are, and what runs
		for _, a := range anchors {
			if s.view.mesh.nodes[a.node].Uplink > 0 {
				return true
			}
		}
	}
	return false
}

// share is which part of a group's frames a task gets: as its instances.
func (s *scheduler) share(t *Task) float64 {
	all := 0
	for i := range s.workflow.Tasks {
		if o := &s.workflow.Tasks[i]; o.Group == t.Group {
			all += max(1, o.Replicas)
		}
	}
	return float64(max(1, t.Replicas)) / float64(all)
}

// bits is the size of a frame of a resolution on its way into a group.
func (s *scheduler) bits(group string, resolution int) float64 {
	for _, l := range s.workflow.Links {
		if l.To == group {
			return gamma(l.Encoding) * float64(resolution) * float64(resolution)
		}
	}
	return 0
}

// carried is what ways from the sources' nodes to a tier carry of the task's
// share of their frames, in bits a second. Each has the fog's uplink for itself, as
// in the testbed: of one that several share, a node has to say what each can count on.
func (s *scheduler) carried(t *Task, to Tier) float64 {
	demand, hosts := map[int32]float64{}, []int32(nil)
	share, pixel := s.share(t), s.bits(t.Group, 1)
	for i := range s.workflow.Sources {
		src := &s.workflow.Sources[i]
		resolution := src.Resolution
		if t.Model != nil {
			resolution = t.Model.Resolution
		}
		for _, a := range s.at[src.Name] {
			if _, seen := demand[a.node]; !seen {
				hosts = append(hosts, a.node)
			}
			demand[a.node] += src.FPS * share * pixel * float64(resolution) * float64(resolution)
		}
	}
	sum := 0.0
	for _, n := range hosts { // in an order that is always the same
		way := s.view.mesh.nodes[n].uplink()
		if up := s.view.mesh.uplinks; to == Cloud && len(up) > 0 {
			way = min(way, up[0])
		}
		sum += min(demand[n], fullLink*way)
	}
	return sum
}

// inflow is what comes to a group from groups whose instances are off the edge;
// nothing: its frames come from the edge.
func (s *scheduler) inflow(group string, from map[string]inflow) (in inflow) {
	for _, name := range s.workflow.Predecessors(group) {
		in.fog += from[name].fog
		in.cloud += from[name].cloud
		in.most += from[name].most
	}
	return in
}

// outflow adds what leaves a task for the groups after it, from where its
// instances run and where those that are missing turn to.
func (s *scheduler) outflow(task int, missing []instance, from map[string]inflow) {
	t, c := &s.workflow.Tasks[task], s.classes[task]
	if !c.category.Intensive() {
		return
	}
	resolution, rate := 0, 0.0
	for i := range s.workflow.Sources {
		rate += s.workflow.Sources[i].FPS
		resolution = max(resolution, s.workflow.Sources[i].Resolution)
	}
	if t.Model != nil {
		resolution = t.Model.Resolution
	}
	next := ""
	for _, l := range s.workflow.Links {
		if l.From == t.Group {
			next = l.To
		}
	}
	flow := rate * s.share(t) * s.bits(next, resolution)
	here, all := 0, 0
	for _, n := range s.running[task] {
		all++
		if s.view.mesh.nodes[n].Tier == Fog {
			here++
		}
	}
	for i := range missing {
		if missing[i].task == task {
			all++
			if s.class(&missing[i]).tiers[0] == Fog {
				here++
			}
		}
	}
	fog := float64(here) / float64(max(1, all))
	out := from[t.Group]
	out.fog += fog * flow
	out.cloud += (1 - fog) * flow
	if fog > 0 {
		out.most = max(out.most, flow/s.share(t))
	}
	from[t.Group] = out
}

// split is how many of n instances are to be in the fog for what comes from
// there.
func (s *scheduler) split(in inflow, n int) int {
	carries := 0.0
	for _, up := range s.view.mesh.uplinks {
		carries += up
	}
	if in.most <= fullLink*carries {
		return 0
	}
	if n == 1 {
		if in.fog >= in.cloud {
			return 1
		}
		return 0
	}
	m := int(math.Round(float64(n) * in.fog / (in.fog + in.cloud)))
	if in.cloud > 0 {
		m = min(m, n-1)
	}
	return max(m, 1)
}

// turnSome has missing instances of a task turn until so many do, with those
// that run in the tier that it does not prefer.
func (s *scheduler) turnSome(task int, missing []instance, want int) {
	c := s.classes[task]
	for _, n := range s.running[task] {
		if s.view.mesh.nodes[n].Tier == c.tiers[1] {
			want--
		}
	}
	var other *class
	for i := range missing {
		if missing[i].task != task || want <= 0 {
			continue
		}
		if other == nil {
			other = s.turnedClass(c)
		}
		missing[i].class = other
		want--
	}
}

// turnedClass is the class turned, the same pointer each time.
func (s *scheduler) turnedClass(c *class) *class {
	for _, o := range s.turned {
		if o.same(c.turned()) {
			return o
		}
	}
	o := c.turned()
	s.turned = append(s.turned, o)
	return o
}
