package chaos

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

func plant() Plant {
	return Plant{
		Nodes:        []string{"edge-1", "edge-2", "fog-1", "fog-2", "cloud-1", "coord-1", "coord-2", "coord-3"},
		Coordinators: []string{"coord-1", "coord-2", "coord-3"},
		Workers:      []string{"edge-1", "edge-2", "fog-1", "fog-2", "cloud-1"},
		Workflow:     "people", Deadline: 2 * time.Second,
		Sources: []Source{{"cam-1", "edge-1", 4, ""}, {"cam-2", "edge-2", 4, ""}},
	}
}

func TestPlanIsAFunctionOfItsSeed(t *testing.T) {
	p := plant()
	all := Plan(7, 50, p)
	if len(all) != 50 {
		t.Fatalf("%d rounds", len(all))
	}
	if again := Plan(7, 50, p); !reflect.DeepEqual(all, again) {
		t.Error("the same seed makes other rounds")
	}
	if first := Plan(7, 12, p); !reflect.DeepEqual(all[:12], first) {
		t.Error("the first of more rounds are others")
	}
	if other := Plan(8, 50, p); reflect.DeepEqual(all, other) {
		t.Error("another seed makes the same rounds")
	}
}

// Every kind has its turn, every node is killed, stopped, filled and has its
// clock set off, and some rounds have two faults.
func TestPlanLeavesNothingOut(t *testing.T) {
	for seed := range uint64(20) {
		p := plant()
		kinds, pairs := map[Kind]int{}, 0
		nodes := map[Kind]map[string]bool{KillNode: {}, Clock: {}, Pause: {}, DiskFull: {}}
		for _, r := range Plan(seed, 200, p) {
			if len(r.Faults) > 1 {
				pairs++
			}
			for _, f := range r.Faults {
				kinds[f.Kind]++
				if seen := nodes[f.Kind]; seen != nil {
					seen[f.Target] = true
				}
			}
		}
		for _, k := range Kinds() {
			if kinds[k] < 20 {
				t.Errorf("seed %d: %s only %d times in 200 rounds", seed, k, kinds[k])
			}
		}
		for k, seen := range nodes {
			want := append([]string{Leader}, p.Workers...)
			if k == KillNode {
				want = p.Nodes
			}
			for _, n := range want {
				if !seen[n] {
					t.Errorf("seed %d: %s never strikes %s", seed, k, n)
				}
			}
		}
		if pairs < 20 || pairs > 80 {
			t.Errorf("seed %d: %d of 200 rounds have two faults", seed, pairs)
		}
	}
}

// Two faults of a round can be carried out at the same time, and leave a
// majority of the coordinators.
func TestFaultsOfARoundDoNotContradict(t *testing.T) {
	p := plant()
	for seed := range uint64(50) {
		for _, r := range Plan(seed, 100, p) {
			for _, f := range r.Faults {
				if f.At < time.Second || f.For < time.Second || f.For > 30*time.Second {
					t.Errorf("seed %d: %s", seed, r)
				}
			}
			if len(r.Faults) < 2 {
				continue
			}
			a, b := r.Faults[0], r.Faults[1]
			if a.Kind == b.Kind || a.Target != "" && a.Target == b.Target || b.At < a.At || b.At > a.End() {
				t.Errorf("seed %d: %s", seed, r)
			}
			if slices.Contains(p.Coordinators, b.Target) {
				t.Errorf("seed %d: the second is of a coordinator: %s", seed, r)
			}
			if r.coordinatorsOnly(p) {
				t.Errorf("seed %d: two faults, of coordinators only: %s", seed, r)
			}
		}
	}
}

func TestPlanOnly(t *testing.T) {
	for _, r := range Plan(3, 40, plant(), Pause, Loss) {
		for _, f := range r.Faults {
			if f.Kind != Pause && f.Kind != Loss {
				t.Errorf("%s", r)
			}
		}
	}
	if got := Plan(3, 5, plant(), "flood"); len(got) != 0 {
		t.Errorf("rounds of a kind that there is not: %v", got)
	}
}

func TestRoundsAreWorded(t *testing.T) {
	r := Round{Number: 4, Faults: []Fault{
		{Kind: Clock, Target: "fog-1", At: 2 * time.Second, For: 30 * time.Second, Offset: -time.Hour, Restart: true},
		{Kind: Loss, At: 3 * time.Second, For: 30 * time.Second, Loss: 0.1},
	}}
	const want = "  4  clock fog-1 (off by -1 h, restarted) at 2s for 30s;  loss (10 % of all packets) at 3s for 30s"
	if got := r.String(); got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
}

// In the second half of a soak test no weftd is started again.
func TestCalmRoundsStartNothing(t *testing.T) {
	for _, r := range Plan(3, 300, plant(), CalmKinds()...) {
		for _, f := range r.Faults {
			if f.Kind == KillLeader || f.Kind == KillCoordinators || f.Kind == KillNode || f.Restart {
				t.Errorf("%s", r)
			}
		}
	}
}
