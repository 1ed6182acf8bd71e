package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/adaptation/quality"
	"github.com/weft-mesh/weft/coordinator/api"
)

func qualityCommand(env *environment) *cobra.Command {
	c := &cobra.Command{
		Use: "quality [WORKFLOW...]", Short: "Show at which quality sources are analysed, and why",
		Long: `Show at which quality the sources of workflows are analysed, what latency and
accuracy was estimated and measured, and why. Without a name: of all workflows.

The mesh lowers the quality of some sources where that buys latency, and gives
it back; how, a workflow's document says under spec.adaptation.`,
		ValidArgsFunction: workflowNames(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			return query(cmd, env, func(c *api.Client, ctx context.Context) ([]api.QualityStatus, error) {
				return qualities(ctx, c, args)
			}, showQualities)
		},
	}
	c.AddCommand(&cobra.Command{
		Use: "explain WORKFLOW", Short: "List the distributions of qualities that lost, and by how much", Args: exactly(1),
		ValidArgsFunction: workflowNames(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			return query(cmd, env, func(c *api.Client, ctx context.Context) (api.QualityStatus, error) {
				s, err := c.Quality(ctx, args[0])
				return s, namely(err, args[0])
			}, showAlternatives)
		},
	})
	return c
}

func qualities(ctx context.Context, c *api.Client, names []string) ([]api.QualityStatus, error) {
	if len(names) == 0 {
		all, err := c.Workflows(ctx)
		if err != nil {
			return nil, err
		}
		for _, w := range all {
			if w.Status != "stopped" {
				names = append(names, w.Name)
			}
		}
	}
	out := []api.QualityStatus{}
	for _, name := range names {
		s, err := c.Quality(ctx, name)
		if err != nil {
			return nil, namely(err, name)
		}
		out = append(out, s)
	}
	return out, nil
}

func showQualities(p *page, all []api.QualityStatus) {
	if len(all) == 0 {
		p.linef("no workflow runs")
	}
	for i, s := range all {
		if i > 0 {
			p.linef("")
		}
		showQuality(p, s)
	}
}

func showQuality(p *page, s api.QualityStatus) {
	d := s.Decision
	if d == nil {
		p.linef("workflow %s: %s", s.Workflow, clean(s.Idle))
		return
	}
	p.linef("workflow %s: %s", s.Workflow, clean(shares(d.Distribution)))
	p.linef("why       %s", clean(d.Why))
	p.linef("estimate  %s, for an accuracy of at least %.3f", clean(estimated(d.Estimate)), d.MinAccuracy)
	if d.Debt > 0 {
		p.linef("owed      %.3f: the accuracy was below that", float64(d.Debt))
	}
	if s.F1 > 0 {
		p.linef("measured  F1 %.3f in the last period", s.F1)
	}
	if s.Predictions > 0 {
		p.linef("error     %.0f %% in the median of %d predictions of latency", 100*s.Error, s.Predictions)
	}
	var rows [][]string
	for _, x := range s.Sources {
		if x.Held != "" {
			rows = append(rows, []string{x.Source, "held", "", "", "", x.Held})
			continue
		}
		measured := ""
		if x.Measured > 0 {
			measured = fmt.Sprintf("%.1f", x.Measured)
		}
		estimate := "for ever"
		if x.Estimated < float64(time.Hour/time.Millisecond) {
			estimate = fmt.Sprintf("%.1f", x.Estimated)
		}
		rows = append(rows, []string{x.Source, x.Quality.String(), estimate, measured, fmt.Sprintf("%.3f", x.Accuracy), x.Why})
	}
	p.linef("")
	p.table("SOURCE|QUALITY|>ESTIMATED ms|>MEASURED ms|>F1|WHY", rows)
}

func showAlternatives(p *page, s api.QualityStatus) {
	d := s.Decision
	if d == nil {
		showQuality(p, s)
		return
	}
	p.linef("workflow %s: %s", s.Workflow, clean(shares(d.Distribution)))
	p.linef("why       %s", clean(d.Why))
	p.linef("estimate  %s", clean(estimated(d.Estimate)))
	rows := [][]string{}
	for _, a := range d.Alternatives {
		rows = append(rows, []string{a.Name, shares(a.Distribution), latencyOf(a.Estimate), fmt.Sprintf("%.3f", a.Estimate.Accuracy), a.Lost})
	}
	p.linef("")
	p.table("ALTERNATIVE|DISTRIBUTION|>LATENCY|>F1|LOST BY", rows)
	rows = nil
	for _, x := range d.Stations {
		wait := "for ever"
		if x.Wait < time.Hour {
			wait = fmt.Sprintf("%.1f", float64(x.Wait)/float64(time.Millisecond))
		}
		rows = append(rows, []string{x.Station, fmt.Sprintf("%.0f %%", 100*x.Load), wait})
	}
	p.linef("")
	p.table("STATION|>LOAD|>WAIT ms", rows)
	for _, u := range d.Unusable {
		p.linef("%s cannot have %s: %s", clean(u.Class), u.Quality, clean(u.Why))
	}
	for _, r := range d.Refused {
		p.linef("%s is held: %s", clean(r.Source), clean(r.Why))
	}
}

// shares says how many sources have which quality.
func shares(d quality.Distribution) string {
	var all []quality.Quality
	n := map[quality.Quality]int{}
	for _, s := range d {
		if !slices.Contains(all, s.Quality) {
			all = append(all, s.Quality)
		}
		n[s.Quality] += s.Sources
	}
	var out []string
	for _, q := range all {
		out = append(out, fmt.Sprintf("%d × %s", n[q], q))
	}
	if out == nil {
		return "no source is admitted"
	}
	return strings.Join(out, ", ")
}

func estimated(e quality.Estimate) string {
	if e.Saturated != "" {
		return e.Saturated
	}
	return fmt.Sprintf("%s mean latency, F1 %.3f, utility %.3f", latencyOf(e), e.Accuracy, e.Utility)
}

func latencyOf(e quality.Estimate) string {
	if e.Saturated != "" {
		return "-"
	}
	return ms(float64(e.Latency) / float64(time.Millisecond))
}
