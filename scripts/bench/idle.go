package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/tiering"
)

const (
	idleSettle = 10 * time.Second
	idleFor    = 30 * time.Second
	// idleTurns are parts of idleFor, to see how much CPU time varies.
	idleTurns = 5
	// ticks a second in which the kernel counts CPU time, on every Linux that
	// Go runs on (USER_HZ).
	ticks = 100
	mebi  = 1 << 20
)

// benchIdle starts a coordinator and an edge node that has nothing to do, both
// real processes, and looks at what the edge node takes.
func benchIdle(ctx context.Context, h *harness) (_ []Ratio, err error) {
	if _, err := os.Stat(h.weftd); err != nil {
		return nil, fmt.Errorf("%w: there is no weftd at %s: run `make build`, or say where it is with -weftd", errLeftOut, h.weftd)
	}
	dir := filepath.Join(h.dir, "idle")
	ca, err := newCA()
	if err != nil {
		return nil, err
	}
	at, apiAt, err := twoPorts()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "gossip.key"), []byte(strings.Repeat("AwMD", 10)+"AwM=\n"), 0o600)); err != nil {
		return nil, err
	}
	coordinator, err := startDaemon(h, ca, dir, "coord-1", pki.Coordinator, at, apiAt, "")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, coordinator.stop()) }()
	edge, err := startDaemon(h, ca, dir, "edge-1", pki.Agent, "127.0.0.1:0", "127.0.0.1:0", at)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, edge.stop()) }()
	operator, err := ca.Issue(pki.Subject{Role: pki.Operator, Name: "bench"}, nil, time.Now(), validity)
	if err != nil {
		return nil, err
	}
	client := api.NewClient(func() []string { return []string{apiAt} }, operator.ClientTLS(pki.Coordinator))
	defer client.Close()
	err = eventually(ctx, "the edge node to have joined", time.Minute, func() bool {
		nodes, err := client.Nodes(ctx)
		alive := 0
		for _, n := range nodes {
			if n.Status == tiering.NodeAlive {
				alive++
			}
		}
		return err == nil && alive == 2
	})
	if err != nil {
		return nil, fmt.Errorf("%w; the edge node's log:\n%s", err, edge.log.String())
	}
	if err := pause(ctx, idleSettle); err != nil {
		return nil, err
	}
	var resident, own, cpu []float64
	for turn := range idleTurns {
		before, err := edge.cpu()
		if err != nil {
			return nil, err
		}
		began := time.Now()
		if err := pause(ctx, idleFor/idleTurns); err != nil {
			return nil, err
		}
		after, err := edge.cpu()
		if err != nil {
			return nil, err
		}
		m, err := edge.memory()
		if err != nil {
			return nil, err
		}
		cpu = append(cpu, 100*(after-before).Seconds()/time.Since(began).Seconds())
		resident, own = append(resident, m["VmRSS"]), append(own, m["RssAnon"])
		h.say("idle weftd, turn %d of %d:  resident %s MiB  of which its own %s MiB  CPU %s %%", turn+1, idleTurns,
			short(m["VmRSS"]), short(m["RssAnon"]), short(cpu[turn]))
	}
	return []Ratio{
		within("idle edge node, resident memory", "MiB", 40, resident),
		within("idle edge node, memory that no file backs", "MiB", 40, own),
		within("idle edge node, CPU time", "% of a core", 1, cpu),
	}, nil
}

// daemon is a weftd process.
type daemon struct {
	cmd  *exec.Cmd
	log  *bytes.Buffer // to be read when it has ended, or for a failure
	done chan error
}

func startDaemon(h *harness, ca *pki.CA, dir, name string, role pki.Role, gossip, apiAt, join string) (*daemon, error) {
	tier := tiering.Edge
	if role == pki.Coordinator {
		tier = tiering.Cloud
	}
	id, err := ca.Issue(pki.Subject{Role: role, Tier: tier, Name: name}, nil, time.Now(), validity)
	if err != nil {
		return nil, err
	}
	if err := id.Save(filepath.Join(dir, "keys")); err != nil {
		return nil, err
	}
	conf := fmt.Sprintf(`mesh: bench
node: {name: %s, tier: %s, capacity: {cpu: 4, memory: 4GiB, disk: 4GiB}}
dataDir: %s
listen: {gossip: %q, data: "127.0.0.1:0", raft: "127.0.0.1:0", api: %q, http: "127.0.0.1:0", mqtt: "127.0.0.1:0"}
gossipKey: gossip.key
tls: {ca: keys/ca.crt, cert: keys/%s.crt, key: keys/%s.key}
coordinator: {enabled: %t}
`, name, tier, name, gossip, apiAt, name, name, role == pki.Coordinator)
	file := filepath.Join(dir, name+".yaml")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return nil, err
	}
	args := []string{"--config", file}
	if join != "" {
		args = append(args, "--join", join)
	}
	d := &daemon{cmd: exec.Command(h.weftd, args...), log: &bytes.Buffer{}, done: make(chan error, 1)}
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	// It does not outlive this process. To the kernel that is the thread that
	// starts it: while weftd runs, nothing here ends threads.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { d.done <- d.cmd.Wait() }()
	return d, nil
}

func (d *daemon) stop() error {
	_ = d.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case err := <-d.done:
		if err != nil {
			return fmt.Errorf("weftd: %w:\n%s", err, d.log)
		}
		return nil
	case <-time.After(30 * time.Second):
		return errors.Join(fmt.Errorf("weftd did not stop"), d.cmd.Process.Kill())
	}
}

// cpu is the CPU time that the process has used.
func (d *daemon) cpu() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The name in parentheses may hold anything; utime and stime are the
	// 12th and 13th field behind it.
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat is not understood: %q", d.cmd.Process.Pid, b)
	}
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	return time.Duration(user+system) * time.Second / ticks, errors.Join(err1, err2)
}

// memory is what /proc says of it, in MiB.
func (d *daemon) memory() (map[string]float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		name, value, _ := strings.Cut(s.Text(), ":")
		if kb, ok := strings.CutSuffix(strings.TrimSpace(value), " kB"); ok {
			if n, err := strconv.Atoi(kb); err == nil {
				out[name] = float64(n) * 1024 / mebi
			}
		}
	}
	return out, nil
}

// twoPorts are addresses that nobody listens on now.
func twoPorts() (a, b string, err error) {
	x, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	y, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", errors.Join(err, x.Close())
	}
	return x.Addr().String(), y.Addr().String(), errors.Join(x.Close(), y.Close())
}
