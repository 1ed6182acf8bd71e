package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/tiering"
)

func profilesCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use: "profiles", Short: "List what detectors were measured to cost on the nodes: time, memory, energy", Args: exactly(0),
		Long: `List what detectors were measured to cost on the nodes of the mesh: the time of a
frame (median and 95th percentile), the time to load until the first frame is
analysed, by how much a process grows, and the energy of a frame.

Nodes measure by themselves, in the background, what workflows run there, or
could. "live" marks times that differed so much from what workflows' frames took
that these took their place. Energy is measured by the processor's counters
(rapl) or by nvidia-smi, of the whole machine, or worked out (model). ` + "`weftd profile`" + `
measures what is asked for, on the machine where it runs.`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return query(cmd, env, (*api.Client).Profiles, showProfiles)
		},
	}
}

func showProfiles(p *page, profiles []api.NodeProfile) {
	if len(profiles) == 0 {
		p.linef("nothing has been measured yet: nodes measure the models of workflows that are submitted")
		return
	}
	now := time.Now()
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) }
	var rows [][]string
	for _, x := range profiles {
		live, memory := "", "-"
		if x.Live {
			live = "live"
		}
		if x.Memory > 0 {
			memory = tiering.FormatBytes(x.Memory)
		}
		rows = append(rows, []string{
			x.Node, fmt.Sprintf("%s@%d", x.Model, x.Resolution), platformOf(x.Platform), ms(x.ExecuteP50), ms(x.ExecuteP95), live,
			ms(x.Load), memory, fmt.Sprintf("%.3g", x.Energy.JoulesPerFrame), string(x.Energy.Source), ago(now, x.At),
		})
	}
	p.table("NODE|MODEL|PLATFORM|>P50 MS|>P95 MS|TIMES|>LOAD MS|>MEMORY|>J/FRAME|BY|>AGE", rows)
}

// platformOf words what a detector was measured on.
func platformOf(p profile.Platform) string {
	name := cmp.Or(strings.TrimSpace(p.Processor), "processor without a name")
	if p.Backend != profile.CPU {
		return p.Backend + ", " + name
	}
	return fmt.Sprintf("%s, %d × %s", p.Backend, p.Cores, name)
}
