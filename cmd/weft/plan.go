package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/tiering"
)

// planName is the command with exit codes of its own.
const planName = "plan"

// errChanges is how `weft workflow plan` ends when something would change.
var errChanges = errors.New("submitting would change something")

func planCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   planName + " FILE",
		Short: "Show what submitting a workflow would change, and why; changes nothing",
		Long: `Show what submitting a workflow would change: the category of each task, what
is reserved for it, where it would run and why. Nothing is changed. FILE is a
workflow document; - is standard input.

  +  starts, or moves here        -  stops
  ~  gives up a part of what it has reserved
  !  is on no node yet

Exit codes: 0 nothing would change, 1 something would, 255 an error.`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := propose(cmd, env, args[0], (*api.Client).Plan)
			if err != nil {
				return err
			}
			err = env.print(cmd.OutOrStdout(), p, func(out *page) {
				showPlan(out, p)
				if !p.Changes {
					out.linef("\nnothing would change")
				}
			})
			if err == nil && p.Changes {
				return errChanges
			}
			return err
		},
	}
}

func submitCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "submit FILE",
		Short: "Submit a workflow, or a new version of one",
		Long: `Submit a workflow, or a new version of one, and show what has changed. FILE is
a workflow document; - is standard input.`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := propose(cmd, env, args[0], (*api.Client).Submit)
			if err != nil {
				return err
			}
			return env.print(cmd.OutOrStdout(), p, func(out *page) {
				showPlan(out, p)
				outcome := "submitted"
				switch {
				case !p.Changes:
					outcome += "; everything stays where it is"
				case p.Plan.Awaits:
					outcome += "; it starts when its models have come, and what runs under its name goes on until then"
				}
				out.linef("\nworkflow %s %s", p.Plan.Workflow, outcome)
			})
		},
	}
}

// propose sends a document to the mesh.
func propose(cmd *cobra.Command, env *environment, path string,
	send func(c *api.Client, ctx context.Context, file string, document []byte) (api.Planned, error)) (api.Planned, error) {
	file, data, err := readDocument(cmd, path)
	if err != nil {
		return api.Planned{}, err
	}
	c, _, err := env.connect()
	if err != nil {
		return api.Planned{}, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), requestTimeout)
	defer cancel()
	return send(c, ctx, file, data)
}

// showPlan lists where everything runs, in the order in which frames pass.
func showPlan(p *page, planned api.Planned) {
	plan := planned.Plan
	starts := map[string]bool{}
	for _, x := range plan.Place {
		starts[x.ID] = true
	}
	var rows [][]string
	for _, x := range inOrder(slices.Concat(plan.Place, plan.Keep), planned.Sources, planned.Tasks) {
		sign := ""
		if starts[x.ID] {
			sign = "+"
		}
		rows = append(rows, []string{
			sign, x.Task, category(x), x.Node, x.Tier.String(),
			orDash(x.Reserved.CPU, cores), orDash(x.Reserved.Memory, tiering.FormatBytes), orDash(x.Reserved.Disk, tiering.FormatBytes),
			why(category(x), x.Reason),
		})
	}
	p.table(" |TASK|CATEGORY|NODE|TIER|>CORES|>MEMORY|>DISK|WHY", rows)
	for _, a := range plan.Adjust {
		p.linef("~ %s gives up %s", a.Placement, given(a))
	}
	for _, id := range plan.Remove {
		p.linef("- %s stops", id)
	}
	for _, u := range plan.Unplaced {
		p.linef("! %s is on no node: %s", u.Name, clean(u.Reason))
	}
}

// inOrder sorts placements as frames pass them.
func inOrder(placements []tiering.Placement, sources []tiering.Source, tasks []tiering.Task) []tiering.Placement {
	var names []string
	for _, s := range sources {
		names = append(names, s.Name)
	}
	for _, t := range tasks {
		names = append(names, t.Name)
	}
	return byNames(placements, names)
}

// byNames sorts placements in the order of the names of sources and tasks.
func byNames(placements []tiering.Placement, names []string) []tiering.Placement {
	at := map[string]int{}
	for i, n := range names {
		at[n] = i
	}
	return slices.SortedStableFunc(slices.Values(placements), func(a, b tiering.Placement) int {
		return cmp.Or(cmp.Compare(at[a.Task], at[b.Task]), cmp.Compare(a.Instance, b.Instance))
	})
}

// category is a placement's, or "source".
func category(p tiering.Placement) string {
	if p.Source {
		return "source"
	}
	return string(p.Category)
}

// why is the reason of a placement without its category, which stands beside
// it.
func why(category, reason string) string { return strings.TrimPrefix(reason, category+": ") }

// given words what an adjustment takes away: "0.5 of 1 core, 256 MiB of 512
// MiB memory".
func given(a tiering.Adjustment) string {
	var parts []string
	lost := a.From.Sub(a.To)
	if lost.CPU > 0 {
		parts = append(parts, cores(lost.CPU)+" of "+tiering.FormatCPU(a.From.CPU))
	}
	if lost.Memory > 0 {
		parts = append(parts, share(lost.Memory, a.From.Memory, tiering.FormatBytes)+" memory")
	}
	if lost.Disk > 0 {
		parts = append(parts, share(lost.Disk, a.From.Disk, tiering.FormatBytes)+" disk")
	}
	return strings.Join(parts, ", ")
}

func orDash(n int64, format func(int64) string) string {
	if n == 0 {
		return "-"
	}
	return format(n)
}
