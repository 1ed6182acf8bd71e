package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/internal/terminal"
	"github.com/weft-mesh/weft/models/dataset"
	"github.com/weft-mesh/weft/models/eval"
	"github.com/weft-mesh/weft/models/score/scoreplot"
	"github.com/weft-mesh/weft/pipeline/vision"
	"github.com/weft-mesh/weft/tiering"
)

// rateOptions say over which frame rates `weftd eval` is to measure.
type rateOptions struct {
	every []int // one frame in so many; none: not over frame rates
	film  dataset.Film
}

func (o *rateOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.IntSliceVar(&o.every, "every", nil, "measure with one frame in so many analysed, such as 1,2,3,5")
	f.IntVar(&o.film.FPS, "fps", 10, "with --every: frames a second of the film")
	f.IntVar(&o.film.Frames, "frames", 0, "with --every: frames of each seed (default four times the greatest of --every)")
}

// wanted says whether to measure over frame rates, or what is wrong with them.
func (o *rateOptions) wanted(cmd *cobra.Command, limit int) (bool, error) {
	given := func(name string) bool { return cmd.Flags().Changed(name) }
	if len(o.every) == 0 {
		for _, name := range []string{"fps", "frames"} {
			if given(name) {
				return false, fmt.Errorf("%w: --%s goes with --every, which says how few frames are analysed, such as --every 1,2,3,5", errUsage, name)
			}
		}
		return false, nil
	}
	const most = dataset.MaxFrames / 4
	switch least, greatest := slices.Min(o.every), slices.Max(o.every); {
	case limit > 0:
		return false, fmt.Errorf("%w: --limit does not go with --every: take fewer seeds or --frames", errUsage)
	case least < 1 || greatest > most:
		return false, fmt.Errorf("%w: --every has %d: use 1 (every frame) to %d", errUsage, min(least, greatest), most)
	case !slices.Contains(o.every, 1):
		return false, fmt.Errorf("%w: --every lacks 1, which the others are compared with", errUsage)
	case !given("frames"):
		o.film.Frames = 4 * greatest
	case o.film.Frames < greatest:
		return false, fmt.Errorf("%w: --frames is %d: use %d or more, the greatest of --every", errUsage, o.film.Frames, greatest)
	}
	return true, nil
}

// rates evaluates over frame rates, and writes what it has also when it is
// interrupted.
func (o *evalOptions) rates(cmd *cobra.Command) error {
	what, err := o.detector()
	if err != nil {
		return err
	}
	model := &what.Model
	if _, err := o.open(*model); err != nil {
		return err
	}
	set, err := dataset.OpenFilm(o.dataset, o.rate.film)
	if err != nil {
		return fmt.Errorf("%w: --every: %w", errUsage, err)
	}
	what.Resolution, what.Backend, what.Log = o.resolution, tiering.Backend{Name: "cpu"}, newLog(logFile{Level: o.level})
	d, err := vision.NewDetector(what)
	if err != nil {
		return err
	}
	defer d.Close()

	line := terminal.NewLine(cmd.ErrOrStderr(), terminal.Width(cmd.ErrOrStderr()))
	result, err := eval.RunRates(cmd.Context(), eval.RateConfig{
		Detector: d, Decoder: vision.Codec{}, Set: set, Film: o.rate.film, Classes: model.Classes, Every: o.rate.every,
		Progress: func(p eval.Progress) {
			line.Step(fmt.Sprintf("%s %d of %d  F1 of every frame %.3f  %.1f ms a picture  %v left", terminal.Bar(p.Done, p.Total, 24),
				p.Done, p.Total, p.F1, ms(p.PerFrame), p.Left.Round(time.Second)))
		},
	})
	line.End()
	interrupted := errors.Is(err, context.Canceled)
	switch {
	case err != nil && !interrupted:
		return err
	case result.Films == 0:
		return fmt.Errorf("interrupted before the first film of %d frames was through: nothing is written", o.rate.film.Frames)
	}
	report := result.Report(eval.Subject{
		Model: model.Name, Resolution: o.resolution, Dataset: o.dataset, Confidence: model.Confidence, NMS: model.NMS, Backend: d.Backend(),
	}, o.rate.film)
	if err := errors.Join(o.drawRates(report), o.print(cmd, report)); err != nil {
		return err
	}
	if interrupted {
		return fmt.Errorf("interrupted after %d of %d films: the figures are of those", result.Films, result.Of)
	}
	return nil
}

// drawRates writes the plot, if one is asked for.
func (o *evalOptions) drawRates(r *eval.RateReport) error {
	if o.plot == "" {
		return nil
	}
	p := scoreplot.Rates{Title: fmt.Sprintf("%s at %d, films of %d frames/s", r.Model, r.Resolution, r.FPS)}
	if r.Partial {
		p.Title += " (partial)"
	}
	for _, x := range r.Rates {
		p.FPS, p.F1 = append(p.FPS, x.FPS), append(p.F1, x.F1)
	}
	png, err := p.PNG()
	if err != nil {
		return err
	}
	return os.WriteFile(o.plot, png, 0o644)
}
