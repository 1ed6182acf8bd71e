package agent

import (
	"runtime"
	"testing"

	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// What computes on the node's processors waits for its turn, a GPU does not.
func TestTurnsOfStages(t *testing.T) {
	node := tiering.Node{ID: "fog", Tier: tiering.Fog, Capacity: tiering.Resources{CPU: 1500}}
	a, err := New(Config{Node: node, Log: quiet()}, "run", nil, nil, Links{}, pipeline.NewSwitchboard(), nil)
	if err != nil {
		t.Fatal(err)
	}
	i := &instance{agent: a}
	if x := i.turns(profile.CPU).Most(); x != min(2, runtime.GOMAXPROCS(0))+1 {
		t.Errorf("%d work at a time on 1.5 processors", x)
	}
	if i.turns("") != i.turns(profile.CPU) {
		t.Error("what is no detector waits for no turn")
	}
	if i.turns(profile.CUDA) != nil {
		t.Error("a GPU waits for processors")
	}
	node.Capacity.CPU = 0 // nobody said
	if x := turns(&node, 1); x != runtime.GOMAXPROCS(0)+1 {
		t.Errorf("%d work at a time", x)
	}
	node.Capacity.CPU = 64_000
	if x := turns(&node, 0.05); x != 64 {
		t.Errorf("%d work at a time on 64 slow cores", x)
	}
}
