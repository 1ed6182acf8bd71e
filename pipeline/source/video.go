package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering/sourceuri"
)

const (
	// usualFPS is that of a recording which doesn't know its own.
	usualFPS = 25
	// endGrace is how long Run waits for a read to return once ctx has ended.
	endGrace = time.Second
)

// video reads a file or a network stream through OpenCV.
type video struct {
	spec        sourceuri.Spec
	file        media // of a file
	fps         float64
	openTimeout time.Duration
	readTimeout time.Duration
	log         *slog.Logger
	// reading holds one token while a goroutine reads. That may be the one of
	// an earlier Run, waiting for its timeout.
	reading chan struct{}
}

func newVideo(cfg Config, spec sourceuri.Spec, log *slog.Logger) (*video, error) {
	v := &video{
		spec: spec, fps: cfg.FPS, log: log, reading: make(chan struct{}, 1),
		openTimeout: cfg.OpenTimeout, readTimeout: cfg.ReadTimeout,
	}
	if v.openTimeout == 0 {
		v.openTimeout = defaultOpenTimeout
	}
	if v.readTimeout == 0 {
		v.readTimeout = defaultReadTimeout
	}
	if spec.Network() {
		return v, nil
	}
	var err error
	if v.file, err = locate(cfg, spec.Path); err != nil {
		return nil, err
	}
	return v, v.check()
}

// check refuses what can't be a video file before FFmpeg sees it.
func (v *video) check() error {
	info, err := v.file.stat()
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a directory: %w; for the pictures in it, write images:%s", v.file.path(), ErrNoVideo, v.spec.Path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file: %w", v.file.path(), ErrNoVideo)
	}
	return nil
}

// Run implements pipeline.Source. The reads, which can't be interrupted, are
// on a goroutine of their own.
func (v *video) Run(ctx context.Context, emit func(*pipeline.Frame)) error {
	select {
	case v.reading <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	frames, ended := make(chan *pipeline.Frame), make(chan error, 1)
	go func() {
		err := v.read(ctx, frames)
		<-v.reading
		ended <- err
	}()
	for {
		select {
		case f := <-frames:
			emit(f)
		case err := <-ended:
			return err
		case <-ctx.Done():
			grace := time.NewTimer(endGrace)
			defer grace.Stop()
			select {
			case <-ended: //nolint:errcheck // it was told to end
			case <-grace.C:
				v.log.Warn("the stream is silent; its connection is closed with the read timeout", "timeout", v.readTimeout)
			}
			return ctx.Err()
		}
	}
}

// read plays the input, once or again and again.
func (v *video) read(ctx context.Context, out chan<- *pipeline.Frame) error {
	for {
		err := v.play(ctx, out)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("source %s: %w", v.spec, err)
		case !v.spec.Loop:
			return pipeline.ErrEnded
		}
	}
}

// play reads the input to its end. The file is opened each time: going back to
// its start is not exact in every container.
func (v *video) play(ctx context.Context, out chan<- *pipeline.Frame) error {
	begin := time.Now()
	c, err := v.open(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	opening := time.Since(begin)
	if v.spec.Start > 0 {
		if length := time.Duration(float64(c.frames) / v.rate(c) * float64(time.Second)); c.frames > 0 && v.spec.Start >= length {
			return fmt.Errorf("start=%s is past the end: %s is %s long", v.spec.Start, v.file.path(), length.Round(time.Millisecond))
		}
		if err := c.seek(v.spec.Start); err != nil {
			return fmt.Errorf("start=%s: %s %w", v.spec.Start, v.file.path(), err)
		}
	}
	n, err := v.frames(ctx, c, opening, out)
	switch {
	case err != nil:
		return err
	case n == 0:
		return ErrNoFrames
	case v.live(c):
		return fmt.Errorf("%w after %d frames", ErrLost, n)
	case v.spec.Network() && n+int(v.rate(c))+1 < c.frames:
		return fmt.Errorf("%w after %d of %d frames", ErrLost, n, c.frames)
	}
	return nil
}

func (v *video) open(ctx context.Context) (*capture, error) {
	if !v.spec.Network() {
		if err := v.check(); err != nil {
			return nil, err
		}
		c, err := openCapture(v.file.path(), v.openTimeout, v.readTimeout)
		if err != nil {
			return nil, fmt.Errorf("%s %w: %w", v.file.path(), err, ErrNoVideo)
		}
		return c, nil
	}
	begin := time.Now()
	if err := v.reach(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLost, err)
	}
	c, err := openCapture(v.spec.URL, v.openTimeout, v.readTimeout)
	switch {
	case err == nil:
		return c, nil
	case time.Since(begin) >= v.openTimeout:
		return nil, fmt.Errorf("%w: it has sent no video within %s", ErrLost, v.openTimeout)
	default:
		return nil, fmt.Errorf("%w: the server answers, but not with a video; check the path and the password", ErrLost)
	}
}

