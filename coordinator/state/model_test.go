package state

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/tiering"
)

// model is the state machine without haste: it carries a plan out on a copy
// and then looks whether the copy breaks a rule.
type model struct {
	nodes      map[string]tiering.Node
	alive      map[string]bool
	drain      map[string]bool
	versions   map[string]uint64 // that run, or ran
	latest     map[string]uint64
	next       map[string]*tiering.Workflow // that wait
	specs      map[string]*tiering.Workflow // not stopped
	placements map[string]tiering.Placement
}

// carryOut returns the placements after the plan, and whether every rule holds.
func (m *model) carryOut(spec *tiering.Workflow, p *tiering.Plan) (map[string]tiering.Placement, bool) {
	after := maps.Clone(m.placements)
	named := map[string]bool{}
	once := func(id string) bool {
		was := named[id]
		named[id] = true
		return !was
	}
	wanted := func(x tiering.Placement) bool {
		if x.Source {
			_, ok := spec.Source(x.Task)
			return ok
		}
		_, ok := spec.Task(x.Task)
		return ok
	}
	ok := true
	for _, id := range p.Remove {
		ok = ok && once(id) && after[id].Workflow == spec.Name
		delete(after, id)
	}
	for id, x := range m.placements {
		if x.Workflow == spec.Name && !wanted(x) {
			named[id] = true
			delete(after, id)
		}
	}
	for _, a := range p.Adjust {
		x := after[a.Placement]
		ok = ok && once(a.Placement) && x.ID != "" && x.Reserved == a.From && a.To.Fits(a.From) && x.Requested.Half().Fits(a.To)
		x.Reserved = a.To
		after[a.Placement] = x
	}
	for _, x := range p.Place {
		n := m.nodes[x.Node]
		old, was := m.placements[x.ID]
		if m.drain[x.Node] {
			ok = ok && was && (old.Node == x.Node || old.From == x.Node)
		}
		if x.From != "" {
			ok = ok && was && !x.Source && x.From != x.Node && (x.From == old.Node || x.From == old.From)
		}
		ok = ok && x.Switched == 0 && x.Stays == "" && once(x.ID) && m.alive[x.Node] && n.Tier == x.Tier && wanted(x) &&
			x.ID == fmt.Sprintf("%s/%s#%d", spec.Name, x.Task, x.Instance) && x.Workflow == spec.Name &&
			!(x.Category != tiering.NI && x.Category != "" && n.Tier == tiering.Edge) &&
			x.Reserved.Fits(x.Requested) && (!x.Category.Intensive() || x.Requested.Half().Fits(x.Reserved))
		after[x.ID] = x
	}
	for _, x := range p.Keep {
		ok = ok && m.placements[x.ID].Node == x.Node
	}
	for _, x := range p.Place {
		if free := m.free(after, x.Node); !(tiering.Resources{}).Fits(free) {
			ok = false // capacities do not shrink in this test
		}
	}
	return after, ok
}

// run has a workflow run in place of whatever there was under its name.
func (m *model) run(spec *tiering.Workflow) {
	m.latest[spec.Name]++
	m.versions[spec.Name], m.specs[spec.Name] = m.latest[spec.Name], spec
	delete(m.next, spec.Name)
}

// has reports whether a workflow has instances.
func (m *model) has(workflow string) bool {
	for _, x := range m.placements {
		if x.Workflow == workflow {
			return true
		}
	}
	return false
}

func (m *model) free(placements map[string]tiering.Placement, node string) tiering.Resources {
	free := m.nodes[node].Capacity
	for _, x := range placements {
		if x.Node == node {
			free = free.Sub(x.Reserved)
		}
	}
	return free
}

// undrain is the end of a drain: what has not moved stays, as far as there is
// room, in the order of names.
func (m *model) undrain(node string) {
	for id, x := range m.placements {
		if x.Node == node {
			x.Stays = ""
			m.placements[id] = x
		}
	}
	for _, id := range slices.Sorted(maps.Keys(m.placements)) {
		x := m.placements[id]
		if x.From == node && x.Switched == 0 && m.alive[node] && x.Reserved.Fits(m.free(m.placements, node)) {
			x.Node, x.Tier, x.From, x.Stays, x.Reason = node, m.nodes[node].Tier, "", "", "it was there when the drain ended"
			m.placements[id] = x
		}
	}
}

// restart is a node's death, or return: frames of what moves there go to where
// it comes from, and why it stays is forgotten with the return.
func (m *model) restart(node string, returns bool) {
	for id, x := range m.placements {
		if x.Node == node && x.From != "" {
			if !m.alive[node] {
				x.Switched = 0
			}
			if returns {
				x.Stays = ""
			}
			m.placements[id] = x
		}
	}
}

