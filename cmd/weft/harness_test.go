package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/coordinator"
	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/api/server"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/pipeline/gallery"
	"github.com/weft-mesh/weft/tiering"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write the golden files anew")

// testdata is where the golden files are, wherever a test goes.
var testdata, _ = filepath.Abs("testdata")

// patience is how long a test waits until it gives up; never waited for when
// things work.
const patience = 30 * time.Second

// eventually polls until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("gave up waiting: %s", what)
		}
	}
}

// called is how one call of weft ended.
type called struct {
	code     int
	out, err string
}

// weft calls weft with a configuration.
func weft(t *testing.T, config string, args ...string) called {
	t.Helper()
	return weftWith(t, t.Context(), config, "", args...)
}

func weftWith(t *testing.T, ctx context.Context, config, in string, args ...string) called {
	t.Helper()
	var out, errOut bytes.Buffer
	if config != "" {
		args = append([]string{"--config", config}, args...)
	}
	code := run(ctx, args, strings.NewReader(in), &out, &errOut)
	return called{code, out.String(), errOut.String()}
}

// want fails the test if weft did not end so; err is a part of what it says.
func (c called) want(t *testing.T, code int, err string) called {
	t.Helper()
	if c.code != code {
		t.Fatalf("exit code %d, want %d\nstdout: %s\nstderr: %s", c.code, code, c.out, c.err)
	}
	if !strings.Contains(c.err, err) {
		t.Errorf("it says\n%s\nwant\n%s", c.err, err)
	}
	return c
}

// decode reads what weft printed with -o json: one value, with no null in it.
func decode[T any](t *testing.T, c called) T {
	t.Helper()
	var v T
	d := json.NewDecoder(strings.NewReader(c.out))
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %q", err, c.out)
	}
	if _, err := d.Token(); err != io.EOF {
		t.Errorf("more than one JSON value: %q", c.out)
	}
	noNull(t, c.out)
	return v
}

var null = regexp.MustCompile(`(?m)[:\[,]\s*null\b`)

func noNull(t *testing.T, text string) {
	t.Helper()
	if null.MatchString(text) {
		t.Errorf("JSON with a null: %s", text)
	}
}

// golden compares texts with a file of testdata.
func golden(t *testing.T, name string, texts ...string) {
	t.Helper()
	got := strings.Join(texts, "--------\n")
	file := filepath.Join(testdata, name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (go test ./cmd/weft -update makes it)", err)
	}
	if got != string(want) {
		t.Errorf("testdata/%s has changed (-update accepts it); got\n%s\nwant\n%s", name, got, want)
	}
}

// newLines returns a writer and the lines written to it.
func newLines() (*io.PipeWriter, <-chan string) {
	r, w := io.Pipe()
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			lines <- s.Text()
		}
	}()
	return w, lines
}

