package testbed

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/dnslabel"
	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

const (
	maxNodes   = 200
	maxLinks   = maxNodes * (maxNodes - 1) / 2
	maxEvents  = 1000
	maxDelay   = time.Minute
	maxQueue   = 1_000_000 // packets
	maxLength  = 7 * 24 * time.Hour
	maxSamples = 100_000
	minQuota   = 10 // thousandths of a core: the least that Linux gives a cgroup, 1 ms in 100
)

// checker finds what is wrong with the meaning of a document, and makes the
// scenario of it on the way.
type checker struct {
	*yamlfile.Document
	file     string
	in       *document
	problems yamlfile.Problems
	s        *Scenario

	entries []int // of each source and then each of the reserve: its item in spec.sources
}

func (c *checker) add(field, format string, args ...any) {
	c.problems = append(c.problems, c.Problem(field, format, args...))
}

// line is where the field stands.
func (c *checker) line(field string) int { return c.Problem(field, "").Line }

// unknown reports a word that is none of the known ones.
func (c *checker) unknown(field, what, word string, known []string) {
	guess := ";"
	if len(c.problems) < 20 { // guessing costs more than checking
		guess = cmp.Or(yamlfile.DidYouMean(word, known), guess)
	}
	c.add(field, "unknown %s %q%s use %s", what, word, guess, oneOf(known))
}

func (c *checker) check() {
	spec := &c.in.Spec
	if c.in.APIVersion != APIVersion {
		c.add("apiVersion", "unknown version %q; use %q", c.in.APIVersion, APIVersion)
	}
	if c.in.Kind != Kind {
		c.add("kind", "unknown kind %q; use %q", c.in.Kind, Kind)
	}
	c.label("metadata.name", c.in.Metadata.Name)
	c.s.Name = c.in.Metadata.Name
	c.s.Seed = or(spec.Seed, defaultSeed)
	c.s.CPUScale = or(spec.CPUScale, defaultScale)
	if !(c.s.CPUScale > 0 && c.s.CPUScale <= 1) {
		c.add("spec.cpuScale", "%g is out of range; use a factor above 0 and at most 1", c.s.CPUScale)
	}
	if spec.SlowCores && c.s.CPUScale < pipeline.LeastSpeed {
		c.add("spec.cpuScale", "%g is out of range for slow cores; use at least %g", c.s.CPUScale, pipeline.LeastSpeed)
	}
	c.s.CPUOverhead, c.s.SlowCores = int64(or(spec.CPUOverhead, 0)), spec.SlowCores
	c.measure()
	c.s.Costs = c.costs("spec.costs", &c.in.Spec.Costs)
	if !c.atMost("links of network.tiers", "spec.network.tiers", len(spec.Network.Tiers), 6) ||
		!c.atMost("links", "spec.network.links", len(spec.Network.Links), maxLinks) ||
		!c.atMost("events", "spec.timeline", len(spec.Timeline), maxEvents) || !c.nodes() {
		return // the rest is about nodes
	}
	joined := c.network()
	placed := c.sources()
	if joined && placed {
		c.timeline()
	}
}

func (c *checker) atMost(what, field string, n, most int) bool {
	if n > most {
		c.add(field, "%d %s; at most %d are allowed", n, what, most)
	}
	return n <= most
}

func (c *checker) label(field, name string) bool {
	ok := dnslabel.Valid(name)
	if !ok {
		c.add(field, "%q is no name; use lower-case letters, digits and dashes, at most 63, with a letter or digit at both ends", name)
	}
	return ok
}

// names expands a name with its count: cam, 3 is cam-1, cam-2, cam-3.
func names(name string, count *int) []string {
	if count == nil {
		return []string{name}
	}
	var out []string
	for i := range *count {
		out = append(out, numbered(name, i+1))
	}
	return out
}

func numbered(name string, i int) string { return fmt.Sprintf("%s-%d", name, i) }

