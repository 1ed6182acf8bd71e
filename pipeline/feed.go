package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/weft-mesh/weft/tiering"
)

// How a Feed waits between attempts and for outcomes.
const (
	backoffFirst   = 500 * time.Millisecond
	backoffMax     = 30 * time.Second
	backoffHealthy = time.Minute // a run as long as this starts the backoff anew
	// lostAfter exceeds the grace of any link, so that a frame is lost only
	// when nobody on its way could say more.
	lostAfter = 5 * time.Second
	// maxInFlight bounds a ledger: two minutes at 30 frames a second.
	maxInFlight = 3600
)

// FeedConfig says what a Feed makes of a source.
type FeedConfig struct {
	Node     string
	Instance string // placement ID
	Workflow string
	Source   string
	Quality  tiering.Quality // at first; without a model: any
	Held     string          // why no frames are taken in at first; empty: they are
	FPS      float64         // at most; 0: the source's own rate
	Deadline time.Duration   // from capture; 0: none
	Epoch    uint32          // random, of this run
	Log      *slog.Logger
}

// Feed runs a source: it makes frames of its pictures, keeps their ledger and
// hands them on. A source that fails is run again, after 0.5 s at first and
// 30 s at most.
//
// Pictures beyond FPS, those between the ones that the quality has analysed, and
// those of a source that is held are not captured: they get no ID and are in no
// account.
type Feed struct {
	cfg    FeedConfig
	src    Source
	next   *Router
	ledger *Ledger
	period time.Duration // least mean time between frames; 0: any
	grab   *Histogram    // capture spans
	rng    *rand.Rand

	mu      sync.Mutex
	status  Status
	message string
	quality tiering.Quality
	held    string
	skip    int // pictures to pass over before the next frame
	skipped uint64
	seq     uint64
	due     time.Time // of the next frame, if they came exactly at FPS
	stopped bool
	made    time.Time
}

// NewFeed makes a feed; one whose source can be run.
func NewFeed(cfg FeedConfig, src Source, next *Router) (*Feed, error) {
	switch {
	case cfg.Workflow == "" || cfg.Source == "":
		return nil, fmt.Errorf("feed: workflow %q and source %q must be named", cfg.Workflow, cfg.Source)
	case src == nil || next == nil:
		return nil, fmt.Errorf("feed %s/%s: no source or no router", cfg.Workflow, cfg.Source)
	case cfg.Quality.Resolution < 0 || cfg.Quality.Every < 0:
		return nil, fmt.Errorf("feed %s/%s: quality %s must not be negative", cfg.Workflow, cfg.Source, cfg.Quality)
	case cfg.FPS < 0 || cfg.Deadline < 0:
		return nil, fmt.Errorf("feed %s/%s: %v frames a second and a deadline of %s must not be negative", cfg.Workflow, cfg.Source, cfg.FPS, cfg.Deadline)
	}
	ledger, err := NewLedger(maxInFlight, lostAfter)
	if err != nil {
		return nil, err
	}
	f := &Feed{
		cfg: cfg, src: src, next: next, ledger: ledger, status: StatusStarting, grab: NewHistogram(),
		rng: rand.New(rand.NewPCG(uint64(cfg.Epoch), 0)), quality: cfg.Quality, held: cfg.Held, made: time.Now(),
	}
	if cfg.FPS > 0 {
		f.period = time.Duration(float64(time.Second) / cfg.FPS)
	}
	return f, nil
}

// Set changes the quality of the frames to come. held is why there are to be
// none; empty: there are. It may be called at any time.
func (f *Feed) Set(q tiering.Quality, held string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held != held && held != "" {
		f.cfg.Log.Info("source held", "instance", f.cfg.Instance, "reason", held)
	}
	if q.Every != f.quality.Every {
		f.skip = q.Phase(f.cfg.Source)
	}
	f.quality, f.held = q, held
}

