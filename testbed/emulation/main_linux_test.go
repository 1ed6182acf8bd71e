package emulation

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/emulation/cgroup"
	"github.com/weft-mesh/weft/testbed/emulation/ns"
	"github.com/weft-mesh/weft/tiering"
)

// asWeftd has the test binary act as weftd, asHolder as a process that holds
// the testbed whose place and directory follow.
const (
	asWeftd  = "WEFT_EMULATION_FAKE"
	asHolder = "WEFT_EMULATION_HOLDER"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(asWeftd) != "":
		fakeWeftd()
	case os.Getenv(asHolder) != "":
		hold()
	default:
		goleak.VerifyTestMain(m)
	}
}

// fakeWeftd listens where weftd does, logs, and stops when it is told to. The
// file "behave" beside its configuration has it behave otherwise.
func fakeWeftd() {
	must := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	dir, err := os.Getwd() // the emulation starts it there
	must(err)
	behave, err := os.ReadFile(filepath.Join(dir, "behave"))
	if !errors.Is(err, fs.ErrNotExist) {
		must(err)
	}
	fmt.Fprintln(os.Stderr, "fake weftd with", os.Args[1:])
	switch string(behave) {
	case "die":
		fmt.Fprintln(os.Stderr, "a wrong configuration")
		os.Exit(3)
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
	case "chatter":
		line := strings.Repeat("chatter ", 500) + "\n"
		go func() {
			for {
				fmt.Fprint(os.Stderr, line)
			}
		}()
	}
	term := make(chan os.Signal, 1)
	if string(behave) != "deaf" {
		signal.Notify(term, syscall.SIGTERM)
	}
	gossip, err := net.Listen("tcp", "0.0.0.0:"+gossipPort)
	must(err)
	http, err := net.Listen("tcp", "127.0.0.1:"+httpPort)
	must(err)
	for _, l := range []net.Listener{gossip, http} {
		go func() {
			for {
				c, err := l.Accept()
				must(err)
				c.Close()
			}
		}()
	}
	quit, err := net.Listen("tcp", "127.0.0.1:"+apiPort) // a visitor ends it
	must(err)
	go func() {
		_, err := quit.Accept()
		must(err)
		fmt.Fprintln(os.Stderr, "out of luck")
		os.Exit(7)
	}()
	<-term
	fmt.Fprintln(os.Stderr, "bye")
}

// hold is a process with a testbed, until SIGTERM.
func hold() {
	f := strings.Split(os.Getenv(asHolder), "|")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	cfg := Config{
		Name: f[0], Dir: f[1], Weftd: f[2], Shaping: User, Place: Place{f[3], f[4], f[5]},
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), DataDisk: 1 << 20,
	}
	tb, err := New(cfg, small())
	if err == nil {
		err = tb.Run(ctx, func(ctx context.Context) error { <-ctx.Done(); return nil })
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// small is a continuum of three nodes.
func small() *testbed.Scenario {
	node := func(name string, t tiering.Tier) testbed.Node {
		return testbed.Node{Name: name, Tier: t, Cores: 1500, Memory: 512 << 20}
	}
	cloud := node("cloud-1", tiering.Cloud)
	cloud.Coordinator = true
	link := testbed.Link{Delay: time.Millisecond, Rate: 100e6, Queue: 100}
	return &testbed.Scenario{
		Name: "small", Seed: 1,
		Nodes: []testbed.Node{node("edge-1", tiering.Edge), node("fog-1", tiering.Fog), cloud},
		Network: testbed.Network{Tiers: []testbed.TierLink{
			{A: tiering.Edge, B: tiering.Fog, Link: link}, {A: tiering.Fog, B: tiering.Cloud, Link: link},
		}},
	}
}

// bench is a place of the test's own, that must be empty after it.
type bench struct {
	t     *testing.T
	place Place
	weftd string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the emulation needs root")
	}
	t.Parallel() // they wait more than they work
	h := fnv.New32a()
	_, _ = h.Write([]byte(t.Name()))
	id := fmt.Sprintf("%d-%08x", os.Getpid(), h.Sum32())
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, weftd: filepath.Join(t.TempDir(), "weftd"), place: Place{
		Run: t.TempDir(), Prefix: fmt.Sprintf("wtest-%s-", id), Cgroup: "weft-test-emulation-" + id,
	}}
	// A node's environment is not its parent's.
	script := fmt.Sprintf("#!/bin/sh\n%s=1 GORACE=atexit_sleep_ms=0 exec '%s' \"$@\"\n", asWeftd, self)
	if err := os.WriteFile(b.weftd, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Missing(Config{Weftd: b.weftd, Shaping: User}); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		b.mustBeGone()
		if err := b.place.DownAll(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b
}

// mustBeGone checks that nothing is left of any testbed.
func (b *bench) mustBeGone() {
	b.t.Helper()
	spaces, err1 := ns.List(b.place.Prefix)
	groups, err2 := cgroup.List(b.place.Cgroup)
	records, err3 := os.ReadDir(b.place.Run)
	mounted, err4 := disks(b.place.Prefix)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		b.t.Fatal(err)
	}
	if len(spaces)+len(groups)+len(records)+len(mounted) > 0 {
		b.t.Errorf("left behind: namespaces %v, cgroups %v, records %v, disks %v", spaces, groups, records, mounted)
	}
}

func (b *bench) config(name string) Config {
	return Config{
		Name: name, Dir: filepath.Join(b.t.TempDir(), "testbed"), Weftd: b.weftd, Shaping: User, Place: b.place, Version: "test",
		Log: slog.New(slog.NewTextHandler(b.t.Output(), nil)),
	}
}

func (b *bench) new(cfg Config) *Testbed {
	b.t.Helper()
	tb, err := New(cfg, small())
	if err != nil {
		b.t.Fatal(err)
	}
	return tb
}

// run runs a small testbed with use, and checks that it ends without an error
// and without a trace.
func (b *bench) run(cfg Config, use func(ctx context.Context, tb *Testbed)) {
	b.t.Helper()
	tb := b.new(cfg)
	if err := tb.Run(b.t.Context(), func(ctx context.Context) error { use(ctx, tb); return nil }); err != nil {
		b.t.Errorf("run: %v", err)
	}
	b.mustBeGone()
}

// holder starts a process that holds a testbed, and waits until it is up.
func (b *bench) holder(name string) (*exec.Cmd, *State) {
	b.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", asHolder+"="+strings.Join([]string{
		name, filepath.Join(b.t.TempDir(), "held"), b.weftd, b.place.Run, b.place.Prefix, b.place.Cgroup,
	}, "|"))
	cmd.Stdout, cmd.Stderr = b.t.Output(), b.t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	// The parent-death signal is the thread's.
	started, ended := make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		_ = ns.Thread(func() error {
			err := cmd.Start()
			started <- err
			if err == nil {
				_ = cmd.Wait()
			}
			return nil
		})
	}()
	if err := <-started; err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	var s *State
	eventually(b.t, "the holder's testbed is up", func() bool {
		var err error
		s, err = b.place.Find(name)
		return err == nil && s.Phase == Up
	})
	return cmd, s
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := poll(ctx, func() (bool, error) { return done(), nil }); err != nil {
		t.Fatalf("not so after 20 s: %s", what)
	}
}

// alive reports whether a process runs.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	return f[0] != "Z"
}

func pids(nodes []NodeState) []int {
	var out []int
	for _, n := range nodes {
		if n.PID != 0 {
			out = append(out, n.PID)
		}
	}
	slices.Sort(out)
	return out
}
