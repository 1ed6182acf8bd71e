package experiment

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// The messages that placements are read from are those of the state machine: a
// task is placed, moved when its node fails, and removed at the end.
func TestStintsOfRealDecisions(t *testing.T) {
	m, index := state.New(), uint64(0)
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	rec := &testbed.Recording{Samples: []testbed.Sample{{}, {At: 100 * time.Second}}}
	do := func(at int, cmd state.Command) {
		t.Helper()
		entry, err := state.Encode(cmd)
		if err != nil {
			t.Fatal(err)
		}
		index++
		r, err := m.Apply(index, entry)
		if err != nil || r.Err != nil {
			t.Fatalf("%T: %v, %v, %v", cmd, err, r.Err, r.Refused)
		}
		for _, e := range r.Events {
			rec.Marks = append(rec.Marks, testbed.Mark{
				At: time.Duration(at) * time.Second, Kind: testbed.Decision, Type: string(e.Type), Subject: e.Subject, Message: e.Message,
			})
		}
	}
	for i, tier := range []tiering.Tier{tiering.Edge, tiering.Fog, tiering.Cloud} {
		do(0, &state.RegisterNode{At: began, Node: tiering.Node{
			ID: fmt.Sprintf("%s-1", tier), Tier: tier, Capacity: tiering.Resources{CPU: int64(i+1) * 2000, Memory: 8 << 30, Disk: 8 << 30},
			Platforms: []tiering.Platform{{Type: "cpu", Count: 2}}, Models: []string{"yolo"}, Addresses: tiering.Addresses{Data: "n:1"},
		}})
	}
	w := &tiering.Workflow{
		Name: "people", Sources: []tiering.Source{{Name: "camera-1", URI: "videotest:", Resolution: 416, Node: "edge-1"}},
		Tasks: []tiering.Task{{
			Name: "detect@416", Group: "detect", Type: tiering.DeepModel, Operation: "detect", Replicas: 1,
			Model: &tiering.Model{Name: "yolo", Family: "yolo", Resolution: 416, Fit: tiering.Stretch}, Request: tiering.Resources{CPU: 1000, Memory: 1 << 30},
		}},
		Links:      []tiering.Link{{From: "camera-1", To: "detect", Transport: tiering.QUIC, Encoding: tiering.JPEG, Quality: 90}},
		Objectives: tiering.Objectives{MinAccuracy: 0.5, Deadline: time.Second},
	}
	plan := func() *tiering.Plan {
		p, err := tiering.Schedule(m.Snapshot().View(nil), w, rand.New(rand.NewPCG(1, 2)))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	do(10, &state.SubmitWorkflow{Workflow: w, Document: "name: people", Plan: plan(), At: began})
	first := stints(synthScenario(), rec)
	if len(first) != 1 {
		t.Fatalf("placed: %v from %+v", first, rec.Marks)
	}
	stored, _ := m.Snapshot().Workflow("people")
	do(40, &state.SetNodeStatus{Node: first[0].node, Status: tiering.NodeFailed, At: began})
	do(42, &state.CommitPlan{Plan: plan(), Version: stored.Version, At: began})
	do(90, &state.StopWorkflow{Name: "people", At: began})

	got := stints(synthScenario(), rec)
	if len(got) != 2 {
		t.Fatalf("got %v from %+v", got, rec.Marks)
	}
	second := []time.Duration{got[0].from, got[0].to, got[1].from, got[1].to}
	for i, want := range []int{10, 42, 42, 90} {
		if second[i] != time.Duration(want)*time.Second {
			t.Errorf("times %v", second)
			break
		}
	}
	if got[0].node != first[0].node || got[1].node == got[0].node || !strings.HasSuffix(got[1].node, "-1") || got[0].slot != "detect@416#0" {
		t.Errorf("got %v", got)
	}
}
