// Command weft is Weft's command line: it plans and submits workflows, shows
// nodes, models and how workflows are doing, and makes a mesh's keys. It is
// pure Go and needs no OpenCV.
//
// Tables are for people; with -o json nothing but JSON comes on standard
// output, in the API's own form where the API has one. Progress and errors go
// to standard error.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/coordinator/api"
)

// version is set by the linker.
var version = "unreleased"

// The exit codes of weft. `weft workflow plan` has its own, as Nomad's plan
// has: 0 nothing would change, 1 something would, 255 it could not be found
// out.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2 // the command line or weft's configuration is wrong
	exitLeft    = 3 // the time to wait for a drain is over
	exitChanges = 1
	exitPlan    = 255
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends weft at once
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	env := &environment{output: formatText}
	root := rootCommand(env)
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	cmd, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errChanges):
		return exitChanges
	}
	if code, ok := errors.AsType[exitCode](err); ok {
		return int(code)
	}
	fmt.Fprintln(errOut, env.explain(err))
	switch {
	case cmd.Name() == planName:
		return exitPlan
	case errors.As(err, new(usageError)):
		return exitUsage
	case errors.As(err, new(leftError)):
		return exitLeft
	}
	return exitFailure
}

// usageError is a mistake on the command line or in weft's configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func wrongUsage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func rootCommand(env *environment) *cobra.Command {
	root := group("weft", "Plan, submit and watch workflows on a Weft mesh",
		meshCommand(env), nodesCommand(env), nodeCommand(env), modelsCommand(env), workflowCommand(env), qualityCommand(env),
		testbedCommand(env), simCommand(env), tokenCommand(env), caCommand(env), keygenCommand(env), mqttPasswordCommand(env),
		gossipKeyCommand(env), versionCommand(env))
	root.SilenceUsage, root.SilenceErrors = true, true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return wrongUsage("%w; see `%s --help`", err, cmd.CommandPath())
	})
	f := root.PersistentFlags()
	f.StringVar(&env.file, "config", "", "how to reach the mesh (default $WEFT_CONFIG, then weft/weft.yaml in the user's configuration directory)")
	f.VarP(&env.output, "output", "o", "text for people, json for scripts")
	complete(root, "output", string(formatText), string(formatJSON))
	return root
}

func versionCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: exactly(0), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return env.print(cmd.OutOrStdout(), map[string]string{"version": version}, func(p *page) { p.linef("weft %s", version) })
		},
	}
}

// exactly wants n arguments, named in the command's usage line.
func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return wrongUsage("usage: %s", cmd.UseLine())
		}
		return nil
	}
}

// group is a command that only has subcommands.
func group(use, short string, sub ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.ArbitraryArgs, SuggestionsMinimumDistance: 2,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			meant := ""
			if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
				meant = "; did you mean " + strings.Join(s, " or ") + "?"
			}
			return wrongUsage("%s has no command %q%s; see `%s --help`", cmd.CommandPath(), args[0], meant, cmd.CommandPath())
		},
	}
	c.AddCommand(sub...)
	return c
}

// complete makes the shell offer the values of a flag.
func complete(c *cobra.Command, flag string, values ...string) {
	err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // no flag of that name
	}
}

// offer makes the shell offer names that the mesh knows, for a command's first
// argument.
func offer(env *environment, names func(context.Context, *api.Client) []cobra.Completion) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		c, _, err := env.connect()
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
		defer cancel()
		return names(ctx, c), cobra.ShellCompDirectiveNoFileComp
	}
}