func write(t *testing.T, file, content string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// configure writes a client's configuration and credentials.
func configure(t *testing.T, id *pki.Identity, addresses ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := id.Save(dir); err != nil {
		t.Fatal(err)
	}
	return write(t, filepath.Join(dir, "weft.yaml"), fmt.Sprintf("addresses: [%s]\nca: ca.crt\ncert: %[2]s.crt\nkey: %[2]s.key\n",
		strings.Join(addresses, ", "), id.Subject.Name))
}

// liveMesh is a mesh with a real coordinator; its nodes are only said to be there.
type liveMesh struct {
	config  string // of an operator
	ca      *pki.CA
	address string // of the API
	gallery *gallery.Gallery
	client  *api.Client
	// shut stops the coordinator; it is done in any case when the test ends.
	shut func()
}

const gib = 1 << 30

// startLive starts a mesh of one coordinator, one cloud, one fog and two edge
// nodes. cloud-1 serves the gallery.
func startLive(t *testing.T) *liveMesh {
	t.Helper()
	ca := pkitest.CA(t)
	m := &liveMesh{ca: ca}
	pictures, err := gallery.New(gallery.Config{Dir: t.TempDir(), Retain: 100, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	m.gallery = pictures
	web := httptest.NewUnstartedServer(pictures.Handler())
	web.TLS = pkitest.Issue(t, ca, pki.Agent, "cloud-1").ServerTLS(pki.Operator)
	web.StartTLS()

	members := &membership{changed: make(chan struct{}, 1)}
	id := pkitest.Issue(t, ca, pki.Coordinator, "coordinator")
	c, err := coordinator.New(coordinator.Config{
		ID: "coordinator", Cluster: "test", DataDir: t.TempDir(), RaftListen: "127.0.0.1:0", Expect: 1,
		ServerTLS: id.ServerTLS(pki.Coordinator), ClientTLS: id.ClientTLS(pki.Coordinator),
		Reconcile: 100 * time.Millisecond,
		Timing:    coordinator.Timing{Heartbeat: 50 * time.Millisecond, Election: 50 * time.Millisecond, Lease: 40 * time.Millisecond, Commit: 5 * time.Millisecond},
		Log:       slog.New(slog.DiscardHandler),
	}, members, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Config{
		Mesh: "test", Node: "coordinator", Version: "v1", Listen: "127.0.0.1:0", Catalogue: catalog.Builtin(), AuditDir: t.TempDir(),
		ServerTLS: id.ServerTLS(pki.Agent, pki.Coordinator, pki.Operator), ClientTLS: id.ClientTLS(pki.Coordinator),
		Log: slog.New(slog.DiscardHandler),
	}, c, members)
	if err != nil {
		t.Fatal(err)
	}
	m.address = s.Addr()
	members.set(
		tiering.Node{ID: "coordinator", Tier: tiering.Cloud, Addresses: tiering.Addresses{Raft: c.RaftAddr(), API: s.Addr()}},
		worker("cloud-1", tiering.Cloud, 8, web.URL), worker("fog-1", tiering.Fog, 4, ""),
		worker("edge-1", tiering.Edge, 1, ""), worker("edge-2", tiering.Edge, 1, ""),
	)

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- s.Run(ctx) }()
	go func() { done <- c.Run(ctx) }()
	m.shut = sync.OnceFunc(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	operator := pkitest.Issue(t, ca, pki.Operator, "operator")
	m.config = configure(t, operator, m.address)
	m.client = api.NewClient(func() []string { return []string{m.address} }, operator.ClientTLS(pki.Coordinator))
	t.Cleanup(func() {
		m.client.Close()
		m.shut()
		web.Close()
		if err := pictures.Close(); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "every node is alive", func() bool {
		nodes, err := m.client.Nodes(t.Context())
		return err == nil && len(nodes) == 5 && !slices.ContainsFunc(nodes, func(n api.Node) bool { return n.Status != tiering.NodeAlive })
	})
	eventually(t, "there is a leader", func() bool {
		_, err := m.client.Workflow(t.Context(), "none")
		return errors.Is(err, &api.Error{Code: api.CodeNotFound})
	})
	return m
}

func worker(id string, tier tiering.Tier, cores int64, web string) tiering.Node {
	return tiering.Node{
		ID: id, Tier: tier,
		Capacity:  tiering.Resources{CPU: cores * 1000, Memory: cores * 2 * gib, Disk: cores * 10 * gib},
		Platforms: []tiering.Platform{{Type: "cpu", Count: int(cores)}},
		Models:    []string{"hog-people"},
		Addresses: tiering.Addresses{Data: id + ":7947", HTTP: web},
		Version:   "v1",
	}
}

// membership is gossip that says what a test wants.
type membership struct {
	changed chan struct{}
	mu      sync.Mutex
	members []tiering.Member
}

func (m *membership) set(nodes ...tiering.Node) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range nodes {
		m.members = append(m.members, tiering.Member{Node: n, Status: tiering.NodeAlive})
	}
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

func (m *membership) Members() []tiering.Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.members)
}

func (m *membership) Changed() <-chan struct{} { return m.changed }

func (m *membership) Cluster() string { return "" }

func (m *membership) RoundTrip(_, _ string) (time.Duration, bool) { return 0, false }
