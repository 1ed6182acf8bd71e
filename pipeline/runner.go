package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// RunnerConfig says what a Runner runs.
type RunnerConfig struct {
	Node     string
	Instance string // placement ID
	Workflow string
	Task     string
	Group    string
	Queue    int // frames that may wait
	// Turns are those of the node's instances; nil: it works whenever it has a frame.
	// Rank says who goes first: the nearer to the result, the more (tiering.TaskType).
	Turns *Turns
	Rank  int
	// Speed is the fraction of a core that the stage has, for emulation; 0: all of it.
	Speed float64
	// Judge says how right detections are, of a frame of which that is known; may
	// be nil.
	Judge func(found []Detection, truth []Truth) Judged
	Log   *slog.Logger
}

// Runner runs one instance of a task: a bounded queue, one worker that has the
// stage process a frame at a time, and a router for what comes next.
type Runner struct {
	cfg   RunnerConfig
	stage Stage
	next  *Router
	queue *Queue
	turn  *Turn
	limit logLimit

	queued, transfer, link, reduce, execute *Histogram

	mu         sync.Mutex
	status     Status
	message    string
	received   uint64
	processed  uint64
	filtered   uint64
	bytes      uint64            // of pictures from other nodes
	dropped    map[Reason]uint64 // by the runner itself; the queue has its own
	detections map[string]uint64
	judged     Judged
}

// NewRunner makes a runner. It owns the stage: one with a Close method is
// closed when Run ends.
func NewRunner(cfg RunnerConfig, stage Stage, next *Router) (*Runner, error) {
	if cfg.Instance == "" || cfg.Group == "" {
		return nil, fmt.Errorf("runner: instance %q and group %q must be named", cfg.Instance, cfg.Group)
	}
	if stage == nil || next == nil {
		return nil, fmt.Errorf("runner of %s: no stage or no router", cfg.Instance)
	}
	queue, err := NewQueue(cfg.Group, cfg.Queue)
	if err != nil {
		return nil, fmt.Errorf("runner of %s: %w", cfg.Instance, err)
	}
	return &Runner{
		cfg: cfg, stage: stage, next: next, queue: queue, turn: cfg.Turns.For(cfg.Rank),
		queued: NewHistogram(), transfer: NewHistogram(), link: NewHistogram(), reduce: NewHistogram(), execute: NewHistogram(),
		status: StatusStarting, dropped: map[Reason]uint64{}, detections: map[string]uint64{},
	}, nil
}

// Receive takes ownership of a frame for this instance and never blocks.
func (r *Runner) Receive(f *Frame) {
	d, link, far := claimTransfer(f, r.cfg.Group)
	r.mu.Lock()
	r.received++
	if far {
		r.bytes += uint64(len(f.Image.Data))
	}
	r.mu.Unlock()
	if far {
		r.transfer.Record(d)
		r.link.Record(link)
	}
	now := time.Now()
	if !r.queue.Push(f, now) {
		r.drop(f, ReasonShutdown, now)
		return
	}
	if r.queue.Len() > 0 { // it may have been too late
		r.turn.Want()
	}
}

// claimTransfer makes one span of the group out of the transfer spans of no
// stage that end f.Spans: the sending router's (encoding) and, last, the link's.
func claimTransfer(f *Frame, group string) (sum, link time.Duration, ok bool) {
	n := len(f.Spans)
	for n > 0 && f.Spans[n-1].Kind == SpanTransfer && f.Spans[n-1].Stage == "" {
		n--
		sum += f.Spans[n].Duration
	}
	if n == len(f.Spans) {
		return 0, 0, false
	}
	link = f.Spans[len(f.Spans)-1].Duration
	f.Spans = append(f.Spans[:n], Span{group, SpanTransfer, sum})
	return sum, link, true
}

// Run processes frames until ctx ends; then it settles those that wait as
// ReasonShutdown and closes the stage.
func (r *Runner) Run(ctx context.Context) error {
	r.set(StatusRunning, "")
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-r.turn.Mine():
			// The frame is chosen only now: others may have come, or its deadline gone.
			if ctx.Err() == nil {
				if f, waited, ok := r.queue.Pop(time.Now()); ok {
					r.work(ctx, f, waited)
				}
			}
			r.turn.Give()
			if r.queue.Len() > 0 {
				r.turn.Want()
			}
		}
	}
	r.queue.Close(time.Now()) // nobody stands in line for it any more
	r.turn.Leave()
	r.set(StatusEnded, "")
	if c, ok := r.stage.(io.Closer); ok {
		if err := c.Close(); err != nil {
			return fmt.Errorf("close stage of %s: %w", r.cfg.Instance, err)
		}
	}
	return nil
}

