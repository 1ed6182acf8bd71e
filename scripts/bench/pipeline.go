package main

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/pipeline/vision"
	"github.com/weft-mesh/weft/tiering"
)

const (
	cameraWidth, cameraHeight = 1280, 720
	analysedAt                = 512
	pipelineTurn              = 1500 * time.Millisecond
	pipelineTurns             = 2 // for one of the others
	// pipelineDepth frames are on their way at once: one a stage. None is dropped.
	pipelineDepth = 4
)

// benchPipeline compares runners, queues and routers with a loop.
func benchPipeline(ctx context.Context, h *harness) ([]Ratio, error) {
	cam, err := newCamera()
	if err != nil {
		return nil, err
	}
	var out []Ratio
	threads := vision.Threads()
	defer vision.SetThreads(threads)
	for _, x := range []struct {
		threads int
		name    string
		aim     float64 // of frames/s
	}{
		{threads, "OpenCV on all cores", 0.95},
		{1, "OpenCV on one thread", 0}, // four stages on several cores: the loop has but one
	} {
		vision.SetThreads(x.threads)
		var cpu [2][]float64
		turn := func(i int, rate func(context.Context, *camera) (float64, float64, error)) func(context.Context) (float64, error) {
			return func(ctx context.Context) (float64, error) {
				fps, ms, err := rate(ctx, cam)
				cpu[i] = append(cpu[i], ms)
				return fps, err
			}
		}
		v, err := h.interleave(ctx, "frames/s, "+x.name, h.runs*pipelineTurns, side{"pipeline", turn(0, runPipeline)}, side{"loop", turn(1, runLoop)})
		if err != nil {
			return out, err
		}
		out = append(out,
			compare("pipeline of four stages, "+x.name, "plain loop", "frames/s", more, x.aim, v[0], v[1]),
			compare("pipeline of four stages, CPU time a frame, "+x.name, "plain loop", "ms", less, 0.95, cpu[0], cpu[1]))
	}
	return out, nil
}

// camera gives the same picture, compressed, as fast as it is asked.
type camera struct{ picture pipeline.Image }

func newCamera() (*camera, error) {
	rng := rand.New(rand.NewPCG(1, 2))
	img := image.NewRGBA(image.Rect(0, 0, cameraWidth, cameraHeight))
	for range 400 {
		x, y := rng.IntN(cameraWidth), rng.IntN(cameraHeight)
		c := color.RGBA{R: uint8(rng.Uint32()), G: uint8(rng.Uint32()), B: uint8(rng.Uint32()), A: 255}
		draw.Draw(img, image.Rect(x, y, x+20+rng.IntN(150), y+20+rng.IntN(150)), image.NewUniform(c), image.Point{}, draw.Src)
	}
	bgr := make([]byte, 0, cameraWidth*cameraHeight*3)
	for y := range cameraHeight {
		for x := range cameraWidth {
			p := img.RGBAAt(x, y)
			bgr = append(bgr, p.B, p.G, p.R)
		}
	}
	jpeg, err := vision.Codec{}.Encode(pipeline.Image{Format: pipeline.BGR, Width: cameraWidth, Height: cameraHeight, Data: bgr}, tiering.JPEG, 85)
	return &camera{jpeg}, err
}

// capture decodes a picture, as a source does.
func (c *camera) capture() (*pipeline.Frame, error) {
	start := time.Now()
	img, err := vision.Codec{}.Decode(c.picture)
	if err != nil {
		return nil, err
	}
	f := &pipeline.Frame{Captured: start, Quality: analysedAt, SourceWidth: img.Width, SourceHeight: img.Height, Image: img}
	f.Add("", pipeline.SpanCapture, time.Since(start))
	return f, nil
}

func (c *camera) fit(*pipeline.Frame) (tiering.Fit, bool) { return tiering.Letterbox, true }

// wall notes when pictures are drawn. What counts is from the first to the
// last, so that a pipeline need neither be filled nor emptied in its turn.
type wall struct {
	drawn func() // may be nil

	mu          sync.Mutex
	count       int
	first, last moment
}

// moment is a time, and the CPU time used until then.
type moment struct {
	at  time.Time
	cpu time.Duration
}

// Add implements vision.Gallery.
func (w *wall) Add(string, string, uint64, []byte) error {
	w.mu.Lock()
	w.last = moment{time.Now(), cpuTime()}
	if w.count++; w.count == 1 {
		w.first = w.last
	}
	w.mu.Unlock()
	if w.drawn != nil {
		w.drawn()
	}
	return nil
}

