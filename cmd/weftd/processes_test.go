package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/agent/gossip"
	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/logtest"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// farm is a mesh of real weftd processes on loopback.
type farm struct {
	*api.Client
	t         *testing.T
	dir       string
	ca        *pki.CA
	join      []string
	processes map[string]*process
}

type process struct {
	cmd  *exec.Cmd
	log  *logtest.Book
	done chan struct{}
}

// freePort is a loopback address that nobody listens on now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func newCA(t *testing.T) *pki.CA {
	t.Helper()
	ca, err := pki.NewCA("farm", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// writeKey writes a gossip key of the mesh's own: others run beside it.
func writeKey(t *testing.T, dir string) {
	t.Helper()
	secret := make([]byte, gossip.KeySize)
	_, _ = rand.Read(secret) // never fails
	key := base64.StdEncoding.EncodeToString(secret)
	if err := os.WriteFile(filepath.Join(dir, "gossip.key"), []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// newFarm starts three coordinators, a cloud, a fog and two edge nodes.
func newFarm(t *testing.T) *farm {
	t.Helper()
	f := &farm{t: t, dir: t.TempDir(), ca: newCA(t), processes: map[string]*process{}}
	writeKey(t, f.dir)
	t.Cleanup(f.stopAll)
	var apis []string
	for i := range 3 {
		name, at := fmt.Sprintf("coord-%d", i+1), freePort(t)
		apis = append(apis, freePort(t))
		f.write(name, tiering.Cloud, at, apis[i], true)
		f.join = append(f.join, at)
	}
	for name, tier := range map[string]tiering.Tier{"cloud-1": tiering.Cloud, "fog-1": tiering.Fog, "edge-1": tiering.Edge, "edge-2": tiering.Edge} {
		f.write(name, tier, "127.0.0.1:0", "127.0.0.1:0", false)
	}
	for _, name := range []string{"coord-1", "coord-2", "coord-3", "cloud-1", "fog-1", "edge-1", "edge-2"} {
		f.pin(name)
		f.start(name)
	}
	id, err := f.ca.Issue(pki.Subject{Role: pki.Operator, Name: "tester"}, nil, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	f.Client = api.NewClient(func() []string { return apis }, id.ClientTLS(pki.Coordinator))
	t.Cleanup(f.Close)
	eventually(t, time.Minute, "seven nodes are alive", func() bool { return alive(t, f.Client) == 7 })
	return f
}

// write makes a node's configuration and keys.
func (f *farm) write(name string, tier tiering.Tier, gossipAt, apiAt string, coordinates bool) {
	f.t.Helper()
	role := pki.Agent
	if coordinates {
		role = pki.Coordinator
	}
	id, err := f.ca.Issue(pki.Subject{Role: role, Tier: tier, Name: name}, nil, time.Now(), time.Hour)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := id.Save(filepath.Join(f.dir, "keys")); err != nil {
		f.t.Fatal(err)
	}
	conf := fmt.Sprintf(`mesh: farm
node: {name: %s, tier: %s, capacity: {cpu: 4, memory: 4GiB, disk: 4GiB}, profile: false}
dataDir: %s
listen: {gossip: %q, data: "127.0.0.1:0", raft: "127.0.0.1:0", api: %q, http: "127.0.0.1:0", mqtt: "127.0.0.1:0"}
gossipKey: gossip.key
tls: {ca: keys/ca.crt, cert: keys/%s.crt, key: keys/%s.key}
coordinator: {enabled: %t, expect: 3, dedicated: %t}
mqtt: {embedded: %t}
`, name, tier, name, gossipAt, apiAt, name, name, coordinates, coordinates, name == "coord-1")
	if err := os.WriteFile(f.config(name), []byte(conf), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// pin fixes the ports of a node's frames and Raft, as they are on real
// machines: while there is no leader, nobody spreads the address of a node that
// restarts with another.
func (f *farm) pin(name string) {
	f.t.Helper()
	conf, err := os.ReadFile(f.config(name))
	if err != nil {
		f.t.Fatal(err)
	}
	text := string(conf)
	for _, what := range []string{"data", "raft"} {
		text = strings.Replace(text, what+`: "127.0.0.1:0"`, what+`: "`+freePort(f.t)+`"`, 1)
	}
	if err := os.WriteFile(f.config(name), []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *farm) config(name string) string { return filepath.Join(f.dir, name+".yaml") }

func (f *farm) start(name string) {
	f.t.Helper()
	p := &process{log: &logtest.Book{}, done: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], "--config", f.config(name), "--join", strings.Join(f.join, ","))
	p.cmd.Env = append(os.Environ(), asDaemon+"=1")
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	f.processes[name] = p
}

// kill ends a node without a good-bye.
func (f *farm) kill(name string) {
	p := f.processes[name]
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.done
}

func (f *farm) stopAll() {
	for _, p := range f.processes {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	}
	limit := time.After(30 * time.Second)
	for name, p := range f.processes {
		select {
		case <-p.done:
		case <-limit:
			f.t.Errorf("%s did not stop when told to", name)
			f.kill(name)
		}
		if f.t.Failed() {
			out := p.log.String()
			f.t.Logf("log of %s:\n%s", name, out[max(0, len(out)-3000):])
		}
	}
}

// where returns the node that a task runs on; empty: on none.
func where(s api.WorkflowStatus, task string) string {
	for _, p := range s.Placements {
		if p.Task == task {
			return p.Node
		}
	}
	return ""
}

func TestKilledAgentsTasksMoveAndNothingRunsTwice(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	submit(t, f.Client, people("videotest:", 5, "[512]"))
	ask := func() api.WorkflowStatus {
		s, err := f.Workflow(t.Context(), "people")
		if err != nil {
			t.Logf("status: %v", err)
		}
		return s
	}
	eventually(t, time.Minute, "frames are delivered", func() bool { return ask().Frames.Delivered >= 10 })
	before := ask()
	if got := where(before, "detect@512"); got != "fog-1" {
		t.Fatalf("detect@512 runs on %s, want fog-1", got)
	}
	edge := where(before, "gate")

	killed := time.Now()
	f.kill("fog-1")
	eventually(t, time.Minute, "detection runs elsewhere", func() bool {
		s := ask()
		n := where(s, "detect@512")
		return n != "" && n != "fog-1" && stage(s, "detect@512").Status == pipeline.StatusRunning
	})
	moved := time.Since(killed)
	at := ask().Frames.Delivered
	eventually(t, time.Minute, "frames are delivered again", func() bool { return ask().Frames.Delivered >= at+10 })
	after := ask()
	mustBalance(t, after.Frames)
	t.Logf("detection moved to %s %.1f s after kill -9; frames captured %d, delivered %d, dropped %v",
		where(after, "detect@512"), moved.Seconds(), after.Frames.Captured, after.Frames.Delivered, after.Frames.Dropped)
	if where(after, "gate") != edge || where(after, "draw") != where(before, "draw") {
		t.Errorf("what was not on fog-1 has moved: %v", after.Placements)
	}
	if after.Frames.Lost() == before.Frames.Lost() {
		t.Error("a node was killed with frames on it, and no frame is said to be lost")
	}

	// It returns, and must not take up again what runs elsewhere by now.
	f.start("fog-1")
	eventually(t, time.Minute, "fog-1 is back", func() bool { return alive(t, f.Client) == 7 })
	nodes, err := f.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	received := ask().Frames.Delivered
	eventually(t, time.Minute, "frames go on", func() bool { return ask().Frames.Delivered >= received+10 })
	for _, n := range nodes {
		if n.ID != "fog-1" {
			continue
		}
		if len(n.Placements) != 0 {
			t.Errorf("fog-1 was given back %v", n.Placements)
		}
		defer http.DefaultClient.CloseIdleConnections()
		resp, err := http.Get(n.Addresses.HTTP + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || strings.Contains(string(body), "weft_stage_") || !strings.Contains(string(body), "go_goroutines") {
			t.Errorf("fog-1 runs a stage that runs elsewhere: %v", err)
		}
	}
}

func stage(s api.WorkflowStatus, task string) (out struct {
	Status pipeline.Status
}) {
	for _, x := range s.Stages {
		if x.Task == task {
			out.Status = x.Status
		}
	}
	return out
}