func (m *model) view() *tiering.View {
	var nodes []tiering.Node
	for _, id := range slices.Sorted(maps.Keys(m.nodes)) {
		if m.alive[id] {
			nodes = append(nodes, m.nodes[id])
		}
	}
	drains := slices.DeleteFunc(slices.Sorted(maps.Keys(m.drain)), func(id string) bool { return !m.drain[id] })
	return tiering.NewView(0, nodes, slices.Collect(maps.Values(m.placements)), nil).Drain(drains...)
}

// spoil breaks a good plan in a random way, or leaves it.
func spoil(t *rapid.T, p *tiering.Plan) {
	if len(p.Place) == 0 {
		return
	}
	x := &p.Place[rapid.IntRange(0, len(p.Place)-1).Draw(t, "spoiled")]
	switch rapid.IntRange(0, 12).Draw(t, "how") {
	case 5:
		x.From = rapid.SampledFrom(meshNodes()).Draw(t, "from").ID
	case 6:
		x.Switched = 1
	case 7:
		x.Stays = "here"
	case 0:
		n := rapid.SampledFrom(meshNodes()).Draw(t, "node")
		x.Node, x.Tier = n.ID, n.Tier
	case 1:
		x.Reserved = x.Reserved.Half()
	case 2:
		x.Requested, x.Reserved = x.Requested.Add(x.Requested), x.Reserved.Add(x.Requested)
	case 3:
		p.Remove = append(p.Remove, x.ID)
	case 4:
		x.Instance++
	}
}

func meshNodes() []tiering.Node {
	return []tiering.Node{
		node("edge-1", tiering.Edge, 1), node("edge-2", tiering.Edge, 1),
		node("fog-1", tiering.Fog, 3), node("fog-2", tiering.Fog, 2), node("cloud-1", tiering.Cloud, 4),
	}
}

func TestMachineAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{
			nodes: map[string]tiering.Node{}, alive: map[string]bool{}, drain: map[string]bool{}, versions: map[string]uint64{},
			latest: map[string]uint64{}, next: map[string]*tiering.Workflow{},
			specs: map[string]*tiering.Workflow{}, placements: map[string]tiering.Placement{},
		}
		machine, replica := New(), New()
		index := uint64(0)
		do := func(cmd Command) Result {
			entry, err := Encode(cmd)
			if err != nil {
				t.Fatal(err)
			}
			index++
			r, err := machine.Apply(index, entry)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := replica.Apply(index, entry); err != nil {
				t.Fatal(err)
			}
			return r
		}
		expect := func(r Result, ok bool) {
			if (r.Err == nil) != ok {
				t.Fatalf("machine says %v (%v), model says %v", r.Err, r.Refused, ok)
			}
		}
		// A plan may be older than the state by some commands.
		var stale struct {
			plan *tiering.Plan
			spec *tiering.Workflow
		}
		t.Repeat(map[string]func(*rapid.T){
			"register": func(t *rapid.T) {
				n := rapid.SampledFrom(meshNodes()).Draw(t, "node")
				expect(do(&RegisterNode{Node: n, At: at(int(index))}), true)
				was := m.alive[n.ID]
				m.nodes[n.ID], m.alive[n.ID] = n, true
				m.restart(n.ID, !was)
			},
			"fail": func(t *rapid.T) {
				ids := []string{}
				for _, n := range meshNodes() {
					ids = append(ids, n.ID)
				}
				for _, id := range slices.Sorted(maps.Keys(m.placements)) {
					if x := m.placements[id]; x.From != "" { // between these something moves
						ids = append(ids, x.Node, x.Node, x.From)
					}
				}
				id := rapid.SampledFrom(ids).Draw(t, "node")
				_, known := m.nodes[id]
				expect(do(&SetNodeStatus{Node: id, Status: tiering.NodeFailed, At: at(int(index))}), known)
				m.alive[id] = false
				m.restart(id, false)
			},
			"forget": func(t *rapid.T) {
				id := rapid.SampledFrom(meshNodes()).Draw(t, "node").ID
				_, known := m.nodes[id]
				expect(do(&ForgetNode{Node: id, At: at(int(index))}), known && !m.alive[id])
				if !m.alive[id] {
					delete(m.nodes, id)
					delete(m.drain, id)
				}
			},
			"drain": func(t *rapid.T) {
				id := rapid.SampledFrom(meshNodes()).Draw(t, "node").ID
				on := rapid.Bool().Draw(t, "on")
				_, known := m.nodes[id]
				expect(do(&SetNodeDrain{Node: id, Drain: on, At: at(int(index))}), known)
				if known && m.drain[id] && !on {
					m.undrain(id)
				}
				if known {
					m.drain[id] = on
				}
			},
			"move": func(t *rapid.T) {
				if len(m.placements) == 0 {
					t.Skip("nothing placed")
				}
				id := rapid.SampledFrom(slices.Sorted(maps.Keys(m.placements))).Draw(t, "placement")
				spec := m.specs[m.placements[id].Workflow]
				if plan, _ := tiering.Move(m.view(), spec, id, rand.New(rand.NewPCG(index, 0))); plan != nil {
					spoil(t, plan)
					stale.plan, stale.spec = plan, spec
				}
			},
			"advance": func(t *rapid.T) {
				moving := slices.DeleteFunc(slices.Sorted(maps.Keys(m.placements)), func(id string) bool { return m.placements[id].From == "" })
				if len(moving) == 0 {
					t.Skip("nothing moves")
				}
				id := rapid.SampledFrom(moving).Draw(t, "placement")
				x := m.placements[id]
				to := rapid.SampledFrom([]string{x.Node, x.Node, x.From}).Draw(t, "to")
				switch rapid.SampledFrom([]string{"hold", "switch", "finish"}).Draw(t, "step") {
				case "hold":
					ok := to == x.Node && (m.drain[to] || !m.alive[to])
					expect(do(&HoldPlacement{Placement: id, Node: to, Reason: "why", At: at(int(index))}), ok)
					if ok {
						x.Stays = "why"
					}
				case "switch":
					ok := to == x.Node && m.alive[to]
					expect(do(&SwitchMove{Placement: id, Node: to, At: at(int(index))}), ok)
					if ok && x.Switched == 0 {
						x.Switched, x.Stays = index, ""
					}
				case "finish":
					ok := to == x.Node && m.alive[to] && (x.Switched != 0 || !m.alive[x.From])
					expect(do(&FinishMove{Placement: id, Node: to, At: at(int(index))}), ok)
					if ok {
						x.From, x.Switched, x.Stays = "", 0, ""
					}
				}
				m.placements[id] = x
			},
			"draft": func(t *rapid.T) {
				spec := pipelineOf(rapid.SampledFrom([]string{"people", "cars"}).Draw(t, "workflow"), rapid.IntRange(1, 3).Draw(t, "detectors"))
				if rapid.Bool().Draw(t, "without draw") {
					spec.Tasks, spec.Links = spec.Tasks[:2], spec.Links[:2]
				}
				plan, err := tiering.Schedule(m.view(), spec, rand.New(rand.NewPCG(index, 0)))
				if err != nil && !errors.Is(err, tiering.ErrRefused) {
					t.Fatal(err)
				}
				if err == nil {
					spoil(t, plan)
					stale.plan, stale.spec = plan, spec
				}
			},
			"submit": func(t *rapid.T) {
				if stale.plan == nil {
					t.Skip("nothing drafted")
				}
				after, ok := m.carryOut(stale.spec, stale.plan)
				expect(do(&SubmitWorkflow{Workflow: stale.spec, Document: "d", Plan: stale.plan, At: at(int(index))}), ok)
				if ok {
					m.placements = after
					m.run(stale.spec)
				}
			},
			"await": func(t *rapid.T) {
				spec := pipelineOf(rapid.SampledFrom([]string{"people", "cars"}).Draw(t, "workflow"), rapid.IntRange(1, 3).Draw(t, "detectors"))
				plan := &tiering.Plan{Workflow: spec.Name, Awaits: true, Unplaced: []tiering.Unplaced{{Name: "detect@416", Reason: "waits"}}}
				expect(do(&SubmitWorkflow{Workflow: spec, Document: "d", Plan: plan, At: at(int(index))}), true)
				if m.has(spec.Name) && !Same(m.specs[spec.Name], spec) {
					m.latest[spec.Name]++
					m.next[spec.Name] = spec
				} else {
					m.run(spec)
				}
			},
			"wait": func(t *rapid.T) {
				name := rapid.SampledFrom([]string{"people", "cars"}).Draw(t, "workflow")
				_, waits := m.next[name]
				plan := &tiering.Plan{Workflow: name, Awaits: true, Unplaced: []tiering.Unplaced{{Name: "detect@416", Reason: rapid.SampledFrom([]string{"waits", "still"}).Draw(t, "why")}}}
				if rapid.Bool().Draw(t, "for models") {
					expect(do(&CommitPlan{Plan: plan, Version: m.latest[name], At: at(int(index))}), m.specs[name] != nil)
				} else if m.latest[name] > 0 {
					expect(do(&SetWorkflowStatus{Name: name, Status: Pending, Reason: "no room", Next: m.latest[name], At: at(int(index))}), waits)
				}
			},
			"commit": func(t *rapid.T) {
				if stale.plan == nil {
					t.Skip("nothing drafted")
				}
				name := stale.spec.Name
				spec, running := m.specs[name]
				version := m.versions[name]
				if next := m.next[name]; next != nil && rapid.Bool().Draw(t, "what waits") {
					spec, version = next, m.latest[name]
				}
				ok := running
				var after map[string]tiering.Placement
				if running {
					after, ok = m.carryOut(spec, stale.plan)
				}
				expect(do(&CommitPlan{Plan: stale.plan, Version: version, At: at(int(index))}), ok)
				if ok {
					m.placements = after
					if version != m.versions[name] {
						m.versions[name], m.specs[name] = version, spec
						delete(m.next, name)
					}
				}
			},
			"stop": func(t *rapid.T) {
				name := rapid.SampledFrom([]string{"people", "cars"}).Draw(t, "workflow")
				expect(do(&StopWorkflow{Name: name, At: at(int(index))}), m.versions[name] > 0)
				delete(m.specs, name)
				delete(m.next, name)
				if m.latest[name] > 0 {
					m.versions[name] = m.latest[name]
				}
				maps.DeleteFunc(m.placements, func(_ string, x tiering.Placement) bool { return x.Workflow == name })
			},
			"restart": func(t *rapid.T) {
				b := persist(t, machine.Snapshot())
				next := New()
				if err := next.Restore(bytes.NewReader(b)); err != nil {
					t.Fatal(err)
				}
				machine = next
			},
			"": func(t *rapid.T) { compare(t, m, machine, replica) },
		})
	})
}