// nodes expands the nodes; false: later checks would stumble over them.
func (c *checker) nodes() bool {
	before := len(c.problems)
	if len(c.in.Spec.Nodes) == 0 {
		c.add("spec.nodes", "no nodes; give at least one")
		return false
	}
	total := 0
	for i := range c.in.Spec.Nodes {
		n, field := &c.in.Spec.Nodes[i], yamlfile.Item("spec.nodes", i)
		c.node(field, n)
		if count := or(n.Count, 1); count < 1 || count > maxNodes {
			c.add(field+".count", "%d is out of range; use 1 to %d", count, maxNodes)
			continue
		}
		total += or(n.Count, 1)
		if total > maxNodes {
			c.add(field, "more than %d nodes; use fewer", maxNodes)
			return false
		}
		for _, name := range names(n.Name, n.Count) {
			if !c.expandNode(i, name) {
				break // the others have the same mistake
			}
		}
	}
	if len(c.problems) == before {
		c.roles()
	}
	return len(c.problems) == before
}

// node checks what is right or wrong of one entry on its own.
func (c *checker) node(field string, n *nodeForm) {
	if c.label(field+".name", n.Name) && n.Count == nil {
		if _, err := tiering.ParseTier(n.Name); err == nil {
			c.add(field+".name", "%q is a tier; use another name, or a count, which makes %s-1 of it", n.Name, n.Name)
		}
	}
	if n.Tier == 0 {
		c.add(field+".tier", "no tier; use edge, fog or cloud")
	}
	if quota := 1000 * c.s.Quota(Node{Cores: int64(n.Cores)}, c.s.CPUScale); n.Cores == 0 {
		c.add(field+".cores", "a node needs processor time; give cores such as 1 or 500m")
	} else if c.s.CPUScale > 0 && quota < minQuota {
		c.add(field+".cores", "%g at a cpuScale of %g is less than the %dm that a node can have; give more cores, a larger scale, or a cpuOverhead",
			float64(n.Cores)/1000, c.s.CPUScale, minQuota)
	}
	if n.Memory == 0 {
		c.add(field+".memory", "a node needs memory; give an amount such as 2GiB")
	}
	if n.Coordinator && n.Tier == tiering.Edge {
		c.add(field+".coordinator", "no node at the edge coordinates: whoever carries it away would have the mesh; make a fog or cloud node the coordinator")
	}
	if n.Broker && n.Tier == tiering.Edge {
		c.add(field+".broker", "no node at the edge has the mesh's broker: whoever carries it away would read every frame there; give a fog or cloud node the broker")
	}
	if n.Dedicated && !n.Coordinator {
		c.add(field+".dedicated", "only a coordinator can be dedicated; add coordinator: true, or remove the key")
	}
}

func (c *checker) expandNode(entry int, name string) bool {
	n, field := &c.in.Spec.Nodes[entry], yamlfile.Item("spec.nodes", entry)
	if len(name) > 63 && len(n.Name) <= 63 {
		c.add(field+".name", "%q is longer than 63 characters; use a shorter name", name)
		return false
	}
	if c.has(name) {
		c.add(field+".name", "there is a node %q already; names must differ", name)
		return false
	}
	c.s.Nodes = append(c.s.Nodes, Node{
		Name: name, Tier: n.Tier, Cores: int64(n.Cores), Memory: int64(n.Memory),
		Disk: int64(or(n.Disk, defaultDisk)), Coordinator: n.Coordinator, Dedicated: n.Dedicated, Broker: n.Broker,
	})
	return true
}

// roles checks how many coordinators and brokers there are.
func (c *checker) roles() {
	var coordinators, brokers []string
	for _, n := range c.s.Nodes {
		if n.Coordinator {
			coordinators = append(coordinators, n.Name)
		}
		if n.Broker {
			brokers = append(brokers, n.Name)
		}
	}
	switch n := len(coordinators); {
	case n == 0:
		c.add("spec.nodes", "no coordinator; give one node, or 3 or 5, coordinator: true")
	case n != 1 && n != 3 && n != 5:
		c.add("spec.nodes", "%d coordinators (%s); use 1, 3 or 5, so that a majority survives", n, enumerate(coordinators, "and"))
	}
	if len(brokers) > 1 {
		c.add("spec.nodes", "%d brokers (%s); the mesh has one at most", len(brokers), enumerate(brokers, "and"))
	}
}

func (c *checker) has(node string) bool {
	return slices.ContainsFunc(c.s.Nodes, func(n Node) bool { return n.Name == node })
}

// nodeNames lists the nodes, and tierNames the tiers.
func (c *checker) nodeNames() []string {
	var out []string
	for _, n := range c.s.Nodes {
		out = append(out, n.Name)
	}
	return out
}

