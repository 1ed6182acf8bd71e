package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/emulation"
	"github.com/weft-mesh/weft/testbed/experiment/live"
)

// upOptions are what `up` hands on to the process that holds the testbed.
type upOptions struct {
	groundOptions
	dir   string
	scale float64
}

func (o *upOptions) flags(c *cobra.Command) {
	o.groundOptions.flags(c)
	c.Flags().StringVar(&o.dir, "dir", "", "directory for configurations, keys, data and logs (default: /var/lib/weft/testbeds/NAME)")
	c.Flags().Float64Var(&o.scale, "cpu-scale", 0, "every node's CPU quota is its cores times this, and the scenario's overhead (default: the scenario's)")
}

func (o *upOptions) load(file string) (*testbed.Scenario, error) {
	s, err := testbed.Load(file)
	if err != nil {
		return nil, err
	}
	if o.scale != 0 {
		s.CPUScale = o.scale
	}
	if o.name == "" {
		o.name = s.Name
	}
	if o.dir == "" {
		o.dir = o.usualDir()
	}
	return s, nil
}

// usualDir is where the files of a testbed are that is told no other place.
func (o *upOptions) usualDir() string { return filepath.Join("/var/lib/weft/testbeds", o.name) }

// clear removes what an earlier testbed has left in the usual directory. One
// that the user named is not ours to empty. It refuses where a testbed of this
// name is up, or has crashed.
func (o *upOptions) clear() error {
	switch s, err := (emulation.Place{}).Find(o.name); {
	case err == nil && s.Alive:
		return fmt.Errorf("%w: %s: stop it with `weft testbed down %s`, or choose another name with --name", emulation.ErrHeld, o.name, o.name)
	case err == nil:
		return fmt.Errorf("%w: %s: remove it with `weft testbed down %s`", emulation.ErrLeftover, o.name, o.name)
	case !errors.Is(err, emulation.ErrNotFound):
		return err
	case o.dir != o.usualDir():
		return nil
	}
	return os.RemoveAll(o.dir)
}

