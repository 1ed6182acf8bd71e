package emulation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/testbed/emulation/cgroup"
	"github.com/weft-mesh/weft/testbed/emulation/ns"
)

// TestHolderKilled is the crash: kill -9 of the process with the testbed.
func TestHolderKilled(t *testing.T) {
	b := newBench(t)
	holder, s := b.holder("crash")
	nodes := pids(s.Nodes)
	if len(nodes) != 3 {
		t.Fatalf("record %+v", s)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the nodes have died with their holder", func() bool {
		return !slices.ContainsFunc(nodes, alive)
	})
	for _, n := range s.Nodes {
		eventually(t, "no process is left in "+n.Cgroup, func() bool {
			got, err := cgroup.Processes(n.Cgroup)
			return err == nil && len(got) == 0
		})
	}
	var after *State
	eventually(t, "the record says that the holder is dead", func() bool {
		var err error
		after, err = b.place.Find("crash")
		return err == nil && !after.Alive
	})
	if after.Phase != Up {
		t.Errorf("phase %s", after.Phase)
	}
	if _, err := Exec(t.Context(), after, "fog-1", []string{"true"}, nil, nil, nil); !errors.Is(err, ErrState) || !strings.Contains(err.Error(), "has crashed") {
		t.Errorf("exec: %v", err)
	}

	err := b.new(b.config("crash")).Run(t.Context(), func(context.Context) error { t.Error("it came up"); return nil })
	want := fmt.Sprintf("%scrash.cloud-1, %[1]scrash.edge-1, %[1]scrash.fog-1, cgroup %s/crash/cloud-1 and 3 more: remove it with `weft testbed down crash`", b.place.Prefix, b.place.Cgroup)
	if !errors.Is(err, ErrLeftover) || !strings.Contains(err.Error(), want) {
		t.Errorf("run over what is left: %v\nwant …%s", err, want)
	}
	for range 2 { // the second time there is nothing
		if err := b.place.Down(t.Context(), "crash"); err != nil {
			t.Errorf("down: %v", err)
		}
		b.mustBeGone()
	}
	b.run(b.config("crash"), func(context.Context, *Testbed) {})
}

func TestDownOfALiveTestbed(t *testing.T) {
	b := newBench(t)
	holder, s := b.holder("live")
	if err := b.place.Down(t.Context(), "live"); err != nil {
		t.Errorf("down: %v", err)
	}
	b.mustBeGone()
	eventually(t, "the holder has ended", func() bool { return !alive(holder.Process.Pid) })
	if slices.ContainsFunc(pids(s.Nodes), alive) {
		t.Error("nodes live on")
	}
}

func TestDownOfOnesOwn(t *testing.T) {
	b := newBench(t)
	b.run(b.config("own"), func(ctx context.Context, tb *Testbed) {
		if err := b.place.Down(ctx, "own"); !errors.Is(err, ErrHeld) {
			t.Errorf("down of one's own: %v", err)
		}
		if n := pids(tb.Nodes()); len(n) != 3 {
			t.Errorf("it has taken nodes down: %v are left", n)
		}
	})
	if err := b.place.Down(t.Context(), "../etc"); !errors.Is(err, ErrConfig) {
		t.Errorf("down of a path: %v", err)
	}
}

