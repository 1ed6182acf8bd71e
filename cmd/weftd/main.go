// Command weftd is Weft's daemon: it gossips this machine's capacity, runs its
// share of the workflows and, where it is told to, is one of the mesh's
// coordinators. `weftd dev` runs a whole small mesh in one process.
//
// It only wires: every part is a package of its own, and this is the only
// place that knows them all.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/pipeline/source"
)

// version is set by the linker.
var version = "unreleased"

// The exit codes of weftd.
const (
	exitFailure = 1 // it could not run, or a part of it failed
	exitUsage   = 2 // the command line or a configuration file is wrong
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// errUsage marks what the user got wrong on the command line.
var errUsage = errors.New("usage")

func run(ctx context.Context, args []string) int {
	root := rootCommand()
	root.SetArgs(args)
	if err := source.Quiet(); err != nil {
		fmt.Fprintf(os.Stderr, "weftd: %v\n", err)
		return exitFailure
	}
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintf(os.Stderr, "weftd: %v\n", err)
	}
	return exitCode(err)
}

func exitCode(err error) int {
	var problems yamlfile.Problems
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage) || errors.As(err, &problems):
		return exitUsage
	}
	return exitFailure
}

func rootCommand() *cobra.Command {
	var (
		file string
		over overrides
	)
	root := &cobra.Command{
		Use:           "weftd --config FILE",
		Short:         "Weft's daemon: gossips capacity, runs stages, coordinates",
		Args:          noArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return fmt.Errorf("%w: --config FILE is needed (or try `weftd dev`); examples/config/weftd.yaml is a start", errUsage)
			}
			cfg, lf, err := readConfig(cmd.Context(), file, over.apply)
			if err != nil {
				return err
			}
			log := newLog(lf).With("node", cfg.Node.ID)
			hangup := make(chan os.Signal, 1)
			signal.Notify(hangup, syscall.SIGHUP)
			defer signal.Stop(hangup)
			cfg.Hangup = hangup
			if cfg.Profile {
				if cfg.Measurer, err = newMeasurer(slog.LevelWarn); err != nil {
					return err
				}
			}
			n, err := newNode(cfg, source.NewDevices(log), log)
			if err != nil {
				return err
			}
			return n.run(cmd.Context())
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	f := root.Flags()
	f.StringVarP(&file, "config", "c", "", "configuration file")
	f.StringVar(&over.dataDir, "data-dir", "", "where state, pictures and models are kept (overrides dataDir)")
	f.StringVar(&over.advertise, "advertise", "", "host that other nodes reach this one at (overrides advertise)")
	f.StringSliceVar(&over.join, "join", nil, "gossip addresses of nodes to join (overrides join)")
	f.TextVar(&over.level, "log-level", slog.LevelInfo, "debug, info, warn or error (overrides log.level)")
	over.levelSet = func() bool { return f.Changed("log-level") }
	root.AddCommand(devCommand(), recoverCommand(), evalCommand(), filterCommand(), profileCommand(), &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArgs,
		Run: func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), "weftd", version) },
	})
	return root
}

func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%w: unexpected argument %q", errUsage, args[0])
	}
	return nil
}

// overrides are the flags that have the last word over the file.
type overrides struct {
	dataDir, advertise string
	join               []string
	level              slog.Level
	levelSet           func() bool
}

func (o *overrides) apply(c *configFile) {
	if o.dataDir != "" {
		c.DataDir = o.dataDir
	}
	if o.advertise != "" {
		c.Advertise = o.advertise
	}
	if o.join != nil {
		c.Join = o.join
	}
	if o.levelSet() {
		c.Log.Level = o.level
	}
}

func newLog(c logFile) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.Level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}
