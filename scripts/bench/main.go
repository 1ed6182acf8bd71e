package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"
)

// benchmark is one thing that is compared.
type benchmark struct {
	name string
	what string
	run  func(context.Context, *harness) ([]Ratio, error)
}

// errLeftOut: the benchmark needs what this machine or user does not have.
var errLeftOut = errors.New("left out")

func benchmarks() []benchmark {
	return []benchmark{
		{"pipeline", "the whole pipeline on one node, against a plain loop", benchPipeline},
		{"link", "the QUIC link, against raw quic-go, gRPC and TCP with TLS", benchLink},
		{"lossy", "the same with 1 % loss and 20 ms of delay each way (root)", benchLossy},
		{"placements", "committed placements, against bare raft.Apply", benchPlacements},
		{"idle", "memory and CPU of an idle weftd", benchIdle},
		{"members", "200 gossip members, against Serf's own settings", benchMembers},
	}
}

// options are the command line's.
type options struct {
	only    string
	runs    int
	out     string
	weftd   string
	profile string
}

// One benchmark takes partBase and for each of the -runs partRun at most: about
// twice what the longest of them needs.
const (
	partBase = 5 * time.Minute
	partRun  = time.Minute
)

const (
	exitFailure = 1
	exitUsage   = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if role := os.Getenv(roleVariable); role != "" {
		if err := play(ctx, role, args); err != nil {
			fmt.Fprintf(stderr, "bench %s: %v\n", role, err)
			return exitFailure
		}
		return 0
	}
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.only, "only", "", "names of what to measure, separated by commas; empty: all of "+strings.Join(names(), ", "))
	f.IntVar(&o.runs, "runs", 5, "turns that each side of a comparison gets")
	f.StringVar(&o.out, "out", "out", "directory for bench.json and bench.md, and meanwhile for logs of Raft: on a disk")
	f.StringVar(&o.weftd, "weftd", filepath.Join("bin", "weftd"), "the daemon that is measured idle")
	f.StringVar(&o.profile, "cpuprofile", "", "file for a CPU profile of this process")
	if err := f.Parse(args); err != nil {
		return exitUsage
	}
	chosen, err := choose(o.only)
	switch {
	case err != nil:
	case f.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.runs < 1:
		err = fmt.Errorf("-runs %d: at least 1", o.runs)
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return exitUsage
	}
	if err := measure(ctx, o, chosen, stdout); err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return exitFailure
	}
	return 0
}

func names() []string {
	var out []string
	for _, b := range benchmarks() {
		out = append(out, b.name)
	}
	return out
}

// choose returns the benchmarks of a list of names, in their own order.
func choose(only string) ([]benchmark, error) {
	all := benchmarks()
	if only == "" {
		return all, nil
	}
	wanted := strings.Split(only, ",")
	for _, w := range wanted {
		if !slices.Contains(names(), w) {
			return nil, fmt.Errorf("there is no benchmark %q: choose of %s", w, strings.Join(names(), ", "))
		}
	}
	return slices.DeleteFunc(all, func(b benchmark) bool { return !slices.Contains(wanted, b.name) }), nil
}

// measure runs the benchmarks and after each writes what all have found. One
// that fails does not keep the others from being measured, nor what it had found
// from being told.
func measure(ctx context.Context, o options, chosen []benchmark, stdout io.Writer) (err error) {
	if o.profile != "" {
		p, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		defer p.Close()
		if err := pprof.StartCPUProfile(p); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	// Beside the results and not in $TMPDIR, which may be in memory, where a
	// commit to the log would cost nothing.
	out, err := filepath.Abs(o.out)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(out, "bench-*.tmp")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	h := newHarness(o, dir, stdout)
	if h.pair, err = newPair(); err != nil {
		return err
	}
	var (
		all   []Ratio
		errs  []error
		about = machine(time.Now())
	)
	for _, b := range chosen {
		fmt.Fprintf(stdout, "==> %s: %s\n", b.name, b.what)
		ratios, err := part(ctx, b, h)
		switch {
		case errors.Is(err, errLeftOut):
			fmt.Fprintf(stdout, "    %v\n", err)
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", b.name, err))
			fmt.Fprintf(stdout, "    failed: %v\n", err)
		}
		for _, r := range ratios {
			fmt.Fprintf(stdout, "    %s\n", r)
		}
		all = append(all, ratios...)
		if err := write(out, about, all); err != nil {
			return errors.Join(append(errs, err)...)
		}
		if ctx.Err() != nil {
			break
		}
	}
	fmt.Fprintf(stdout, "==> %s and bench.md in the same place\n", filepath.Join(o.out, "bench.json"))
	return errors.Join(errs...)
}

// part runs one benchmark within its time.
func part(ctx context.Context, b benchmark, h *harness) ([]Ratio, error) {
	limit := partBase + time.Duration(h.runs)*partRun
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done within %s", limit))
	defer cancel()
	return b.run(ctx, h)
}