// rates are frames a second, and milliseconds of CPU time a frame.
func (w *wall) rates() (fps, ms float64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count < 2 {
		return 0, 0, fmt.Errorf("%d frames in %s", w.count, pipelineTurn)
	}
	n := float64(w.count - 1)
	return n / w.last.at.Sub(w.first.at).Seconds(), float64((w.last.cpu - w.first.cpu).Microseconds()) / 1000 / n, nil
}

func (c *camera) stages(w *wall) ([]pipeline.Stage, error) {
	models := catalog.Builtin()
	model, ok := models.Lookup("hog-people")
	if !ok {
		return nil, fmt.Errorf("hog-people is not in the catalogue")
	}
	d, err := vision.NewDetector(vision.DetectorConfig{Model: *model, Resolution: analysedAt, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	return []pipeline.Stage{vision.NewResize(c.fit), vision.NewDetect(d), vision.NewDraw(w)}, nil
}

// runLoop is the limit: the same calls, one after the other.
func runLoop(ctx context.Context, c *camera) (float64, float64, error) {
	w := &wall{}
	stages, err := c.stages(w)
	if err != nil {
		return 0, 0, err
	}
	defer stages[1].(*vision.Detect).Close()
	start := time.Now()
	for time.Since(start) < pipelineTurn && ctx.Err() == nil {
		f, err := c.capture()
		if err != nil {
			return 0, 0, err
		}
		for _, s := range stages {
			if err := s.Process(ctx, f); err != nil {
				return 0, 0, err
			}
		}
	}
	return w.rates()
}

// cameraSource is the camera as a source that never outruns the stages.
type cameraSource struct {
	*camera
	room chan struct{}
}

// Run implements pipeline.Source.
func (s *cameraSource) Run(ctx context.Context, emit func(*pipeline.Frame)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case s.room <- struct{}{}:
		}
		f, err := s.capture()
		if err != nil {
			return err
		}
		emit(f)
	}
}

// runPipeline is a node's share of a workflow as an agent sets it up: a feed,
// three runners, and the routers between them.
func runPipeline(ctx context.Context, c *camera) (float64, float64, error) {
	log := slog.New(slog.DiscardHandler)
	src := &cameraSource{c, make(chan struct{}, pipelineDepth)}
	w := &wall{drawn: func() { <-src.room }}
	stages, err := c.stages(w)
	if err != nil {
		return 0, 0, err
	}
	board := pipeline.NewSwitchboard()
	router := func(group, next string, accepts int) (*pipeline.Router, error) {
		r, err := pipeline.NewRouter(pipeline.RouterConfig{
			Node: "edge-1", Tier: tiering.Edge, Group: group, Outbox: 4, Concurrency: 4, Encoder: vision.Codec{}, Log: log,
		}, board, nil)
		if err == nil && next != "" {
			r.SetOffers([]tiering.Offer{{
				Instance: next + "#0", Group: next, Node: "edge-1", Tier: tiering.Edge,
				Accepts: tiering.Data{Type: "image", Resolution: accepts}, Fit: tiering.Letterbox,
			}})
		}
		return r, err
	}
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	groups := []string{"resize", "detect", "draw", ""}
	for i, s := range stages {
		next, err := router(groups[i], groups[i+1], 0)
		if err != nil {
			return 0, 0, err
		}
		runner, err := pipeline.NewRunner(pipeline.RunnerConfig{
			Node: "edge-1", Instance: groups[i] + "#0", Workflow: "people", Task: groups[i], Group: groups[i], Queue: 4, Log: log,
		}, s, next)
		if err != nil {
			return 0, 0, err
		}
		board.Connect(groups[i]+"#0", runner)
		wg.Go(func() { _ = next.Run(ctx) })   // returns nil
		wg.Go(func() { _ = runner.Run(ctx) }) // closes the detector
	}
	first, err := router("gate", "resize", 0)
	if err != nil {
		return 0, 0, err
	}
	feed, err := pipeline.NewFeed(pipeline.FeedConfig{
		Node: "edge-1", Instance: "gate", Workflow: "people", Source: "gate", Quality: tiering.Quality{Resolution: analysedAt}, Deadline: 10 * time.Second, Log: log,
	}, src, first)
	if err != nil {
		return 0, 0, err
	}
	wg.Go(func() { _ = feed.Run(ctx) }) // returns nil
	if err := pause(ctx, pipelineTurn); err != nil {
		return 0, 0, err
	}
	fps, ms, err := w.rates()
	if lost := feed.Report().Frames.Lost(); lost > 0 {
		return 0, 0, fmt.Errorf("%d frames were dropped", lost)
	}
	return fps, ms, err
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u) // fails for bad arguments only
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