// work has the stage process one frame and hands it on.
func (r *Runner) work(ctx context.Context, f *Frame, waited time.Duration) {
	f.Add(r.cfg.Group, SpanQueue, waited)
	r.queued.Record(waited)
	before, analysed := len(f.Spans), f.Model != ""

	start := time.Now()
	err := paced(ctx, r.cfg.Speed, func() error { return guard(func() error { return r.stage.Process(ctx, f) }) })
	end := time.Now()
	if errors.Is(err, ErrFiltered) {
		r.filter(f, end.Sub(start), end)
		return
	}
	if err != nil {
		r.failed(ctx, f, err, end)
		return
	}
	// The stage says what of its time went into reducing the picture.
	var reduced time.Duration
	for i := min(before, len(f.Spans)); i < len(f.Spans); i++ {
		if s := &f.Spans[i]; s.Kind == SpanReduce {
			s.Stage = r.cfg.Group
			reduced += s.Duration
		}
	}
	executed := max(end.Sub(start)-reduced, 0)
	f.Add(r.cfg.Group, SpanExecute, executed)
	r.execute.Record(executed)
	if reduced > 0 {
		r.reduce.Record(reduced)
	}
	analysed = !analysed && f.Model != ""
	var judged Judged
	if analysed {
		judged = r.judge(f)
	}
	r.mu.Lock()
	r.processed++
	r.judged = r.judged.Plus(judged)
	r.message = ""
	if analysed {
		for _, d := range f.Detections {
			r.detections[d.Label]++
		}
	}
	r.mu.Unlock()
	r.next.Forward(f)
}

// judge says how right a frame's detections are, if it is known what it shows.
func (r *Runner) judge(f *Frame) Judged {
	if f.Model == "" || f.Truth == nil || r.cfg.Judge == nil {
		return Judged{}
	}
	return r.cfg.Judge(f.Detections, f.Truth)
}

// filter ends a frame that the stage lets go no further. The detections that it
// has are those that are shown in its place.
func (r *Runner) filter(f *Frame, executed time.Duration, now time.Time) {
	r.execute.Record(executed)
	judged := r.judge(f)
	r.mu.Lock()
	r.filtered++
	r.judged = r.judged.Plus(judged)
	r.message = ""
	r.mu.Unlock()
	f.Settle(Outcome{Reason: ReasonFiltered, Stage: r.cfg.Group, Age: f.Age(now)})
}

func (r *Runner) failed(ctx context.Context, f *Frame, err error, now time.Time) {
	reason := ReasonStage
	if ctx.Err() != nil {
		reason = ReasonShutdown
	} else {
		args := append(errorArgs(err), "instance", r.cfg.Instance, "frame", f.ID)
		r.limit.warn(r.cfg.Log, now, "stage failed on a frame", args...)
		r.set(StatusRunning, err.Error())
	}
	r.drop(f, reason, now)
}

func (r *Runner) drop(f *Frame, reason Reason, now time.Time) {
	r.mu.Lock()
	r.dropped[reason]++
	r.mu.Unlock()
	f.Settle(Outcome{Reason: reason, Stage: r.cfg.Group, Age: f.Age(now)})
}

func (r *Runner) set(s Status, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status, r.message = s, message
}

// Report says how the instance is doing. Its message is the error of the last
// frame, if that failed.
func (r *Runner) Report() StageReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	dropped := r.queue.Dropped()
	for reason, n := range r.dropped {
		dropped[reason] += n
	}
	rep := StageReport{
		Instance: r.cfg.Instance, Workflow: r.cfg.Workflow, Task: r.cfg.Task, Status: r.status, Message: r.message,
		Received: r.received, Processed: r.processed, Filtered: r.filtered, Bytes: r.bytes, Dropped: dropped,
		Queue: r.queued.Clone(), Transfer: r.transfer.Clone(), Link: r.link.Clone(), Reduce: r.reduce.Clone(), Execute: r.execute.Clone(),
		Detections: maps.Clone(r.detections), Turns: r.cfg.Turns.Most(),
	}
	if judged := r.judged; judged.Frames > 0 {
		rep.Judged = &judged
	}
	if b, ok := r.stage.(interface{ Backend() string }); ok {
		rep.Backend = b.Backend()
	}
	if f, ok := r.stage.(interface{ Filters() []Filtering }); ok {
		rep.Filters = f.Filters()
	}
	return rep
}

// Waiting is the number of frames in the queue.
func (r *Runner) Waiting() int { return r.queue.Len() }