// Run runs the source until it ends or ctx does; nil in both cases.
func (f *Feed) Run(ctx context.Context) error {
	defer f.stop()
	backoff := backoffFirst
	for {
		start := time.Now()
		err := guard(func() error { return f.src.Run(ctx, f.emit) })
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrEnded):
			f.become(StatusEnded, "")
			f.cfg.Log.Info("source ended", "instance", f.cfg.Instance)
			return nil
		case err == nil:
			err = errors.New("stopped without saying why")
		}
		if time.Since(start) >= backoffHealthy {
			backoff = backoffFirst
		}
		// Half of the wait is random, so that what failed together is not
		// tried again together.
		wait := backoff/2 + time.Duration(f.rng.Int64N(int64(backoff/2)+1))
		backoff = min(2*backoff, backoffMax)
		if f.become(StatusRetrying, err.Error()) {
			f.cfg.Log.Warn("source failed", append(errorArgs(err), "instance", f.cfg.Instance, "again_in", wait)...)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// emit takes a picture of the source.
func (f *Feed) emit(frame *Frame) {
	now := time.Now()
	f.ledger.Expire(now)
	id, quality, ok := f.admit(frame.Captured, frame.ID.Seq)
	if !ok {
		return
	}
	if f.become(StatusRunning, "") {
		f.cfg.Log.Info("source running", "instance", f.cfg.Instance)
	}
	frame.ID, frame.Quality, frame.Analyser = id, quality.Resolution, quality.Model
	if f.cfg.Deadline > 0 {
		frame.Deadline = frame.Captured.Add(f.cfg.Deadline)
	}
	for i := range frame.Spans {
		s := &frame.Spans[i]
		s.Stage = f.cfg.Source
		if s.Kind == SpanCapture {
			f.grab.Record(s.Duration)
		}
	}
	f.ledger.Captured(id, frame.Deadline, now)
	frame.OnSettle(func(o Outcome) {
		f.ledger.Expire(time.Now())
		f.ledger.Settle(id, o)
	})
	f.next.Forward(frame)
}

// admit decides whether a picture taken at t, which may have a number already,
// becomes a frame, its ID and its quality. It holds the mean rate to FPS by the generic cell rate algorithm (ITU-T I.371)
// with a tolerance of half a period, so that a source at exactly FPS loses
// nothing to jitter.
func (f *Feed) admit(t time.Time, number uint64) (FrameID, tiering.Quality, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return FrameID{}, f.quality, false
	}
	if f.held != "" {
		f.status, f.message = StatusHeld, f.held
		return FrameID{}, f.quality, false
	}
	if f.period > 0 {
		if t.Before(f.due.Add(-f.period / 2)) {
			return FrameID{}, f.quality, false
		}
		if f.due.Before(t) {
			f.due = t
		}
		f.due = f.due.Add(f.period)
	}
	if f.skip > 0 {
		f.skip--
		f.skipped++
		return FrameID{}, f.quality, false
	}
	f.skip = max(f.quality.Every-1, 0)
	f.seq = max(f.seq+1, number) // a number is given once, whatever the source says
	return FrameID{Workflow: f.cfg.Workflow, Source: f.cfg.Source, Epoch: f.cfg.Epoch, Seq: f.seq}, f.quality, true
}

// become changes the status and says whether it is another.
func (f *Feed) become(s Status, message string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed := f.status != s
	f.status, f.message = s, message
	return changed
}

// stop keeps a source that outlives its Run from adding frames.
func (f *Feed) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
}

// Report says how the source is doing and what became of its frames.
func (f *Feed) Report() SourceReport {
	f.ledger.Expire(time.Now())
	f.mu.Lock()
	defer f.mu.Unlock()
	quality := f.quality
	return SourceReport{
		Instance: f.cfg.Instance, Workflow: f.cfg.Workflow, Source: f.cfg.Source, Status: f.status, Message: f.message, Quality: &quality,
		Frames: f.ledger.Counts(), Skipped: f.skipped, RanMS: time.Since(f.made).Milliseconds(), Capture: f.grab.Clone(), Latency: f.ledger.Latency(),
	}
}
