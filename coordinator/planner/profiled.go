package planner

import (
	"slices"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/tiering"
)

// Profiled is of what a node is to say what it costs there: the models of
// workflows that are not stopped, and of what waits to take their place, at their
// resolutions, that run on the node, or could. It has to have the model. At the
// edge, and on nodes that offer no processor, no detector is placed by itself.
func Profiled(snap *state.Snapshot, node string) []profile.Key {
	n, ok := snap.Node(node)
	if !ok {
		return nil
	}
	var out []profile.Key
	for _, w := range snap.Workflows() {
		if w.Status == state.Stopped {
			continue
		}
		placements := snap.PlacementsOf(w.Name)
		for _, spec := range w.Specs() {
			for i := range spec.Tasks {
				t := &spec.Tasks[i]
				if t.Model == nil || !n.HasModel(t.Model.Name) {
					continue
				}
				here := slices.ContainsFunc(placements, func(p tiering.Placement) bool { return p.Node == node && p.Task == t.Name })
				if here || n.Tier != tiering.Edge && n.Capacity.CPU > 0 {
					out = append(out, KeyOn(&n.Node, t))
				}
			}
		}
	}
	slices.SortFunc(out, profile.Key.Compare)
	out = slices.Compact(out)
	return out[:min(len(out), profile.MaxEach)]
}

// KeyOn is what a task's detector is profiled as on a node: its backend is that
// which it asks for if the node has that, and otherwise the CPU.
func KeyOn(n *tiering.Node, t *tiering.Task) profile.Key {
	k := profile.Key{Model: t.Model.Name, Resolution: t.Model.Resolution, Backend: profile.CPU}
	if t.Backend.Name == profile.CUDA && slices.ContainsFunc(n.Platforms, func(p tiering.Platform) bool { return p.Type == profile.CUDA && p.Count > 0 }) {
		k.Backend = profile.CUDA
	}
	return k
}
