package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/kpi"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// The files of a recording.
const (
	reportFile = "report.json"
	sheetFile  = "contact-sheet.jpg"
	framesDir  = "frames"
)

const (
	progressEvery = time.Second
	// closeWithin bounds what is done after watching, also after Ctrl-C.
	closeWithin = time.Minute
	// settleWithin bounds the wait for the last frames of a stopped workflow.
	settleWithin, settleEvery = 10 * time.Second, 200 * time.Millisecond
)

// errIncomplete ends weft when a part of a recording is missing; which part
// has been said.
var errIncomplete = errors.New("the recording is incomplete")

// recordOptions say what to record.
type recordOptions struct {
	workflow string
	length   time.Duration
	dir      string
	frames   int
	stop     bool
}

// recorder watches one workflow for a while.
type recorder struct {
	recordOptions
	client *api.Client
	id     *pki.Identity
	show   *progress
	warn   func(error) // told of what is missing in the end

	start  time.Time
	last   api.WorkflowStatus // newest
	active api.WorkflowStatus // newest before it was stopped
	nodes  []api.Node
	seen   map[string]bool // nodes that tasks of it have been placed on
}

func recordCommand(env *environment) *cobra.Command {
	var o recordOptions
	c := &cobra.Command{
		Use:   "record NAME",
		Short: "Watch a workflow for a while; keep a report, annotated frames and a contact sheet",
		Long: `Watch a workflow for a while and show its progress. Then write to a directory:

  report.json        frames by outcome, latencies by stage, placements with
                     reasons and detections, counted since the workflow began
  frames/*.jpg       annotated frames drawn while it was watched, spread
                     evenly over sources and time
  contact-sheet.jpg  some of them on one page

Ctrl-C ends the watching early; what was seen so far is written all the same.`,
		Args: exactly(1), ValidArgsFunction: workflowNames(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.workflow = args[0]
			if o.length <= 0 || o.frames < 1 {
				return wrongUsage("--for and --frames must be above 0")
			}
			c, id, err := env.connect()
			if err != nil {
				return err
			}
			defer c.Close()
			if id == nil {
				return wrongUsage("recording takes pictures from the nodes, which know certificates only: name cert and key in weft's configuration")
			}
			show, complete := newProgress(cmd.ErrOrStderr()), true
			r := &recorder{recordOptions: o, client: c, id: id, show: show, seen: map[string]bool{}, warn: func(err error) {
				complete = false
				show.say(env.explain(err))
			}}
			rep, err := r.run(cmd.Context())
			if err != nil {
				return err
			}
			if err := env.print(cmd.OutOrStdout(), rep, func(p *page) { showReport(p, rep, o.dir) }); err != nil {
				return err
			}
			if !complete {
				return errIncomplete
			}
			return nil
		},
	}
	f := c.Flags()
	f.DurationVar(&o.length, "for", 30*time.Second, "how long to watch")
	f.StringVar(&o.dir, "out", "out", "directory to write to")
	f.IntVar(&o.frames, "frames", 60, "annotated frames to keep at most")
	f.BoolVar(&o.stop, "stop", false, "stop the workflow at the end, and wait until every frame is accounted for")
	return c
}

// run records. Once something has been seen a report is written, whatever
// fails later; warn is told of that.
func (r *recorder) run(ctx context.Context) (*report, error) {
	r.start = time.Now()
	if err := r.look(ctx); err != nil {
		return nil, namely(err, r.workflow)
	}
	if err := os.MkdirAll(filepath.Join(r.dir, framesDir), 0o755); err != nil {
		return nil, err
	}
	r.watch(ctx)
	watched := time.Since(r.start)

	// After Ctrl-C, too: what was seen is kept.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
	defer cancel()
	if err := r.finish(ctx); err != nil {
		r.warn(err)
	}
	pictures := r.pictures(ctx)
	rep := newReport(r.active, r.last, r.nodes, watched, pictures)
	if err := writeContactSheet(filepath.Join(r.dir, sheetFile), r.dir, pictures); err != nil {
		r.warn(err)
	}
	return rep, writeReport(filepath.Join(r.dir, reportFile), rep)
}

// look asks how the workflow is doing.
func (r *recorder) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := r.client.Workflow(ctx, r.workflow)
	if err != nil {
		return err
	}
	r.last = s
	if s.Status != state.Stopped || r.active.Workflow == "" {
		r.active = s
	}
	for _, p := range s.Placements {
		r.seen[p.Node] = r.seen[p.Node] || !p.Source
	}
	if r.nodes == nil { // soon: in the end there may be nobody left to ask
		return r.lookAround(ctx)
	}
	return nil
}

// lookAround asks how the nodes are doing.
func (r *recorder) lookAround(ctx context.Context) error {
	nodes, err := r.client.Nodes(ctx)
	if err == nil {
		r.nodes = nodes
	}
	return err
}

// watch shows progress until the time is up, the workflow is at its end or ctx
// is.
func (r *recorder) watch(ctx context.Context) {
	defer r.show.end()
	var failed error // of the last look: a coordinator that is being replaced is no reason to give up
	for ctx.Err() == nil {
		r.show.status(time.Since(r.start), r.last, failed)
		left := r.length - time.Since(r.start)
		if left <= 0 || ended(r.last) {
			return
		}
		select {
		case <-time.After(min(left, progressEvery)):
			failed = r.look(ctx)
		case <-ctx.Done():
		}
	}
}

// ended reports whether nothing more will come of a workflow: it is stopped, or
// no source has more frames.
func ended(s api.WorkflowStatus) bool {
	if s.Status != state.Running {
		return s.Status == state.Stopped
	}
	more := slices.ContainsFunc(s.Sources, func(x kpi.Source) bool { return x.Status != pipeline.StatusEnded })
	return !more && s.Frames.InFlight == 0
}

// finish stops the workflow if that is wanted, and looks a last time.
func (r *recorder) finish(ctx context.Context) error {
	if r.stop {
		if err := r.stopAndSettle(ctx); err != nil {
			return err
		}
	}
	return r.lookAround(ctx)
}

// stopAndSettle stops the workflow and waits until none of its frames is in
// flight.
func (r *recorder) stopAndSettle(ctx context.Context) error {
	if err := r.client.Stop(ctx, r.workflow); err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for {
		if err := r.look(ctx); err != nil {
			return err
		}
		if r.last.Frames.InFlight == 0 {
			return nil
		}
		select {
		case <-limit.Done():
			return nil // the report says how many are in flight
		case <-tick.C:
		}
	}
}

// pictures fetches annotated frames from the nodes that may have some.
func (r *recorder) pictures(ctx context.Context) []picture {
	g := &galleries{web: newWeb(r.id), workflow: r.workflow, since: r.start, names: map[string]bool{}, warn: r.warn}
	defer g.web.CloseIdleConnections()
	var found []picture
	for _, n := range r.nodes {
		if r.seen[n.ID] && n.Status == tiering.NodeAlive && n.Addresses.HTTP != "" {
			found = append(found, g.list(ctx, n)...)
		}
	}
	return g.save(ctx, choose(found, r.frames), r.dir)
}

func writeReport(path string, r *report) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