// reach tries to connect to the stream's server. FFmpeg would say of any
// failure only that it failed, and OpenCV opens one stream at a time: while
// one waits for a dead camera, all others wait too.
func (v *video) reach(ctx context.Context) error {
	u, err := url.Parse(v.spec.URL)
	if err != nil {
		return errors.New("its URL cannot be read") // err would repeat the password
	}
	port := u.Port()
	if port == "" {
		port = map[sourceuri.Scheme]string{
			sourceuri.RTSP: "554", sourceuri.RTSPS: "322", sourceuri.HTTP: "80", sourceuri.HTTPS: "443",
		}[v.spec.Scheme]
	}
	dialer := net.Dialer{Timeout: v.openTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return err
	}
	return conn.Close()
}

// live says whether frames come at the input's pace: a camera's, or an RTSP
// server's. Anything else is a recording, which is read at its own rate.
func (v *video) live(c *capture) bool {
	switch v.spec.Scheme {
	case sourceuri.RTSP, sourceuri.RTSPS:
		return true
	case sourceuri.HTTP, sourceuri.HTTPS:
		return c.frames == 0
	}
	return false
}

// rate is a recording's own.
func (v *video) rate(c *capture) float64 {
	if c.fps > 0 && c.fps <= maxFPS {
		return c.fps
	}
	return usualFPS
}

// frames hands on the frames that are wanted and returns how many there were.
// Of a live stream each is read at once, so that none grows old in a buffer.
func (v *video) frames(ctx context.Context, c *capture, opening time.Duration, out chan<- *pipeline.Frame) (int, error) {
	var (
		begin  = time.Now()
		sample = newSampler(v.fps, recorded)
		play   = &playback{every: interval(v.rate(c)), begin: begin}
		live   = v.live(c)
		old    = newBacklog(opening, v.rate(c))
	)
	if live {
		sample = newSampler(v.fps, jittery)
	}
	for n := 0; ; n++ {
		if ctx.Err() != nil {
			return n, ctx.Err()
		}
		if !live {
			if err := sleep(ctx, play.wait(n, time.Now())); err != nil {
				return n, err
			}
		}
		asked := time.Now()
		ok, err := c.grab()
		waited := time.Since(asked)
		if err == nil && !ok && live && waited >= v.readTimeout {
			err = fmt.Errorf("%w: nothing received for %s", ErrLost, v.readTimeout)
		}
		if err != nil || !ok {
			return n, err
		}
		captured, at := asked, time.Duration(n)*play.every
		if live {
			if old.stale(waited) {
				continue
			}
			captured = asked.Add(waited) // the wait is no part of the frame's age
			at = captured.Sub(begin)
		}
		if !sample.take(at) {
			continue
		}
		img, err := c.retrieve()
		if err != nil {
			return n, err
		}
		select {
		case out <- newFrame(img, captured):
		case <-ctx.Done():
			return n, ctx.Err()
		}
	}
}
