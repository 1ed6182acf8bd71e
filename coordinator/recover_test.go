package coordinator

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/tiering"
)

func TestPeersThatCannotBeMeant(t *testing.T) {
	for name, tc := range map[string]struct{ file, says string }{
		"empty":                 {`[]`, "it is empty; list the coordinators that survived"},
		"no JSON":               {`c1 10.0.0.1:7948`, "write [{"},
		"an unknown field":      {`[{"id": "c1", "addr": "10.0.0.1:7948"}]`, `unknown field "addr"`},
		"two lists":             {`[{"id": "c1", "address": "10.0.0.1:7948"}] []`, "something follows the list"},
		"no id":                 {`[{"address": "10.0.0.1:7948"}]`, "entry 0 has no id"},
		"no address":            {`[{"id": "c1"}]`, `c1: "" is not an address that others can dial`},
		"no port":               {`[{"id": "c1", "address": "10.0.0.1"}]`, "use HOST:PORT"},
		"a wildcard":            {`[{"id": "c1", "address": "0.0.0.0:7948"}]`, "others can dial"},
		"any port":              {`[{"id": "c1", "address": "10.0.0.1:0"}]`, "others can dial"},
		"one twice":             {`[{"id": "c1", "address": "10.0.0.1:7948"}, {"id": "c1", "address": "10.0.0.2:7948"}]`, "c1 is listed twice"},
		"an address twice":      {`[{"id": "c1", "address": "10.0.0.1:7948"}, {"id": "c2", "address": "10.0.0.1:7948"}]`, "c1 and c2 have one address"},
		"not this one":          {`[{"id": "c2", "address": "10.0.0.2:7948"}]`, "this node, c1, is not listed"},
		"nobody votes":          {`[{"id": "c1", "address": "10.0.0.1:7948", "non_voter": true}]`, "none of them is a voter"},
		"no state in directory": {`[{"id": "c1", "address": "10.0.0.1:7948"}]`, "has no state of a coordinator"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "peers.json")
			if err := os.WriteFile(file, []byte(tc.file), 0o600); err != nil {
				t.Fatal(err)
			}
			peers, err := ReadPeers(file)
			if err == nil {
				_, err = Recover(Config{ID: "c1", Cluster: "test", DataDir: t.TempDir(), Log: discard()}, peers)
			}
			if err == nil || !strings.Contains(err.Error(), tc.says) || !errors.Is(err, ErrPeers) && !errors.Is(err, ErrNotFound) {
				t.Fatalf("got %v, want %q", err, tc.says)
			}
		})
	}
	if _, err := ReadPeers(filepath.Join(t.TempDir(), "none.json")); err == nil {
		t.Fatal("read a file that is not there")
	}
}

// Three coordinators with workflows; two are destroyed; the third is recovered
// and has everything; two fresh ones join it and vote.
func TestRecovery(t *testing.T) {
	t.Parallel()
	for _, snapshot := range []bool{false, true} {
		t.Run(map[bool]string{false: "from the log", true: "from a snapshot"}[snapshot], func(t *testing.T) {
			cl := newClusterOf(t, func(cfg *Config) { calm(&cfg.Timing) }, "c1", "c2", "c3")
			cl.gossip.set(worker("edge-1", tiering.Edge, 1), tiering.NodeAlive)
			cl.gossip.set(worker("fog-1", tiering.Fog, 2), tiering.NodeAlive)
			cl.alive("edge-1", "fog-1")
			cl.submit(people("people", 1))
			cl.everywhere("the workflow", func(s *state.Snapshot) bool { return running(s, "people") })
			m := cl.nodes["c3"]
			if snapshot {
				if err := m.raft.Load().Snapshot().Error(); err != nil {
					t.Fatal(err)
				}
			}
			cfg := Config{ID: "c3", Cluster: "test", DataDir: m.dir, Log: discard()}
			peers := []Peer{{ID: "c3", Address: "c3:1"}}
			if _, err := Recover(cfg, peers); !errors.Is(err, ErrInUse) {
				t.Fatalf("recovery under a running coordinator: %v", err)
			}
			before, id := m.Snapshot(), m.ClusterID()
			for _, name := range []string{"c1", "c2", "c3"} {
				cl.halt(name)
			}
			cl.gossip.status("c1", tiering.NodeFailed)
			cl.gossip.status("c2", tiering.NodeFailed)

			other := cfg
			other.Cluster = "factory"
			if _, err := Recover(other, peers); !errors.Is(err, ErrWrongMesh) {
				t.Fatalf("recovery with the configuration of another mesh: %v", err)
			}
			done, err := Recover(cfg, peers)
			if err != nil {
				t.Fatal(err)
			}
			if done.Cluster != id || done.Entry < before.Index() || done.Workflows != 1 || done.Nodes != len(before.Nodes()) {
				t.Fatalf("%+v", done)
			}
			if _, err := os.Stat(filepath.Join(done.Backup, "log", "wal-meta.db")); err != nil {
				t.Fatalf("no copy of what was there: %v", err)
			}

			// It may be done again.
			_, err = Recover(cfg, []Peer{{ID: "c3", Address: "c3:1"}})
			if err != nil {
				t.Fatalf("a second time: %v", err)
			}
			cl.expect = 3
			cl.startAt("c3", "c3:1", m.dir)
			cl.start("c4", t.TempDir())
			cl.start("c5", t.TempDir())
			t.Cleanup(func() { cl.halt("c3"); cl.halt("c4"); cl.halt("c5") })
			wait(t, "the fresh ones to vote", func() bool {
				v := voterNames(cl)
				return slices.Contains(v, "c3") && slices.Contains(v, "c4") && slices.Contains(v, "c5")
			})
			cl.everywhere("everything that was there", func(s *state.Snapshot) bool {
				return running(s, "people") && s.ClusterID() == id && slices.Equal(s.Placements(), before.Placements())
			})
			cl.submit(people("cars", 1))
			// Any of them may be lost now.
			cl.halt(cl.leader().cfg.ID)
			cl.everywhere("the next", func(s *state.Snapshot) bool { return running(s, "cars") })
			cl.leader()
		})
	}
}

