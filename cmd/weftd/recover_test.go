package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/tiering"
)

// Three coordinators are real processes. Two are killed and their disks are
// lost; the third is recovered and leads again, of the same mesh.
func TestRecoverAfterTwoOfThreeAreLost(t *testing.T) {
	t.Parallel()
	f := &farm{t: t, dir: t.TempDir(), ca: newCA(t), processes: map[string]*process{}}
	writeKey(t, f.dir)
	names := []string{"coord-2", "coord-3", "coord-4"} // coord-1 would run a broker
	var apis []string
	for _, name := range names {
		gossip, at := freePort(t), freePort(t)
		f.join, apis = append(f.join, gossip), append(apis, at)
		f.write(name, tiering.Cloud, gossip, at, true)
	}
	for _, name := range names {
		f.start(name)
	}
	t.Cleanup(f.stopAll)
	operator, err := f.ca.Issue(pki.Subject{Role: pki.Operator, Name: "operator"}, nil, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c := api.NewClient(func() []string { return apis }, operator.ClientTLS(pki.Coordinator))
	t.Cleanup(c.Close)
	var before api.Mesh
	eventually(t, time.Minute, "all three to know their mesh", func() bool {
		before, err = c.Mesh(t.Context())
		return err == nil && before.Leader != "" && before.Cluster != "" && len(before.Coordinators) == 3
	})

	peers := filepath.Join(f.dir, "peers.json")
	write := func(text string) {
		if err := os.WriteFile(peers, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`[{"id": "coord-4", "address": "127.0.0.1:7948"}]`)
	survivor := f.config("coord-4")
	if _, err := weftd(t, "recover", "--config", survivor, "--peers", peers); err == nil || !strings.Contains(err.Error(), "in use by another weftd") {
		t.Fatalf("under a running weftd: %v", err)
	}
	for _, name := range names {
		f.kill(name)
	}
	delete(f.processes, "coord-2")
	delete(f.processes, "coord-3")
	write(`[{"id": "coord-2", "address": "127.0.0.1:7948"}]`)
	if _, err := weftd(t, "recover", "--config", survivor, "--peers", peers); err == nil || !strings.Contains(err.Error(), "peers.json") || !strings.Contains(err.Error(), "coord-4, is not listed") {
		t.Fatalf("a list without this node: %v", err)
	}
	if _, err := weftd(t, "recover", "--config", survivor); err == nil || !strings.Contains(err.Error(), "--peers FILE are needed") {
		t.Fatalf("no list: %v", err)
	}
	write(`[{"id": "coord-4", "address": "127.0.0.1:7948"}]`)
	out, err := weftd(t, "recover", "--config", survivor, "--peers", peers)
	if err != nil || !strings.Contains(out, "recovered mesh farm ("+before.Cluster+")") || !strings.Contains(out, "raft.before-recovery-") {
		t.Fatalf("%v\n%s", err, out)
	}
	f.start("coord-4")
	eventually(t, time.Minute, "the survivor to lead the same mesh", func() bool {
		m, err := c.Mesh(t.Context())
		return err == nil && m.Leader == "coord-4" && m.Cluster == before.Cluster && m.Index > before.Index
	})
}
