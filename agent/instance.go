package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/models/score"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// instance runs one placement: a router to the next instances, and a feed (of
// a source) or a runner (of a task) before it.
type instance struct {
	agent  *Agent
	want   tiering.Assignment // as it was at the start
	epoch  uint32
	router *pipeline.Router
	log    *slog.Logger

	before <-chan struct{} // closed when the placement's instance before this has ended
	wanted context.Context // ends when the instance is to
	stop   context.CancelFunc
	done   chan struct{} // closed when it has ended
	moves  atomic.Bool   // to another node, as was last heard

	mu      sync.Mutex // guards what follows
	feed    *pipeline.Feed
	runner  *pipeline.Runner
	backend string
	status  pipeline.Status // while there is no feed or runner
	message string
	quality tiering.Quality // of a source
	held    string
}

// newInstance makes an instance that starts when before, which may be nil, has
// ended. One whose assignment is a contradiction reports that it failed.
func (a *Agent) newInstance(life context.Context, want tiering.Assignment, before *instance) *instance {
	i := &instance{
		agent: a, want: want, epoch: rand.Uint32(), log: a.cfg.Log.With("instance", want.Placement.ID),
		done: make(chan struct{}), status: pipeline.StatusStarting,
	}
	i.wanted, i.stop = context.WithCancel(life)
	if before != nil {
		i.before = before.done
	}
	if err := i.connect(); err != nil {
		i.say(pipeline.StatusFailed, err.Error())
		i.log.Error("cannot run an assignment", "err", err)
	}
	return i
}

// connect makes the instance's router.
func (i *instance) connect() (err error) {
	a, group := i.agent, i.want.Placement.Task
	if (i.want.Task == nil) == (i.want.Source == nil) {
		return errors.New("the assignment must be of either a task or a source")
	}
	if i.want.Task != nil {
		group = i.want.Task.Group
	}
	router, err := pipeline.NewRouter(pipeline.RouterConfig{
		Node: a.cfg.Node.ID, Tier: a.cfg.Node.Tier, Group: group,
		Outbox: a.cfg.Outbox, Concurrency: a.cfg.Concurrency, Turn: uint64(i.epoch),
		RTT: a.rtt, Encoder: a.links.Encoder, Log: i.log,
	}, a.board, a.links.Senders)
	if err != nil {
		return err
	}
	i.router = router
	i.redirect(i.want)
	return nil
}

func (i *instance) id() string     { return i.want.Placement.ID }
func (i *instance) isSource() bool { return i.want.Source != nil }
func (i *instance) ending() bool   { return i.wanted.Err() != nil }

// does reports whether the instance already does what w asks.
func (i *instance) does(w tiering.Assignment) bool {
	return reflect.DeepEqual(work(i.want), work(w))
}

// work is what of an assignment stays the same while an instance runs: not
// where its frames go, nor at which quality they are analysed, nor what is
// reserved for it, nor how many others there are.
func work(a tiering.Assignment) tiering.Assignment {
	w := tiering.Assignment{Objectives: a.Objectives}
	if a.Source != nil {
		s := *a.Source
		s.Resolution = 0 // see tiering.Assignment.SourceQuality
		w.Source = &s
	}
	if a.Task != nil {
		t := *a.Task
		t.Request, t.Replicas = tiering.Resources{}, 0
		w.Task = &t
	}
	return w
}

// redirect sets where frames go from now on, and at which quality they are
// analysed.
func (i *instance) redirect(w tiering.Assignment) {
	i.moves.Store(w.Placement.From == i.agent.cfg.Node.ID)
	if i.router == nil {
		return
	}
	// In this order: offers add their groups to those that are expected.
	i.router.SetOffers(w.Next)
	i.router.SetGroups(w.Groups)
	if w.Source == nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.quality, i.held = w.SourceQuality(), w.Held
	if i.feed != nil {
		i.feed.Set(i.quality, i.held)
	}
}

// run runs the instance until it is no longer wanted and has let go of its
// frames.
func (i *instance) run(life context.Context) {
	if i.before != nil {
		<-i.before
	}
	if i.router == nil {
		<-i.wanted.Done()
		return
	}
	// The router goes last: the frames that its feed or runner still hands on
	// while it stops must be settled too.
	routing, stop := context.WithCancel(life)
	var router sync.WaitGroup
	router.Go(func() {
		if err := i.router.Run(routing); err != nil {
			i.log.Error("router failed", "err", err)
		}
	})
	i.persist(life)
	stop()
	router.Wait()
}

// The pace at which a feed or stage that cannot be made is tried again.
const (
	remakeFirst = time.Second
	remakeMax   = time.Minute
)

// persist runs the feed or stage until it is no longer wanted, and tries again
// when it cannot be made: a camera may be plugged in, a model's file may
// arrive.
func (i *instance) persist(life context.Context) {
	once := i.runTask
	if i.isSource() {
		once = i.runSource
	}
	for wait := remakeFirst; i.wanted.Err() == nil; wait = min(2*wait, remakeMax) {
		err := once(life)
		if err == nil || i.wanted.Err() != nil {
			return
		}
		if i.say(pipeline.StatusRetrying, err.Error()) {
			i.log.Warn("cannot run, will try again", "err", err)
		}
		if !sleep(i.wanted, wait) {
			return
		}
	}
}