// TestDownAllFindsWhatNobodyRecorded also has a process in the namespace that
// was put there without a cgroup.
func TestDownAllFindsWhatNobodyRecorded(t *testing.T) {
	b := newBench(t)
	space, other := b.place.namespace("lost", "edge-1"), b.place.Prefix+"other"
	if err := errors.Join(ns.Create(space), ns.Create(other)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Delete(other); err != nil {
			t.Error(err)
		}
	})
	g, err := cgroup.Create(b.place.nodeCgroup("found", "edge-1"))
	if err != nil {
		t.Fatal(err)
	}
	inSpace, inGroup := exec.Command("sleep", "60"), exec.Command("sleep", "60")
	for _, c := range []*exec.Cmd{inSpace, inGroup} {
		t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	}
	if err := ns.Do(space, inSpace.Start); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := g.Start(inGroup); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(b.place.dir("damaged"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.place.state("damaged"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if all, err := b.place.List(); len(all) != 0 || err == nil || !strings.Contains(err.Error(), b.place.state("damaged")) {
		t.Errorf("a damaged record: %v, %v", all, err)
	}
	if names, err := b.place.traces(); err != nil || !slices.Equal(names, []string{"damaged", "found", "lost"}) {
		t.Errorf("traces %v, %v", names, err)
	}
	if err := b.place.DownAll(t.Context()); err != nil {
		t.Errorf("down of all: %v", err)
	}
	for what, c := range map[string]*exec.Cmd{"namespace": inSpace, "cgroup": inGroup} {
		if alive(c.Process.Pid) {
			t.Errorf("the process in the %s lives on", what)
		}
	}
	if left, err := ns.List(b.place.Prefix); err != nil || !slices.Equal(left, []string{filepath.Base(other)}) {
		t.Errorf("namespaces %v, %v, want that of somebody else", left, err)
	}
	if err := ns.Delete(other); err != nil {
		t.Fatal(err)
	}
}

func TestExec(t *testing.T) {
	b := newBench(t)
	_, s := b.holder("exec")
	sh := func(node, script string) (int, string) {
		t.Helper()
		var out bytes.Buffer
		code, err := Exec(t.Context(), s, node, []string{"sh", "-c", script}, strings.NewReader("input\n"), &out, &out)
		if err != nil {
			t.Errorf("exec: %v", err)
		}
		return code, out.String()
	}
	if code, out := sh("fog-1", `read x; echo "$x $WEFT_CONFIG"; exit 5`); code != 5 || out != "input "+s.Dir+"/weft.yaml\n" {
		t.Errorf("exit code %d, output %q", code, out)
	}
	if code, _ := sh("fog-1", "kill -TERM $$"); code != 128+int(syscall.SIGTERM) {
		t.Errorf("exit code %d of one that a signal ended", code)
	}
	if _, out := sh("edge-1", "cat /proc/net/fib_trie /proc/self/cgroup"); !strings.Contains(out, "10.1.0.1") || !strings.Contains(out, "/exec/edge-1") {
		t.Errorf("on edge-1: %s", out)
	}
	if _, err := Exec(t.Context(), s, "edge-9", []string{"true"}, nil, nil, nil); !errors.Is(err, ErrNode) || !strings.Contains(err.Error(), "edge-1, fog-1, cloud-1") {
		t.Errorf("on no node: %v", err)
	}
	if _, err := Exec(t.Context(), s, "edge-1", []string{"no-such-program"}, nil, nil, nil); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("no program: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if code, err := Exec(ctx, s, "edge-1", []string{"sleep", "60"}, nil, nil, nil); code != 128+int(syscall.SIGKILL) || err != nil {
		t.Errorf("cancelled: exit code %d, %v", code, err)
	}
	// What still runs when the testbed goes, goes too.
	type end struct {
		code int
		err  error
	}
	ended := make(chan end, 1)
	go func() {
		code, err := Exec(t.Context(), s, "fog-1", []string{"sleep", "60"}, nil, nil, nil)
		ended <- end{code, err}
	}()
	fog, _ := s.Node("fog-1")
	eventually(t, "sleep runs on fog-1", func() bool {
		p, err := cgroup.Processes(fog.Cgroup)
		return err == nil && len(p) == 2
	})
	if err := b.place.Down(t.Context(), "exec"); err != nil {
		t.Error(err)
	}
	if e := <-ended; e.code != 128+int(syscall.SIGKILL) || e.err != nil {
		t.Errorf("when the testbed went: %+v", e)
	}
}

func TestHolderIsNotALaterProcessOfItsPID(t *testing.T) {
	h, err := self()
	if err != nil || !h.alive() {
		t.Errorf("this process: %+v, %v", h, err)
	}
	h.Started++
	if h.alive() {
		t.Error("a process that started at another time is taken for the holder")
	}
}
