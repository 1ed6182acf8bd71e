package tiering

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrRefused reports a workflow that the mesh cannot take; the error is a
// *Refused.
var ErrRefused = errors.New("workflow refused")

// The resources that a Shortage may name, besides "model X" and "platform X".
const (
	resourceCores  = "cores"
	resourceMemory = "memory"
	resourceDisk   = "disk"
	resourceNodes  = "nodes" // the tier has none
	// resourceTakers: all that could run the task are draining.
	resourceTakers = "nodes that are not draining"
)

// Shortage is what a tier lacks for the instances of one category.
type Shortage struct {
	Tier Tier `json:"tier"`
	// Resource is "cores" (amounts in thousandths), "memory" or "disk" (bytes),
	// or, counted in nodes, "nodes", "nodes that are not draining", "model X",
	// "platform X" or "model X with platform Y".
	Resource string `json:"resource"`
	// Node is set if the tier has enough in sum but no node has it for one
	// instance: the node that comes closest.
	Node    string `json:"node,omitempty"`
	Needed  int64  `json:"needed"` // in full; half would have been accepted
	Free    int64  `json:"free"`   // on nodes that can run the task
	Missing int64  `json:"missing"`
}

// String says it to people: "cloud is short of 3.5 cores (needs 6, has 2.5
// free)".
func (s Shortage) String() string {
	switch s.Resource {
	case resourceCores, resourceMemory, resourceDisk:
	default:
		return fmt.Sprintf("no %s node %s", s.Tier, lackText(s.Resource))
	}
	missing := FormatCPU(s.Missing)
	if s.Resource != resourceCores {
		missing = amount(s.Resource, s.Missing) + " " + s.Resource
	}
	needed, free := amount(s.Resource, s.Needed), amount(s.Resource, s.Free)
	if s.Node != "" {
		return fmt.Sprintf("%s is short of %s on one node (needs %s, %s has %s free)", s.Tier, missing, needed, s.Node, free)
	}
	return fmt.Sprintf("%s is short of %s (needs %s, has %s free)", s.Tier, missing, needed, free)
}

func amount(resource string, n int64) string {
	if resource == resourceCores {
		return fmt.Sprintf("%g", float64(n)/1000)
	}
	return FormatBytes(n)
}

// lackText completes "no fog node …".
func lackText(resource string) string {
	switch resource {
	case resourceNodes:
		return "is alive"
	case resourceTakers:
		return "that is not draining could run it"
	}
	return "has " + resource
}

// Refused is the error of Schedule: why the workflow does not fit. Nothing is
// reserved for it.
type Refused struct {
	Workflow  string     `json:"workflow"`
	Category  Category   `json:"category"` // whose tasks do not fit
	Tasks     []string   `json:"tasks"`    // those tasks
	Shortages []Shortage `json:"shortages"`
}

func (r *Refused) Error() string {
	verb, even := "do", ""
	if len(r.Tasks) == 1 {
		verb = "does"
	}
	if r.Category.Intensive() {
		even = ", even at half of what is asked for"
	}
	return fmt.Sprintf("workflow %s refused: %s: %s %s %s not fit%s",
		r.Workflow, r.short(), r.Category, strings.Join(r.Tasks, ", "), verb, even)
}

// short says what is short, tier by tier.
func (r *Refused) short() string {
	short := make([]string, len(r.Shortages))
	for i, s := range r.Shortages {
		short[i] = s.String()
	}
	return strings.Join(short, "; ")
}

// Is makes errors.Is(err, ErrRefused) hold.
func (r *Refused) Is(target error) bool { return target == ErrRefused }

// refuse explains that the category's demand, a number of instances, does not
// fit because of class c. free is what nodes had before the category took any.
func (s *scheduler) refuse(c *class, demand int, free func(int32) Resources) error {
	refused := &Refused{Workflow: s.workflow.Name, Category: c.category}
	for i := range s.workflow.Tasks {
		if s.classes[i].category == c.category && (c.category.Intensive() || s.classes[i] == c) {
			refused.Tasks = append(refused.Tasks, s.workflow.Tasks[i].Name)
		}
	}
	tiers := Tiers()
	if c.category.Intensive() {
		p := preference(c.category)
		tiers = p[:]
	}
	for _, t := range tiers {
		refused.Shortages = append(refused.Shortages, s.shortages(c, t, demand, free)...)
	}
	return refused
}

func (s *scheduler) shortages(c *class, t Tier, demand int, free func(int32) Resources) []Shortage {
	if lack := s.lack(c, t); lack != "" {
		return []Shortage{{Tier: t, Resource: lack, Needed: 1, Missing: 1}}
	}
	var sum Resources
	closest := int32(-1)
	for _, n := range s.view.free[t] {
		if c.runs(n) {
			sum = sum.Add(free(n).Max(Resources{}))
			if closest < 0 || shareOf(c.ask, s.draft.free(n)) > shareOf(c.ask, s.draft.free(closest)) {
				closest = n
			}
		}
	}
	k := int64(demand)
	need := Resources{k * c.ask.CPU, k * c.ask.Memory, k * c.ask.Disk}
	if out := compare(t, "", need, sum); len(out) > 0 {
		return out
	}
	// Enough in sum, yet one instance does not fit on any node beside the others.
	return compare(t, s.view.mesh.nodes[closest].ID, c.ask, s.draft.free(closest))
}

func compare(t Tier, node string, need, free Resources) (out []Shortage) {
	for _, r := range []Shortage{
		{Resource: resourceCores, Needed: need.CPU, Free: free.CPU},
		{Resource: resourceMemory, Needed: need.Memory, Free: free.Memory},
		{Resource: resourceDisk, Needed: need.Disk, Free: free.Disk},
	} {
		if r.Tier, r.Node, r.Missing = t, node, r.Needed-r.Free; r.Missing > 0 {
			out = append(out, r)
		}
	}
	return out
}

// lack names what every node of the tier lacks to run the class; empty: one
// could.
func (s *scheduler) lack(c *class, t Tier) string {
	all := s.view.free[t]
	some := func(ok func(int32) bool) bool { return slices.ContainsFunc(all, ok) }
	switch {
	case len(all) == 0:
		return resourceNodes
	case some(c.runs):
		return ""
	case some(c.able):
		return resourceTakers
	case c.model != "" && !some(c.models.has):
		return "model " + c.model
	case c.platform != "" && !some(c.platforms.has):
		return "platform " + c.platform
	}
	return "model " + c.model + " with platform " + c.platform
}