// runs checks that a node is to run what is placed there and what moves from
// there, each once, and that frames go to one live instance of each step, as
// long as there is one.
func runs(t *rapid.T, m *model, s *Snapshot, node string) {
	var want, got []string
	for id, x := range m.placements {
		if x.Node == node || x.From == node {
			want = append(want, id)
		}
	}
	for _, a := range s.Assignments(node) {
		got = append(got, a.Placement.ID)
		seen := map[string]bool{}
		for _, o := range a.Next {
			x := m.placements[o.Instance]
			if seen[o.Instance] || !m.alive[o.Node] && o.Node != node || o.Node != x.Node && o.Node != x.From {
				t.Fatalf("%s sends frames to %s on %s; it is %+v", a.Placement.ID, o.Instance, o.Node, x)
			}
			if x.From != "" && m.alive[x.From] && m.alive[x.Node] && (o.Node == x.From) != (x.Switched == 0) {
				t.Fatalf("%s sends frames to %s on %s; it is %+v", a.Placement.ID, o.Instance, o.Node, x)
			}
			seen[o.Instance] = true
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Fatalf("%s runs %v, want %v", node, got, want)
	}
}

// compare holds the machine against the model and its replica.
func compare(t *rapid.T, m *model, machine, replica *Machine) {
	s := machine.Snapshot()
	got := map[string]tiering.Placement{}
	for _, p := range s.Placements() {
		got[p.ID] = p
	}
	if !maps.Equal(got, m.placements) {
		t.Fatalf("placements\n%v\nmodel has\n%v", got, m.placements)
	}
	if len(s.Nodes()) != len(m.nodes) || len(s.Workflows()) != len(m.versions) {
		t.Fatalf("%d nodes, %d workflows; model has %d and %d", len(s.Nodes()), len(s.Workflows()), len(m.nodes), len(m.versions))
	}
	for _, n := range s.Nodes() {
		if n.Alive() != m.alive[n.ID] || n.Drain != m.drain[n.ID] {
			t.Fatalf("node %s is %s, draining: %v", n.ID, n.Status, n.Drain)
		}
		runs(t, m, s, n.ID)
		if free := m.free(m.placements, n.ID); !(tiering.Resources{}).Fits(free) {
			t.Fatalf("node %s is over capacity: %v free", n.ID, free)
		}
	}
	for _, w := range s.Workflows() {
		_, running := m.specs[w.Name]
		if w.Version != m.versions[w.Name] || (w.Status == Stopped) == running || running && !Same(w.Spec, m.specs[w.Name]) {
			t.Fatalf("workflow %s: version %d, %s", w.Name, w.Version, w.Status)
		}
		if next := m.next[w.Name]; (w.Next != nil) != (next != nil) || next != nil && (w.Next.Version != m.latest[w.Name] || !Same(w.Next.Spec, next)) {
			t.Fatalf("workflow %s: %+v waits, want %+v", w.Name, w.Next, next)
		}
		dead := slices.ContainsFunc(s.PlacementsOf(w.Name), func(p tiering.Placement) bool { return !m.alive[p.Node] && !m.alive[p.From] })
		// A forgotten node cannot be seen to change a workflow's status: it was dead before.
		if running && (w.Status == Running) != (!dead && len(w.Unplaced) == 0) {
			t.Fatalf("workflow %s is %s (%s), on dead nodes: %v", w.Name, w.Status, w.Reason, dead)
		}
	}
	if !bytes.Equal(persist(t, s), persist(t, replica.Snapshot())) {
		t.Fatal("replicas differ")
	}
}