func TestPeersAsConsulWritesThem(t *testing.T) {
	var peers []Peer
	if err := json.Unmarshal([]byte(`[{"id": "c1", "address": "10.0.0.1:7948", "non_voter": false}, {"id": "c2", "address": "c2.example:7948", "non_voter": true}]`), &peers); err != nil {
		t.Fatal(err)
	}
	conf, err := checkPeers("c1", peers)
	if err != nil || len(conf.Servers) != 2 || conf.Servers[0].Suffrage == conf.Servers[1].Suffrage {
		t.Fatalf("%+v, %v", conf, err)
	}
}

// Two survivors whose logs parted: c1 has more entries, c2 fewer of a later
// term. c2 is elected, and c1 has to become as it is, with less than it had.
func TestRecoveryOfSurvivorsThatDiffer(t *testing.T) {
	t.Parallel()
	run := func(dir string, restarts int, names ...string) {
		t.Helper()
		for range restarts {
			cl := newClusterOf(t, nil)
			cl.expect = 1
			cl.gossip.set(worker("edge-1", tiering.Edge, 1), tiering.NodeAlive)
			cl.gossip.set(worker("fog-1", tiering.Fog, 2), tiering.NodeAlive)
			cl.start("c1", dir)
			cl.leader()
			cl.alive("edge-1", "fog-1")
			for _, n := range names {
				cl.submit(small(n))
			}
			names = nil
			cl.halt("c1")
		}
	}
	dirs := map[string]string{"c1": t.TempDir(), "c2": t.TempDir()}
	run(dirs["c1"], 1, "base")
	if err := os.CopyFS(dirs["c2"], os.DirFS(dirs["c1"])); err != nil {
		t.Fatal(err)
	}
	var lost []string
	for i := range 24 {
		lost = append(lost, fmt.Sprintf("lost-%d", i))
	}
	run(dirs["c1"], 1, lost...)
	run(dirs["c2"], 3, "kept")
	peers := []Peer{{ID: "c1", Address: "c1:1"}, {ID: "c2", Address: "c2:1"}}
	at := map[string]uint64{}
	for id, dir := range dirs {
		r, err := Recover(Config{ID: id, Cluster: "test", DataDir: dir, Log: discard()}, peers)
		if err != nil {
			t.Fatal(err)
		}
		at[id] = r.Entry
	}
	if at["c1"] <= at["c2"] {
		t.Fatalf("the logs end at %v, which is not what this test is about", at)
	}
	cl := newClusterOf(t, nil)
	cl.expect = 2
	cl.gossip.set(worker("edge-1", tiering.Edge, 1), tiering.NodeAlive)
	cl.gossip.set(worker("fog-1", tiering.Fog, 2), tiering.NodeAlive)
	for id, dir := range dirs {
		cl.startAt(id, id+":1", dir)
	}
	same := func(last string) {
		t.Helper()
		cl.everywhere("what c2 had", func(s *state.Snapshot) bool {
			_, lost := s.Workflow("lost-0")
			return !lost && running(s, "base") && running(s, "kept") && running(s, last)
		})
	}
	if lead := cl.leader().cfg.ID; lead != "c2" {
		t.Fatalf("%s leads", lead)
	}
	cl.submit(small("after-0"))
	same("after-0")
	// c1's older snapshot has the higher index, and must not be taken for newer.
	cl.halt("c1")
	cl.startAt("c1", "c1:1", dirs["c1"])
	for i := range 24 { // past what c1 had
		cl.submit(small(fmt.Sprintf("after-%d", i+1)))
	}
	same("after-24")
}
