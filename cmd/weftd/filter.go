package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/adaptation/filter"
	"github.com/weft-mesh/weft/internal/terminal"
	"github.com/weft-mesh/weft/models/eval"
	"github.com/weft-mesh/weft/models/street"
	"github.com/weft-mesh/weft/pipeline/vision"
	"github.com/weft-mesh/weft/tiering"
)

// filterOptions say what `weftd filter` is to measure.
type filterOptions struct {
	evalOptions          // of the detector
	scenes               []string
	fps, frames          int
	accuracy, thresholds []float64
}

// filterReport is what `weftd filter -o json` writes.
type filterReport struct {
	Model      string               `json:"model"`
	Resolution int                  `json:"resolution"`
	Scenes     []*eval.SceneFilters `json:"scenes"`
	Mean       []eval.Filtered      `json:"mean"` // of the scenes, by filter
}

// defaultScenes are three empty or nearly empty streets, six with some traffic,
// of which two in the rain, and three busy ones.
const defaultScenes = "10,27:1,12,8,9:30,28,42,13,14,7,22,40"

func filterCommand() *cobra.Command {
	var o filterOptions
	cmd := &cobra.Command{
		Use:   "filter MODEL --resolution R",
		Short: "Measure what the frame filter saves, and costs in accuracy, on made streets",
		Long: `Measure what the frame filter saves, and costs in accuracy, on made streets.

Every frame of every scene is analysed. Then the filter of a workflow
(operation: filter) says which would have been skipped, for each accuracy that
it is to keep and each fixed threshold; F1 is that of what would have been
shown against what is in the frames. The time that the filter takes to learn
counts.

MODEL is as for eval. A scene is the seed of a street, and after a colon its
density of traffic in percent: 7, 12:30.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%w: one MODEL is needed: a name of the catalogue, a .cfg or an .onnx file", errUsage)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.model = args[0]
			o.setConfidence = cmd.Flags().Changed("confidence")
			return o.run(cmd)
		},
	}
	f := cmd.Flags()
	f.IntVarP(&o.resolution, "resolution", "r", 0, "input size of the detector, in pixels")
	f.StringSliceVar(&o.scenes, "scenes", strings.Split(defaultScenes, ","), "streets: SEED or SEED:DENSITY")
	f.IntVar(&o.fps, "fps", 10, "frames a second")
	f.IntVar(&o.frames, "frames", 400, "frames of each scene")
	f.Float64SliceVar(&o.accuracy, "accuracy", []float64{0.99, 0.95, 0.9, 0.8}, "shares of accuracy to keep")
	f.Float64SliceVar(&o.thresholds, "threshold", []float64{0.002, 0.01, 0.05}, "fixed thresholds")
	f.StringVar(&o.models, "models", filepath.Join(defaults().DataDir, "models"), "directory of detector files")
	f.StringVar(&o.catalogue, "catalogue", "", "catalogue of further detectors")
	f.Float64Var(&o.confidence, "confidence", 0, "least score that counts (default the catalogue's)")
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	f.TextVar(&o.level, "log-level", slog.LevelWarn, "debug, info, warn or error")
	return cmd
}

func (o *filterOptions) run(cmd *cobra.Command) error {
	var scenes []street.Options
	for _, s := range o.scenes {
		scene, err := o.scene(s)
		if err != nil {
			return err
		}
		scenes = append(scenes, scene)
	}
	filters, err := o.filters()
	if err != nil {
		return err
	}
	what, err := o.detector()
	if err != nil {
		return err
	}
	what.Resolution, what.Backend, what.Log = o.resolution, tiering.Backend{Name: "cpu"}, newLog(logFile{Level: o.level})
	d, err := vision.NewDetector(what)
	if err != nil {
		return err
	}
	defer d.Close()

	line := terminal.NewLine(cmd.ErrOrStderr(), terminal.Width(cmd.ErrOrStderr()))
	defer line.End()
	report := filterReport{Model: what.Model.Name, Resolution: o.resolution}
	for i, scene := range scenes {
		r, err := eval.RunFilters(cmd.Context(), eval.FilterConfig{
			Detector: d, Resolution: o.resolution, Street: scene, Frames: o.frames, Filters: filters,
			Progress: func(done, of int) {
				line.Step(fmt.Sprintf("%s scene %d of %d, seed %d", terminal.Bar(i*of+done, len(scenes)*of, 24), i+1, len(scenes), scene.Seed))
			},
		})
		if err != nil {
			return err
		}
		report.Scenes = append(report.Scenes, r)
	}
	line.End()
	report.Mean = meanFilters(report.Scenes)
	if o.output == "json" {
		e := json.NewEncoder(cmd.OutOrStdout())
		e.SetIndent("", "  ")
		return e.Encode(report)
	}
	return report.write(cmd.OutOrStdout())
}

// scene reads SEED or SEED:DENSITY.
func (o *filterOptions) scene(s string) (street.Options, error) {
	seed, density, dense := strings.Cut(s, ":")
	out := street.Options{FPS: o.fps}
	var err error
	if out.Seed, err = strconv.ParseUint(seed, 10, 64); err == nil && dense {
		out.Density, err = strconv.Atoi(density)
	}
	if err == nil {
		_, err = street.New(out)
	}
	if err != nil {
		return out, fmt.Errorf("%w: --scenes has %q: use a seed, or a seed and a density such as 12:30: %w", errUsage, s, err)
	}
	return out, nil
}

func (o *filterOptions) filters() (out []filter.Params, err error) {
	for _, a := range o.accuracy {
		if a == 0 {
			return nil, fmt.Errorf("%w: --accuracy is 0: use the share to keep, above 0 and at most 1", errUsage)
		}
		out = append(out, filter.Params{Accuracy: a})
	}
	for _, t := range o.thresholds {
		out = append(out, filter.Params{Threshold: t})
	}
	for _, p := range out {
		if err := p.Validate(); err != nil {
			return nil, fmt.Errorf("%w: %w", errUsage, err)
		}
	}
	if len(out) == 0 || o.frames < 1 || len(o.scenes) == 0 {
		return nil, fmt.Errorf("%w: nothing to measure: give scenes, frames, and an accuracy or a threshold", errUsage)
	}
	return out, nil
}

// meanFilters is the mean over the scenes.
func meanFilters(scenes []*eval.SceneFilters) []eval.Filtered {
	n := float64(len(scenes))
	out := make([]eval.Filtered, len(scenes[0].Filters))
	for _, s := range scenes {
		for i, f := range s.Filters {
			m := &out[i]
			m.Accuracy, m.Threshold = f.Accuracy, f.Threshold
			m.Last += f.Last / n
			m.Analysed += f.Analysed / n
			m.F1 += f.F1 / n
			m.Kept += f.Kept / n
		}
	}
	return out
}

// write writes a row for each scene, and in it for each filter the share of
// frames analysed and of F1 kept.
func (r *filterReport) write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	head := "SCENE\tOBJECTS\tF1"
	for _, f := range r.Mean {
		if f.Accuracy > 0 {
			head += fmt.Sprintf("\tKEEP %g", f.Accuracy)
		} else {
			head += fmt.Sprintf("\tAT %g", f.Threshold)
		}
	}
	_, _ = fmt.Fprintln(t, head) // Flush says what went wrong
	row := func(name, objects, f1 string, filters []eval.Filtered) {
		for _, f := range filters {
			f1 += fmt.Sprintf("\t%.2f → %.3f", f.Analysed, f.Kept)
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\n", name, objects, f1)
	}
	for _, s := range r.Scenes {
		row(fmt.Sprintf("%d:%d", s.Seed, s.Density), fmt.Sprintf("%.1f", s.Objects), fmt.Sprintf("%.3f", s.F1), s.Filters)
	}
	row("mean", "", "", r.Mean)
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s at %d, %d frames a scene: share of frames analysed → share of F1 kept\n", r.Model, r.Resolution, r.Scenes[0].Frames)
	return err
}