// say records a status and reports whether it is news.
func (i *instance) say(s pipeline.Status, message string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	news := i.status != s || i.message != message
	i.status, i.message = s, message
	return news
}

// runSource runs a source until it is no longer wanted and its frames are
// accounted for. An error: it could not be made.
func (i *instance) runSource(life context.Context) error {
	var src pipeline.Source
	err := guard(i.log, func() (err error) {
		src, err = i.agent.workshop.Source(i.want)
		return err
	})
	if err != nil {
		return err
	}
	p, s := i.want.Placement, i.want.Source
	i.mu.Lock()
	feed, err := pipeline.NewFeed(pipeline.FeedConfig{
		Node: p.Node, Instance: p.ID, Workflow: p.Workflow, Source: s.Name,
		Quality: i.quality, Held: i.held, FPS: s.FPS, Deadline: i.want.Objectives.Deadline,
		Epoch: i.epoch, Log: i.log,
	}, src, i.router)
	i.feed = feed
	i.mu.Unlock()
	if err != nil {
		return err
	}
	if err := feed.Run(i.wanted); err != nil {
		i.log.Error("source failed", "err", err)
	}
	<-i.wanted.Done() // its input may have ended before
	i.settle(life, feed)
	return nil
}

// runTask runs a stage until it is no longer wanted and has let go of its
// frames. An error: it could not be made.
func (i *instance) runTask(life context.Context) error {
	var (
		stage   pipeline.Stage
		backend string
	)
	err := guard(i.log, func() (err error) {
		stage, backend, err = i.agent.workshop.Stage(i.wanted, i.want, i.router.Fit)
		return err
	})
	if err != nil {
		return err
	}
	if i.wanted.Err() != nil {
		return closeStage(stage)
	}
	p, t := i.want.Placement, i.want.Task
	runner, err := pipeline.NewRunner(pipeline.RunnerConfig{
		Node: p.Node, Instance: p.ID, Workflow: p.Workflow, Task: t.Name, Group: t.Group,
		Queue: i.agent.cfg.Queue, Log: i.log, Judge: score.Judge,
		Turns: i.turns(backend), Rank: t.Type.Rank(), Speed: i.speed(backend),
	}, stage, i.router)
	if err != nil {
		return errors.Join(err, closeStage(stage))
	}
	i.mu.Lock()
	i.runner, i.backend = runner, backend
	i.mu.Unlock()

	working, stop := context.WithCancel(life)
	var worker sync.WaitGroup
	worker.Go(func() {
		if err := runner.Run(working); err != nil {
			i.log.Error("stage failed to end", "err", err)
		}
	})
	i.agent.board.Connect(p.ID, runner)
	<-i.wanted.Done()
	start := time.Now()
	i.linger(life, runner, start)
	i.agent.board.Disconnect(p.ID)
	stop()
	worker.Wait()
	i.hand(life, start)
	return nil
}

// turns are what a stage waits for before it works: its turn on the processors,
// unless it computes elsewhere.
func (i *instance) turns(backend string) *pipeline.Turns {
	if backend == profile.CUDA {
		return nil
	}
	return i.agent.turns
}

// speed is what a stage has of a core, if it computes on one.
func (i *instance) speed(backend string) float64 {
	if backend == profile.CUDA {
		return 1
	}
	return i.agent.cfg.Speed
}

func closeStage(s pipeline.Stage) error {
	if c, ok := s.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// guard makes an error of a panic in fn: a stage that cannot be made must not
// take the others with it.
func guard(log *slog.Logger, fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			log.Error("panic while making a stage or source", "err", err, "stack", string(debug.Stack()))
		}
	}()
	return fn()
}

// waiting is the number of frames in the stage's queue.
func (i *instance) waiting() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.runner == nil {
		return 0
	}
	return i.runner.Waiting()
}

// report says how the instance is doing: one of the two.
func (i *instance) report() (*pipeline.SourceReport, *pipeline.StageReport) {
	i.mu.Lock()
	feed, runner, backend, status, message := i.feed, i.runner, i.backend, i.status, i.message
	i.mu.Unlock()
	p := i.want.Placement
	if i.isSource() {
		r := pipeline.SourceReport{Instance: p.ID, Workflow: p.Workflow, Source: p.Task, Status: status, Message: message}
		if feed != nil {
			r = feed.Report()
		}
		if r.Epoch = i.epoch; i.ending() {
			r.Status, r.Message = pipeline.StatusEnded, ""
		}
		return &r, nil
	}
	r := pipeline.StageReport{Instance: p.ID, Workflow: p.Workflow, Task: p.Task, Status: status, Message: message}
	if runner != nil {
		r = runner.Report()
		r.Backend = backend
	}
	if r.Epoch = i.epoch; i.ending() {
		r.Status, r.Message = pipeline.StatusEnded, ""
	}
	return nil, &r
}
