package state

import (
	"fmt"
	"testing"

	"github.com/weft-mesh/weft/tiering"
)

// BenchmarkApply is one workflow of three tasks submitted to a mesh of 1,000
// nodes with 1,000 workflows: decode, check, carry out.
func BenchmarkApply(b *testing.B) {
	f := newFixture(b)
	for i := range 1000 {
		f.nodes(node(fmt.Sprintf("fog-%d", i), tiering.Fog, 64))
	}
	one := tiering.Resources{CPU: 100, Memory: gib / 64}
	submission := func(i int) []byte {
		w := pipelineOf(fmt.Sprintf("w%d", i), 1)
		p := &tiering.Plan{Workflow: w.Name}
		for k, task := range []string{"resize", "detect@416", "draw"} {
			p.Place = append(p.Place, tiering.Placement{
				ID: tiering.SlotID(w.Name, task, 0), Workflow: w.Name, Task: task, Category: tiering.NI,
				Node: fmt.Sprintf("fog-%d", (i+k)%1000), Tier: tiering.Fog, Requested: one, Reserved: one,
			})
		}
		entry, err := Encode(&SubmitWorkflow{Workflow: w, Plan: p, At: at(0)})
		if err != nil {
			b.Fatal(err)
		}
		return entry
	}
	index := uint64(1000)
	apply := func(entry []byte) {
		index++
		if r, err := f.Apply(index, entry); err != nil || r.Err != nil {
			b.Fatal(err, r.Err)
		}
	}
	for i := range 1000 {
		apply(submission(i))
	}
	entries := make([][]byte, 100)
	for i := range entries {
		entries[i] = submission(i)
	}
	for b.Loop() {
		apply(entries[index%100])
	}
}