func tierNames() []string {
	var out []string
	for _, t := range tiering.Tiers() {
		out = append(out, t.String())
	}
	return out
}

func (c *checker) measure() {
	m := &c.in.Spec.Measure
	c.s.Measure = Measure{
		Warmup: or(m.Warmup, defaultWarmup), Duration: or(m.Duration, defaultDuration), Every: or(m.Every, defaultEvery),
	}
	if w := c.s.Measure.Warmup; w < 0 || w > maxLength {
		c.add("spec.measure.warmup", "%v is out of range; use 0s to %v", w, maxLength)
	}
	d, every := c.s.Measure.Duration, c.s.Measure.Every
	if d <= 0 || d > maxLength {
		c.add("spec.measure.duration", "%v is out of range; use a duration above 0s and at most %v", d, maxLength)
		return
	}
	if every <= 0 || every > d {
		c.add("spec.measure.every", "%v is out of range; use a duration above 0s and at most the %v of the run", every, d)
	} else if (d+c.s.Measure.Warmup)/every > maxSamples {
		c.add("spec.measure.every", "a sample every %v would be more than %d; sample less often", every, maxSamples)
	}
}

// costs checks the costs at a field, but for the tasks' names, which the
// workflow knows.
func (c *checker) costs(at string, in *costsForm) (out Costs) {
	field := func(key string) string { return yamlfile.Key(at, key) }
	out.Capture = c.time(field("capture"), in.Capture)
	out.Input, out.Idle, out.Coordinate, out.Detect, out.Return = in.Input, in.Idle, in.Coordinate, in.Detect, in.Return
	if in.Input != nil && !(*in.Input > 0 && *in.Input <= maxFPS) {
		c.add(field("input"), "%g is out of range; use pictures a second such as 25, at most %d", *in.Input, maxFPS)
	}
	c.cores(field("idle"), in.Idle)
	c.cores(field("coordinate"), in.Coordinate)
	c.length(field("detect"), in.Detect)
	c.length(field("return"), in.Return)
	if len(in.Tasks) > 0 {
		out.Tasks = map[string]TaskCosts{}
	}
	for _, name := range sortedKeys(in.Tasks) {
		t, field := in.Tasks[name], yamlfile.Key(field("tasks"), name)
		c.length(field+".start", t.Start)
		out.Tasks[name] = TaskCosts{
			Work: c.time(field+".work", t.Work), Send: c.time(field+".send", t.Send), Receive: c.time(field+".receive", t.Receive),
			Bytes: (*int64)(t.Bytes), Start: t.Start, Filtered: t.Filtered, Kept: t.Kept,
		}
		if x := t.Filtered; x != nil && !(*x >= 0 && *x <= 1) {
			c.add(field+".filtered", "%g is out of range; use the share of frames that a filter lets go no further, from 0 to 1", *x)
		}
		if x := t.Kept; x != nil && !(*x >= 0 && *x <= 1) {
			c.add(field+".kept", "%g is out of range; use the share of accuracy that a filter leaves, from 0 to 1", *x)
		}
	}
	return out
}

func (c *checker) time(field string, t *timeForm) *Time {
	const most = 100 // standard deviations over mean; no measured time has as many
	if t == nil {
		return nil
	}
	c.length(field, &t.Mean)
	if t.CV < 0 || t.CV > most {
		c.add(field+".cv", "%g is out of range; use a standard deviation over the mean, from 0 to %d", t.CV, most)
	}
	return &Time{Mean: t.Mean, CV: t.CV}
}

func (c *checker) cores(field string, n *float64) {
	const most = 1000
	if n != nil && !(*n >= 0 && *n <= most) {
		c.add(field, "%g is out of range; use a number of cores such as 0.01", *n)
	}
}

func (c *checker) length(field string, d *time.Duration) {
	if d != nil && (*d < 0 || *d > maxLength) {
		c.add(field, "%v is out of range; use a duration from 0s to %v", *d, maxLength)
	}
}

// oneOf lists alternatives: "a, b or c".
func oneOf(words []string) string { return enumerate(words, "or") }

// enumerate lists words: "a, b and c"; a long list is cut.
func enumerate(words []string, last string) string {
	const most = 12
	if len(words) > most {
		return strings.Join(words[:most], ", ") + ", …"
	}
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	n := len(words) - 1
	return strings.Join(words[:n], ", ") + " " + last + " " + words[n]
}
