package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/internal/terminal"
	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/models/dataset"
	"github.com/weft-mesh/weft/models/eval"
	"github.com/weft-mesh/weft/models/score/scoreplot"
	"github.com/weft-mesh/weft/models/store"
	"github.com/weft-mesh/weft/models/street/detector"
	"github.com/weft-mesh/weft/pipeline/vision"
	"github.com/weft-mesh/weft/tiering"
)

// evalOptions say what `weftd eval` is to measure.
type evalOptions struct {
	model, dataset           string
	resolution, limit        int
	models, catalogue, names string
	confidence, nms          float64
	setConfidence, setNMS    bool
	plot, output             string
	level                    slog.Level
	rate                     rateOptions
}

func evalCommand() *cobra.Command {
	var o evalOptions
	cmd := &cobra.Command{
		Use:   "eval MODEL --resolution R --dataset DATASET",
		Short: "Measure how right a detector is, and how fast, on labelled pictures",
		Long: `Measure how right a detector is, and how fast, on labelled pictures.

MODEL is a name of the catalogue, a darknet .cfg (weights beside it) or an
.onnx file of YOLOX. The classes of a file are those of COCO, or, one a line,
those in a file beside it that ends in .names.

DATASET is one of
  coco:DIR  COCO's annotations/instances_NAME.json, with the pictures in NAME,
            images/NAME or images; or such an annotation file itself
  yolo:DIR  pictures in images/, "class cx cy w h" a line in labels/; names in
            classes.txt, or --names, or else those of the detector
  street:seeds=A-B
            scenes drawn by Weft itself, one a seed; they need no files

Precision, recall and F1 are those at the confidence (IoU of 0.5 and the right
label, all classes together); AP50 and mAP are COCO's. Classes that only one of
the two knows are left out.

With --every it measures instead what F1 is left with fewer frames analysed,
where the last detections are seen until the next ones: on films, which only
street: has.

On Ctrl-C it reports what it has until then, says
that this is partial, and exits with 1.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%w: one MODEL is needed: a name of the catalogue, a .cfg or an .onnx file", errUsage)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.model = args[0]
			o.setConfidence, o.setNMS = cmd.Flags().Changed("confidence"), cmd.Flags().Changed("nms")
			rates, err := o.rate.wanted(cmd, o.limit)
			switch {
			case err != nil:
				return err
			case rates:
				return o.rates(cmd)
			}
			return o.run(cmd)
		},
	}
	f := cmd.Flags()
	f.IntVarP(&o.resolution, "resolution", "r", 0, "input size of the detector, in pixels")
	f.StringVarP(&o.dataset, "dataset", "d", "", "coco:DIR, yolo:DIR or street:seeds=A-B")
	f.StringVar(&o.models, "models", filepath.Join(defaults().DataDir, "models"), "directory of detector files")
	f.StringVar(&o.catalogue, "catalogue", "", "catalogue of further detectors")
	f.StringVar(&o.names, "names", "", "file with the names of a yolo: data set's classes, one a line")
	f.Float64Var(&o.confidence, "confidence", 0, "least score that counts (default the catalogue's)")
	f.Float64Var(&o.nms, "nms", 0, "overlap above which the weaker of two boxes goes (default the catalogue's)")
	f.IntVar(&o.limit, "limit", 0, "take the first pictures only (default all)")
	f.StringVar(&o.plot, "plot", "", "draw precision against recall, or F1 over the rate, to this PNG file")
	o.rate.flags(cmd)
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	f.TextVar(&o.level, "log-level", slog.LevelWarn, "debug, info, warn or error")
	return cmd
}

// run evaluates, and writes what it has also when it is interrupted.
func (o *evalOptions) run(cmd *cobra.Command) error {
	what, err := o.detector()
	if err != nil {
		return err
	}
	model := &what.Model
	set, err := o.open(*model)
	if err != nil {
		return err
	}
	subject := eval.Subject{
		Model: model.Name, Resolution: o.resolution, Dataset: o.dataset, Confidence: model.Confidence, NMS: model.NMS,
	}
	model.Confidence = min(model.Confidence, eval.Unsure)
	what.Resolution, what.Backend, what.Log = o.resolution, tiering.Backend{Name: "cpu"}, newLog(logFile{Level: o.level})
	d, err := vision.NewDetector(what)
	if err != nil {
		return err
	}
	defer d.Close()
	subject.Backend = d.Backend()

	line := terminal.NewLine(cmd.ErrOrStderr(), terminal.Width(cmd.ErrOrStderr()))
	result, err := eval.Run(cmd.Context(), eval.Config{
		Detector: d, Decoder: vision.Codec{}, Set: set, Classes: model.Classes, Confidence: subject.Confidence, Limit: o.limit,
		Progress: func(p eval.Progress) {
			line.Step(fmt.Sprintf("%s %d of %d  F1 %.3f  %.1f ms a picture  %v left", terminal.Bar(p.Done, p.Total, 24),
				p.Done, p.Total, p.F1, ms(p.PerFrame), p.Left.Round(time.Second)))
		},
	})
	line.End()
	interrupted := errors.Is(err, context.Canceled)
	switch {
	case err != nil && !interrupted:
		return err
	case result.Images == 0:
		return fmt.Errorf("interrupted before the first picture: nothing is written")
	}
	report := result.Report(subject)
	if err := errors.Join(o.draw(result, report), o.print(cmd, report)); err != nil {
		return err
	}
	if interrupted {
		return fmt.Errorf("interrupted after %d of %d pictures: the figures are of those", result.Images, result.Of)
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// detector is the model that is asked for, and where its files are.
func (o *evalOptions) detector() (what vision.DetectorConfig, err error) {
	if o.output != "text" && o.output != "json" {
		return what, fmt.Errorf("%w: --output is %q: use text or json", errUsage, o.output)
	}
	if o.limit < 0 {
		return what, fmt.Errorf("%w: --limit is %d: use 1 or more", errUsage, o.limit)
	}
	if ext := strings.ToLower(filepath.Ext(o.model)); ext == ".cfg" || ext == ".onnx" {
		what.Model, err = o.file(ext)
		what.Dir = filepath.Dir(o.model)
	} else {
		what.Model, err = o.known()
		what.Dir, what.Embedded = o.models, detector.Files()
	}
	if err != nil {
		return what, err
	}
	for _, v := range []struct {
		flag  string
		given bool
		value float64
		to    *float64
	}{{"confidence", o.setConfidence, o.confidence, &what.Model.Confidence}, {"nms", o.setNMS, o.nms, &what.Model.NMS}} {
		if !v.given {
			continue
		}
		if !(v.value >= 0 && v.value <= 1) {
			return what, fmt.Errorf("%w: --%s is %g: use 0 to 1", errUsage, v.flag, v.value)
		}
		*v.to = v.value
	}
	return what, nil
}

// known is a model of the catalogue.
func (o *evalOptions) known() (catalog.Model, error) {
	base, err := catalogueWith(o.catalogue)
	if err != nil {
		return catalog.Model{}, err
	}
	all, left, err := store.New(o.models, base, nil).Catalogue()
	if err != nil { // those that need no files of it can be had all the same
		all, left = base, []error{err}
	}
	m, ok := all.Lookup(o.model)
	if !ok {
		unknown := fmt.Errorf("%w: the catalogue has no model %q%s it has %s; a file must end in .cfg or .onnx", errUsage, o.model,
			cmp.Or(yamlfile.DidYouMean(o.model, all.Names()), ";"), strings.Join(all.Names(), ", "))
		return catalog.Model{}, errors.Join(append([]error{unknown}, left...)...)
	}
	if !m.Offers(o.resolution) {
		return catalog.Model{}, fmt.Errorf("%w: --resolution is %d: %s offers %s", errUsage, o.resolution, m.Name,
			strings.Trim(strings.ReplaceAll(fmt.Sprint(m.Resolutions), " ", ", "), "[]"))
	}
	return *m, nil
}

// file is a model that no catalogue has.
func (o *evalOptions) file(ext string) (catalog.Model, error) {
	base := filepath.Base(o.model)
	name := strings.TrimSuffix(base, filepath.Ext(base))
	if o.resolution < 32 || o.resolution%32 != 0 {
		return catalog.Model{}, fmt.Errorf("%w: --resolution is %d: use a multiple of 32", errUsage, o.resolution)
	}
	coco, _ := catalog.Builtin().Lookup("yolox-nano")
	m := catalog.Model{
		Name: name, Family: name, Resolutions: []int{o.resolution}, Classes: slices.Clone(coco.Classes),
		Confidence: coco.Confidence, NMS: coco.NMS, Source: "where " + base + " is from",
	}
	if ext == ".cfg" {
		m.Format, m.Fit = catalog.Darknet, tiering.Stretch
		m.Files = []catalog.File{{Role: catalog.RoleConfig, Name: base}, {Role: catalog.RoleWeights, Name: name + ".weights"}}
	} else {
		m.Format, m.Fit = catalog.ONNX, tiering.Letterbox
		m.Files = []catalog.File{{Role: catalog.RoleModel, Name: base}}
	}
	for _, f := range m.Files {
		if _, err := os.Stat(filepath.Join(filepath.Dir(o.model), f.Name)); err != nil {
			return m, fmt.Errorf("%w: there is no %s, the %s file of the model (%w)", errUsage, filepath.Join(filepath.Dir(o.model), f.Name), f.Role, err)
		}
	}
	own := strings.TrimSuffix(o.model, filepath.Ext(o.model)) + ".names"
	if _, err := os.Stat(own); err == nil {
		m.Classes, err = dataset.ReadNames(own)
		return m, err
	}
	return m, nil
}

// open opens the data set.
func (o *evalOptions) open(m catalog.Model) (*dataset.Set, error) {
	if o.dataset == "" {
		return nil, fmt.Errorf("%w: --dataset is needed: coco:DIR, yolo:DIR or street:seeds=A-B", errUsage)
	}
	words := dataset.Words{Default: m.Classes}
	var err error
	if o.names != "" {
		words.Names, err = dataset.ReadNames(o.names)
	}
	var set *dataset.Set
	if err == nil {
		set, err = dataset.Open(o.dataset, words)
	}
	if err == nil {
		_, err = set.For(m.Classes)
	}
	if errors.Is(err, dataset.ErrDataset) || errors.Is(err, dataset.ErrClasses) {
		err = fmt.Errorf("%w: %w", errUsage, err)
	}
	return set, err
}

// draw writes the plot, if one is asked for.
func (o *evalOptions) draw(r *eval.Result, report *eval.Report) error {
	if o.plot == "" {
		return nil
	}
	title := fmt.Sprintf("%s at %d, %d pictures", report.Model, report.Resolution, report.Images)
	if report.Partial {
		title += fmt.Sprintf(" of %d (partial)", report.ImagesAll)
	}
	p := scoreplot.Plot{Title: title, Curves: r.Curves, Recall: report.Recall, Precision: report.Precision, Confidence: report.Confidence}
	for _, c := range report.Classes {
		p.Classes = append(p.Classes, c.Class)
	}
	png, err := p.PNG()
	if err != nil {
		return err
	}
	return os.WriteFile(o.plot, png, 0o644)
}

// print writes a report as the output that was asked for.
func (o *evalOptions) print(cmd *cobra.Command, report interface{ Write(w io.Writer) error }) error {
	if o.output == "text" {
		return report.Write(cmd.OutOrStdout())
	}
	e := json.NewEncoder(cmd.OutOrStdout())
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(report)
}