func testbedUpCommand(env *environment) *cobra.Command {
	var o upOptions
	c := &cobra.Command{
		Use: "up SCENARIO", Short: "Bring a scenario's continuum up, and leave it up", Args: exactly(1),
		Long: `Bring the nodes and links of a scenario up, each node with a real weftd, and
return when all of them are alive. No workflow is submitted and no timeline is
carried out: that is yours to do, with

  weft testbed exec NODE -- weft workflow submit FILE

A process in the background holds the testbed until ` + "`weft testbed down`" + `. Logs
and configurations stay in the directory until a testbed of this name comes up
again.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := o.load(args[0])
			if err != nil {
				return err
			}
			show := newProgress(cmd.ErrOrStderr())
			defer show.end()
			if _, err := o.newBed(s, o.dir, show, o.log(lineWriter{show})); err != nil {
				return err
			}
			if err := o.clear(); err != nil {
				return err
			}
			h, err := startHolder(cmd, &o, args[0])
			if err != nil {
				return err
			}
			if err := h.await(cmd.Context(), show); err != nil {
				return err
			}
			return printStatus(cmd, env, o.name)
		},
	}
	o.flags(c)
	return c
}

// holder is the process in the background that holds a testbed.
type holder struct {
	name, logFile string
	log           *os.File
	ended         chan struct{} // closed when it has
	process       *os.Process
}

// startHolder starts `weft testbed hold` in a session of its own, so that it
// outlives this terminal.
func startHolder(cmd *cobra.Command, o *upOptions, scenario string) (*holder, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(o.dir), 0o755); err != nil {
		return nil, err
	}
	path := o.dir + ".log"
	log, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_APPEND|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	p := exec.Command(self, "testbed", "hold", scenario, "--name", o.name, "--dir", o.dir, "--links", o.shaping,
		fmt.Sprintf("--weftd=%s", o.weftd), fmt.Sprintf("--accept-links=%t", o.accept), fmt.Sprintf("--verbose=%t", o.verbose),
		fmt.Sprintf("--cpu-scale=%g", o.scale))
	p.Stdout, p.Stderr = log, log
	p.SysProcAttr = newSession()
	if err := p.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	h := &holder{name: o.name, logFile: path, log: log, ended: make(chan struct{}), process: p.Process}
	go func() {
		_ = p.Wait() // its log says why it ended
		close(h.ended)
	}()
	return h, nil
}

// await shows what the holder says until the testbed is up. If this command is
// interrupted, the holder is, too.
func (h *holder) await(ctx context.Context, show *progress) error {
	defer h.log.Close()
	ended := false
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	seen := 0
	for {
		text, err := os.ReadFile(h.logFile)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text[min(seen, len(text)):])) {
			if strings.HasSuffix(line, "\n") {
				seen += len(line)
				if line == readyLine+"\n" {
					return nil
				}
				show.say(strings.TrimSuffix(line, "\n"))
			}
		}
		if ended {
			return fmt.Errorf("testbed %s did not come up", h.name)
		}
		select {
		case <-tick.C:
		case <-h.ended:
			ended = true // and has said why by now
		case <-ctx.Done():
			_ = h.process.Signal(syscall.SIGTERM)
			<-h.ended
			return fmt.Errorf("testbed %s: interrupted, and taken down", h.name)
		}
	}
}

// readyLine is what a holder says when its testbed is up.
const readyLine = "the testbed is up"

// testbedHoldCommand is what `up` leaves in the background.
func testbedHoldCommand() *cobra.Command {
	var o upOptions
	c := &cobra.Command{
		Use: "hold SCENARIO", Short: "Hold a testbed until interrupted", Args: exactly(1), Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := o.load(args[0])
			if err != nil {
				return err
			}
			show := newProgress(cmd.ErrOrStderr())
			b, err := o.newBed(s, o.dir, show, o.log(lineWriter{show}))
			if err != nil {
				return err
			}
			return b.use(cmd.Context(), func(ctx context.Context, _ *live.Config) error {
				if err := b.Limit(true); err != nil {
					return err
				}
				show.say(readyLine)
				<-ctx.Done()
				if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
					return cause
				}
				return nil
			})
		},
	}
	o.flags(c)
	return c
}

// oneTestbed finds the testbed of a name, or the only one there is.
func oneTestbed(name string) (*emulation.State, error) {
	var place emulation.Place
	if name != "" {
		return place.Find(name)
	}
	all, err := place.List()
	switch {
	case err != nil:
		return nil, err
	case len(all) == 0:
		return nil, fmt.Errorf("%w: none is up", emulation.ErrNotFound)
	case len(all) > 1:
		var names []string
		for _, s := range all {
			names = append(names, s.Name)
		}
		return nil, wrongUsage("several testbeds are up: choose one of %s with --name", strings.Join(names, ", "))
	}
	return &all[0], nil
}

func testbedStatusCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use: "status [NAME]", Short: "Show the testbeds of this machine, or the nodes of one", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return printStatus(cmd, env, args[0])
			}
			all, err := emulation.Place{}.List()
			if err != nil {
				return err
			}
			if len(all) == 1 {
				return printStatus(cmd, env, all[0].Name)
			}
			return env.print(cmd.OutOrStdout(), append([]emulation.State{}, all...), func(p *page) { showTestbeds(p, all) })
		},
	}
}

func showTestbeds(p *page, all []emulation.State) {
	if len(all) == 0 {
		p.linef("no testbed is up")
		return
	}
	now := time.Now()
	var rows [][]string
	for _, s := range all {
		rows = append(rows, []string{s.Name, phase(&s), ago(now, s.Began), fmt.Sprint(len(s.Nodes)), fmt.Sprint(s.Holder.PID), s.Dir})
	}
	p.table("TESTBED|PHASE|>SINCE|>NODES|>HELD BY|DIRECTORY", rows)
}

func phase(s *emulation.State) string {
	if !s.Alive {
		return "crashed"
	}
	return string(s.Phase)
}

func printStatus(cmd *cobra.Command, env *environment, name string) error {
	s, err := emulation.Place{}.Find(name)
	if err != nil {
		return err
	}
	return env.print(cmd.OutOrStdout(), s, func(p *page) {
		p.linef("testbed %s: %s; %s", s.Name, phase(s), s.Shaping)
		if !s.Alive {
			p.linef("its process is gone: `weft testbed down %s` removes what is left", s.Name)
		}
		var rows [][]string
		for _, n := range s.Nodes {
			state := "down"
			switch {
			case n.Paused:
				state = "paused"
			case n.Up:
				state = "up"
			case n.Exit != "":
				state = "died: " + n.Exit
			}
			rows = append(rows, []string{n.Name, state, n.Address.String(), fmt.Sprint(n.PID), n.Namespace, n.Dir})
		}
		p.table("NODE|STATE|ADDRESS|>PID|NAMESPACE|DIRECTORY", rows)
		p.linef("")
		p.linef("weft testbed exec NODE -- weft nodes    runs a command on a node, here weft's")
	})
}

func testbedExecCommand() *cobra.Command {
	var name string
	c := &cobra.Command{
		Use: "exec NODE -- COMMAND [ARG ...]", Short: "Run a command on a node of a testbed, in its network and within its limits",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return wrongUsage("usage: %s", cmd.UseLine())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := oneTestbed(name)
			if err != nil {
				return err
			}
			node, command := args[0], args[1:]
			if command[0] == "--" {
				command = command[1:]
			}
			if len(command) == 0 {
				return wrongUsage("usage: %s", cmd.UseLine())
			}
			code, err := emulation.Exec(cmd.Context(), s, node, command, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if code != 0 {
				return exitCode(code)
			}
			return nil
		},
	}
	c.Flags().StringVar(&name, "name", "", "the testbed (default: the only one)")
	c.Flags().SetInterspersed(false) // the flags of the command are its own
	return c
}

// exitCode ends weft with the code of a command that it ran.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit status %d", int(c)) }

func testbedDownCommand(env *environment) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "down [NAME]", Short: "Take a testbed down, and remove what a crashed one has left", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			type taken struct {
				Testbed string `json:"testbed"`
			}
			var place emulation.Place
			if all {
				if len(args) > 0 {
					return wrongUsage("give a name or --all, not both")
				}
				if err := place.DownAll(cmd.Context()); err != nil {
					return err
				}
				return env.print(cmd.OutOrStdout(), taken{"all"}, func(p *page) { p.linef("all testbeds are down") })
			}
			name := ""
			if len(args) == 1 {
				name = args[0] // which may have no record any more
			} else {
				s, err := oneTestbed("")
				if err != nil {
					return err
				}
				name = s.Name
			}
			_, unknown := place.Find(name)
			if err := place.Down(cmd.Context(), name); err != nil {
				return err
			}
			if errors.Is(unknown, emulation.ErrNotFound) {
				return fmt.Errorf("%w; had it left anything behind, that is gone", unknown)
			}
			return env.print(cmd.OutOrStdout(), taken{name}, func(p *page) { p.linef("testbed %s is down", name) })
		},
	}
	c.Flags().BoolVar(&all, "all", false, "every testbed of this machine, and namespaces and cgroups without one")
	return c
}
