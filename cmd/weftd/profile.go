package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/internal/terminal"
	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/models/store"
	"github.com/weft-mesh/weft/tiering"
)

// profileOptions say what `weftd profile` is to measure.
type profileOptions struct {
	models, catalogue string
	resolutions       []int
	frames, threads   int
	backend, output   string
	job               bool
	level             slog.Level
}

func profileCommand() *cobra.Command {
	var o profileOptions
	cmd := &cobra.Command{
		Use:   "profile [MODEL…]",
		Short: "Measure what detectors cost here: time, memory, energy",
		Long: `Measure what detectors cost on this machine: how long a frame takes, how long
they take to load, by how much memory a process grows, and the energy of a frame.

MODEL is a name of the catalogue, a darknet .cfg (weights beside it) or an .onnx
file of YOLOX; without one, all models are measured whose files are here. Each is
measured in a process of its own, which is what its load and its memory are of,
on pictures of a made street that need no files, already brought to the
resolution, as detectors get them in a mesh.

The first frame is of the load; the next few warm up and do not count. Memory is
by what the resident memory of the process has grown, pages of files included.
Energy is what the counters of the processor (RAPL, which as a rule only root may
read) or nvidia-smi say that the whole machine drew meanwhile, or else a model:
watts of a busy core by the processor time used, right to a factor of two or so.

weftd measures the same by itself, in the background, when a workflow comes to a
node; see ` + "`weft models profiles`" + `.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.job {
				return runJob(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), o.level)
			}
			return o.run(cmd, args)
		},
	}
	f := cmd.Flags()
	f.IntSliceVarP(&o.resolutions, "resolution", "r", nil, "input sizes of the detectors, in pixels (default all that each offers)")
	f.IntVar(&o.frames, "frames", 50, "frames to measure")
	f.StringVar(&o.models, "models", filepath.Join(defaults().DataDir, "models"), "directory of detector files")
	f.StringVar(&o.catalogue, "catalogue", "", "catalogue of further detectors")
	f.StringVar(&o.backend, "backend", profile.CPU, "cpu or cuda")
	f.IntVar(&o.threads, "threads", 0, "threads of OpenCV (default as many as it thinks best)")
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	f.TextVar(&o.level, "log-level", slog.LevelWarn, "debug, info, warn or error")
	f.BoolVar(&o.job, "job", false, "measure what stdin says, for another weftd")
	must(f.MarkHidden("job"))
	return cmd
}

// must guards calls that only fail on a mistake in this program.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// run measures one after the other, and prints what it has also when it is
// interrupted.
func (o *profileOptions) run(cmd *cobra.Command, args []string) error {
	jobs, err := o.jobs(cmd.ErrOrStderr(), args)
	if err != nil {
		return err
	}
	m, err := newMeasurer(o.level)
	if err != nil {
		return err
	}
	line := terminal.NewLine(cmd.ErrOrStderr(), terminal.Width(cmd.ErrOrStderr()))
	profiles := []profile.Profile{}
	var failed []error
	for i, j := range jobs {
		if cmd.Context().Err() != nil {
			break
		}
		what := fmt.Sprintf("%d of %d: %s at %d", i+1, len(jobs), j.Model.Name, j.Resolution)
		line.Show(what + ", loading")
		p, err := m.measure(cmd.Context(), j, func(done, total int) {
			line.Step(fmt.Sprintf("%s %s, %d of %d frames", terminal.Bar(done, total, 24), what, done, total))
		})
		if err == nil {
			profiles = append(profiles, p)
		} else if cmd.Context().Err() == nil {
			failed = append(failed, err)
		}
	}
	line.End()
	if len(profiles) > 0 {
		failed = append(failed, o.print(cmd.OutOrStdout(), profiles))
	}
	if cmd.Context().Err() != nil {
		failed = append(failed, fmt.Errorf("interrupted after %d of %d", len(profiles), len(jobs)))
	}
	return errors.Join(failed...)
}

// jobs is what is to be measured.
func (o *profileOptions) jobs(warn io.Writer, names []string) ([]job, error) {
	switch {
	case o.output != "text" && o.output != "json":
		return nil, fmt.Errorf("%w: --output is %q: use text or json", errUsage, o.output)
	case o.backend != profile.CPU && o.backend != profile.CUDA:
		return nil, fmt.Errorf("%w: --backend is %q: use cpu or cuda", errUsage, o.backend)
	case o.frames < 1:
		return nil, fmt.Errorf("%w: --frames is %d: use 1 or more", errUsage, o.frames)
	case o.threads < 0:
		return nil, fmt.Errorf("%w: --threads is %d: use 1 or more", errUsage, o.threads)
	}
	base, err := catalogueWith(o.catalogue)
	if err != nil {
		return nil, err
	}
	shelf := store.New(o.models, base, nil)
	known, left, err := shelf.Catalogue()
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		var damaged []error
		names, damaged = shelf.Available(known)
		left = append(left, damaged...)
	}
	for _, err := range left {
		fmt.Fprintln(warn, "warning:", err)
	}
	var out []job
	for _, name := range names {
		more, err := o.jobsOf(known, name)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: no model whose files are in %s offers resolution %v", errUsage, o.models, o.resolutions)
	}
	return out, nil
}

// jobsOf are those of one model: one for each resolution.
func (o *profileOptions) jobsOf(known *catalog.Catalog, name string) ([]job, error) {
	one := job{Dir: o.models, Frames: o.frames, Threads: o.threads, Backend: tiering.Backend{Name: o.backend}}
	var out []job
	if ext := strings.ToLower(filepath.Ext(name)); ext == ".cfg" || ext == ".onnx" {
		if len(o.resolutions) == 0 {
			return nil, fmt.Errorf("%w: --resolution is needed: no catalogue says what %s offers", errUsage, name)
		}
		for _, r := range o.resolutions {
			m, err := (&evalOptions{model: name, resolution: r}).file(ext)
			if err != nil {
				return nil, err
			}
			one.Model, one.Dir, one.Resolution = m, filepath.Dir(name), r
			out = append(out, one)
		}
		return out, nil
	}
	m, ok := known.Lookup(name)
	if !ok {
		return nil, fmt.Errorf("%w: the catalogue has no model %q%s it has %s; a file must end in .cfg or .onnx", errUsage, name,
			cmp.Or(yamlfile.DidYouMean(name, known.Names()), ";"), strings.Join(known.Names(), ", "))
	}
	one.Model = *m
	for _, r := range o.resolutions {
		if !m.Offers(r) {
			return nil, fmt.Errorf("%w: --resolution is %d: %s offers %s", errUsage, r, m.Name,
				strings.Trim(strings.ReplaceAll(fmt.Sprint(m.Resolutions), " ", ", "), "[]"))
		}
	}
	for _, r := range m.Resolutions {
		if len(o.resolutions) == 0 || slices.Contains(o.resolutions, r) {
			one.Resolution = r
			out = append(out, one)
		}
	}
	return out, nil
}

func (o *profileOptions) print(w io.Writer, profiles []profile.Profile) error {
	if o.output == "json" {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(profiles)
	}
	var table bytes.Buffer
	t := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "MODEL\tON\tP50\tP95\tMEAN\tLOAD\tMEMORY\tENERGY\tFRAMES")
	platforms := []string{}
	for _, p := range profiles {
		fmt.Fprintf(t, "%s@%d\t%s\t%.1f ms\t%.1f ms\t%.1f ms\t%.0f ms\t%s\t%s\t%d\n", p.Model, p.Resolution, p.Platform.Backend,
			ms(p.ExecuteP50), ms(p.ExecuteP95), ms(p.ExecuteMean), ms(p.Load), tiering.FormatBytes(p.Memory), energy(p.Energy), p.Frames)
		platforms = append(platforms, fmt.Sprintf("%s: %s, %d threads", p.Platform.Backend, cmp.Or(p.Platform.Processor, "a processor without a name"), p.Platform.Cores))
	}
	_ = t.Flush()
	slices.Sort(platforms)
	fmt.Fprintf(&table, "\n%s; pictures of a made street\n", strings.Join(slices.Compact(platforms), "; "))
	_, err := w.Write(table.Bytes())
	return err
}

// energy is that of a frame, and how it was come by.
func energy(e profile.Energy) string {
	by := string(e.Source)
	if e.Source == profile.Modelled {
		by = "modelled"
	}
	return fmt.Sprintf("%.3g J (%s)", e.JoulesPerFrame, by)
}

// job is what one process measures.
type job struct {
	Model      catalog.Model   `json:"model"`
	Dir        string          `json:"dir"` // of the model's files
	Resolution int             `json:"resolution"`
	Backend    tiering.Backend `json:"backend"`
	Threads    int             `json:"threads"` // of OpenCV; 0: as many as it thinks best
	Frames     int             `json:"frames"`
	Limit      time.Duration   `json:"limit"` // see bench.Config
	// Meek: at the lowest priority, for others work here.
	Meek bool `json:"meek"`
}

// step is what a job says on its way, one JSON value after the other. The last
// one has the profile.
type step struct {
	Done    int              `json:"done"`
	Total   int              `json:"total"`
	Profile *profile.Profile `json:"profile,omitempty"`
}

// measurer has jobs done, each by a process of its own: it is the only way to
// know what is the detector's of memory and processor time, the cold start is
// one, OpenCV's threads get a priority of their own, and whatever happens there
// leaves this process alone.
type measurer struct {
	self  string // the program
	level slog.Level
	turn  chan struct{} // of those that measure in the background
}

// measure does a job; progress may be nil.
func (m *measurer) measure(ctx context.Context, j job, progress func(done, total int)) (profile.Profile, error) {
	p, err := m.spawn(ctx, j, progress)
	if err != nil {
		return p, fmt.Errorf("profile of %s at %d: %w", j.Model.Name, j.Resolution, err)
	}
	return p, nil
}
