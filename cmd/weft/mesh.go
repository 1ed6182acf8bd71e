package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/tiering"
)

func meshCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use: "mesh", Short: "Show who coordinates", Args: exactly(0), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error { return query(cmd, env, (*api.Client).Mesh, showMesh) },
	}
}

func showMesh(p *page, m api.Mesh) {
	p.linef("mesh          %s (%s)", m.Mesh, cmp.Or(m.Cluster, "not formed yet"))
	p.linef("coordinators  %s", strings.Join(m.Coordinators, ", "))
	p.linef("leader        %s", cmp.Or(m.Leader, "none at the moment"))
	p.linef("answered by   %s (weftd %s)", m.Node, m.Version)
	for _, o := range m.OutOfService {
		p.linef("not working   %s: %s", o.Node, o.Reason)
	}
}

func nodesCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use: "nodes", Short: "List the nodes: tier, status, what they have and what is reserved", Args: exactly(0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return query(cmd, env, (*api.Client).Nodes, showNodes) },
	}
}

// showNodes lists the nodes from the cloud to the edge.
func showNodes(p *page, nodes []api.Node) {
	if len(nodes) == 0 {
		p.linef("no node has joined yet")
		return
	}
	sorted := slices.SortedStableFunc(slices.Values(nodes), func(a, b api.Node) int {
		return cmp.Or(cmp.Compare(b.Tier, a.Tier), cmp.Compare(a.ID, b.ID))
	})
	now := time.Now()
	var rows [][]string
	for _, n := range sorted {
		rtt := "-"
		if n.RoundTripMS != nil {
			rtt = fmt.Sprintf("%.1f ms", *n.RoundTripMS)
		}
		var platforms []string
		for _, p := range n.Platforms {
			platforms = append(platforms, fmt.Sprintf("%d %s", p.Count, p.Type))
		}
		rows = append(rows, []string{
			n.ID, n.Tier.String(), condition(n), ago(now, n.Since), strings.Join(platforms, ", "),
			share(n.Reserved.CPU, n.Capacity.CPU, cores), share(n.Reserved.Memory, n.Capacity.Memory, tiering.FormatBytes),
			fmt.Sprint(len(n.Placements)), rtt, n.Version,
		})
	}
	p.table("NODE|TIER|STATUS|>SINCE|HAS|>CORES RESERVED|>MEMORY RESERVED|>RUNS|>ROUND TRIP|VERSION", rows)
}

// condition is how a node is, in words.
func condition(n api.Node) string {
	switch {
	case !n.Draining:
		return string(n.Status)
	case n.Status == tiering.NodeAlive:
		return "draining"
	}
	return string(n.Status) + ", draining"
}

// share words what part of a whole is taken; "-" if there is nothing to take.
func share(part, whole int64, format func(int64) string) string {
	if whole == 0 {
		return "-"
	}
	if part == 0 {
		return "0 of " + format(whole)
	}
	return format(part) + " of " + format(whole)
}

// cores formats thousandths of a core as a number of cores.
func cores(milli int64) string { return fmt.Sprintf("%g", float64(milli)/1000) }

// ago words how long ago something was.
func ago(now, then time.Time) string {
	d := max(now.Sub(then), 0) // the clocks may differ
	switch {
	case then.IsZero():
		return "-"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
