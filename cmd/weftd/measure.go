package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/weft-mesh/weft/agent/machine"
	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/models/profile/bench"
	"github.com/weft-mesh/weft/models/street"
	"github.com/weft-mesh/weft/models/street/detector"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/pipeline/vision"
	"github.com/weft-mesh/weft/tiering"
)

func newMeasurer(level slog.Level) (*measurer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program, which measures: %w", err)
	}
	return &measurer{self, level, make(chan struct{}, 1)}, nil
}

// spawn has another process do a job. That one also ends when this one does,
// with which its input ends.
func (m *measurer) spawn(ctx context.Context, j job, progress func(done, total int)) (p profile.Profile, err error) {
	cmd := exec.CommandContext(ctx, m.self, "profile", "--job", "--log-level", m.level.String())
	said := &tail{}
	cmd.Stderr = said
	cmd.WaitDelay = time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return p, err
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		return p, err
	}
	if err := cmd.Start(); err != nil {
		return p, err
	}
	err = json.NewEncoder(in).Encode(j)
	var last step
	for d := json.NewDecoder(out); err == nil && last.Profile == nil; {
		last = step{}
		if err = d.Decode(&last); err == nil && last.Profile == nil && progress != nil {
			progress(last.Done, last.Total)
		}
	}
	in.Close()
	if werr := cmd.Wait(); last.Profile == nil {
		err = errors.Join(err, werr)
	}
	switch text := strings.TrimPrefix(strings.TrimSpace(said.String()), "weftd: "); {
	case ctx.Err() != nil:
		return p, context.Cause(ctx)
	case last.Profile == nil && text != "":
		return p, errors.New(text)
	case last.Profile == nil:
		return p, fmt.Errorf("the process that measures ended without a result: %w", err)
	}
	return *last.Profile, last.Profile.Validate()
}

// tail keeps the end of what a process says.
type tail struct{ bytes.Buffer }

const tailLimit = 4 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.Buffer.Write(b)
	if n := t.Len() - tailLimit; n > 0 {
		t.Next(n)
	}
	return len(b), nil
}

// scenes are the different pictures that are analysed, in turns; warm the frames
// that do not count.
const scenes, warm = 8, 3

// runJob does the job that in says, and ends with it.
func runJob(ctx context.Context, in io.Reader, out io.Writer, level slog.Level) error {
	d := json.NewDecoder(in)
	var j job
	if err := d.Decode(&j); err != nil {
		return fmt.Errorf("%w: --job: stdin says no job: %w", errUsage, err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() { // as long as the process
		_, _ = io.Copy(io.Discard, in)
		stop()
	}()
	log := newLog(logFile{Level: level})
	if j.Meek {
		runtime.LockOSThread() // OpenCV's threads come from this one
		if err := machine.GiveWay(); err != nil {
			log.Debug("it is measured as if nobody else worked here", "err", err)
		}
	}
	if j.Threads > 0 {
		vision.SetThreads(j.Threads)
	}
	frames, err := streetFrames(ctx, j.Resolution, j.Model.Fit)
	if err != nil {
		return err
	}
	self, err := machine.Self()
	if err != nil {
		return err
	}
	e := json.NewEncoder(out)
	p, err := bench.Run(ctx, bench.Config{
		Model: j.Model.Name, Resolution: j.Resolution, Pictures: frames, Frames: j.Frames, Warm: warm, Limit: j.Limit,
		Platform: func(backend string) profile.Platform { return platform(ctx, backend) },
		Machine: struct {
			*machine.Process
			*machine.Power
		}{self, machine.NewPower(ctx)},
		Open: func() (bench.Detector, error) {
			return vision.NewDetector(vision.DetectorConfig{
				Model: j.Model, Dir: j.Dir, Embedded: detector.Files(), Resolution: j.Resolution, Backend: j.Backend, Log: log,
			})
		},
		Progress: func(done, total int) { _ = e.Encode(step{Done: done, Total: total}) },
	})
	if err != nil {
		return err
	}
	p.At = time.Now().UTC()
	return e.Encode(step{Done: p.Frames, Total: p.Frames, Profile: &p})
}

// platform is what detectors run on here.
func platform(ctx context.Context, backend string) profile.Platform {
	name := machine.Processor(ctx)
	if backend == profile.CUDA {
		name = machine.GPU(ctx, "nvidia-smi")
	}
	return profile.Platform{Backend: backend, Processor: profile.Name(name), Cores: vision.Threads()}
}

// streetFrames are pictures of a made street, brought to a resolution as resize
// does it before the detector in a mesh.
func streetFrames(ctx context.Context, resolution int, fit tiering.Fit) ([]pipeline.Image, error) {
	s, err := street.New(street.Options{Seed: 1})
	if err != nil {
		return nil, err
	}
	resize := vision.NewResize(func(*pipeline.Frame) (tiering.Fit, bool) { return fit, true })
	var out []pipeline.Image
	o := s.Options()
	for i := range uint64(scenes) {
		f := &pipeline.Frame{Quality: resolution, Image: pipeline.Image{
			Format: pipeline.BGR, Width: o.Width, Height: o.Height, Data: make([]byte, s.Bytes()),
		}}
		s.RenderAt(1+i*uint64(o.FPS), f.Image.Data)
		if err := resize.Process(ctx, f); err != nil {
			return nil, err
		}
		out = append(out, f.Image)
	}
	return out, nil
}
