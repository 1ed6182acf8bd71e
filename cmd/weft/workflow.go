package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/tiering"
	"github.com/weft-mesh/weft/tiering/workflow"
)

func workflowCommand(env *environment) *cobra.Command {
	return group("workflow", "Plan, submit and watch workflows",
		checkCommand(env), planCommand(env), submitCommand(env), listCommand(env), statusCommand(env),
		recordCommand(env), stopCommand(env), eventsCommand(env))
}

// maxDocument bounds what is read of a workflow document, in bytes; the mesh
// takes no more either.
const maxDocument = 1 << 20

// readDocument reads a workflow document from a file, or from standard input
// for "-", and returns its name for messages, too.
func readDocument(cmd *cobra.Command, path string) (string, []byte, error) {
	var from io.Reader = cmd.InOrStdin()
	if path == "-" {
		path = "<stdin>"
	} else {
		f, err := os.Open(path)
		if err != nil {
			return path, nil, err
		}
		defer f.Close()
		from = f
	}
	data, err := io.ReadAll(io.LimitReader(from, maxDocument+1))
	if err == nil && len(data) > maxDocument {
		err = fmt.Errorf("%s: too large for a workflow document: at most %s", path, tiering.FormatBytes(maxDocument))
	}
	return path, data, err
}

func checkCommand(env *environment) *cobra.Command {
	var catalogue string
	c := &cobra.Command{
		Use: "check FILE", Short: "Check a workflow document without a mesh", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, data, err := readDocument(cmd, args[0])
			if err != nil {
				return err
			}
			models, err := knownModels(catalogue)
			if err != nil {
				return err
			}
			w, err := workflow.Parse(file, data, models)
			if err != nil {
				return err
			}
			return env.print(cmd.OutOrStdout(), w, func(p *page) {
				p.linef("%s: workflow %s is sound: %s, %s", file, w.Name, count(len(w.Sources), "source"), count(len(w.Tasks), "task"))
			})
		},
	}
	c.Flags().StringVar(&catalogue, "catalogue", "", "file of models besides those that Weft knows by itself")
	return c
}

// knownModels is the catalogue of Weft, and of a file if one is given.
func knownModels(file string) (*catalog.Catalog, error) {
	known := catalog.Builtin()
	if file == "" {
		return known, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	own, err := catalog.Load(file, data)
	if err != nil {
		return nil, err
	}
	return known.Merge(own)
}

func listCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the workflows", Args: exactly(0), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return query(cmd, env, (*api.Client).Workflows, showWorkflows)
		},
	}
}

func showWorkflows(p *page, ws []api.Workflow) {
	if len(ws) == 0 {
		p.linef("no workflows; `weft workflow submit FILE` submits one")
		return
	}
	now := time.Now()
	var rows [][]string
	for _, x := range ws {
		why := x.Reason
		if n := x.Next; n != nil {
			why = strings.TrimPrefix(fmt.Sprintf("%s; version %d waits: %s", why, n.Version, n.Reason), "; ")
		}
		rows = append(rows, []string{
			x.Name, x.Status, ago(now, x.Since), fmt.Sprint(x.Version),
			fmt.Sprint(x.Sources), fmt.Sprint(x.Tasks), fmt.Sprint(x.Instances), why,
		})
	}
	p.table("WORKFLOW|STATUS|>SINCE|>VERSION|>SOURCES|>TASKS|>INSTANCES|WHY", rows)
}

func stopCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use: "stop NAME", Short: "Stop a workflow and release what it has reserved", Args: exactly(1),
		ValidArgsFunction: workflowNames(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			type stopped struct {
				Workflow string `json:"workflow"`
				Status   string `json:"status"`
			}
			return query(cmd, env, func(c *api.Client, ctx context.Context) (stopped, error) {
				return stopped{args[0], "stopped"}, namely(c.Stop(ctx, args[0]), args[0])
			}, func(p *page, s stopped) { p.linef("workflow %s stopped", s.Workflow) })
		},
	}
}

// reopenAfter is the pause before events are asked for again.
const reopenAfter = 500 * time.Millisecond

func eventsCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use: "events", Short: "Follow what happens in the mesh until interrupted", Args: exactly(0),
		Long: `Show the latest events of the mesh, and follow it until interrupted. With
-o json each line is one event.`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := env.connect()
			if err != nil {
				return err
			}
			defer c.Close()
			return follow(cmd.Context(), c, func(e api.Event) error { return env.printEvent(cmd.OutOrStdout(), e) })
		},
	}
}

// follow hands over events until ctx ends. When the coordinator that sends
// them goes, it goes on with another.
func follow(ctx context.Context, c *api.Client, handle func(api.Event) error) error {
	var last uint64
	var failed error // of handle
	for {
		err := c.Events(ctx, last, func(e api.Event) error {
			last = e.Index
			failed = handle(e)
			return failed
		})
		var answer *api.Error
		switch {
		case ctx.Err() != nil:
			return nil // that is how it is ended
		case failed != nil, errors.Is(err, api.ErrUnreachable), errors.As(err, &answer):
			return err
		}
		select {
		case <-time.After(reopenAfter):
		case <-ctx.Done():
			return nil
		}
	}
}

// workflowNames makes the shell offer the workflows of the mesh.
func workflowNames(env *environment) cobra.CompletionFunc {
	return offer(env, func(ctx context.Context, c *api.Client) (names []cobra.Completion) {
		ws, _ := c.Workflows(ctx) // without an answer there is nothing to offer
		for _, w := range ws {
			names = append(names, cobra.CompletionWithDesc(w.Name, w.Status))
		}
		return names
	})
}

// count words a number of things: "1 task", "3 tasks".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
