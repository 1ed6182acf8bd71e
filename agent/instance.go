package agent

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"sync"
	"time"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// instance is one running assignment: a router to the next instances, and a
// feed (of a source) or a runner (of a task) before it.
type instance struct {
	agent  *Agent
	want   tiering.Assignment
	epoch  uint32
	router *pipeline.Router
	log    *slog.Logger

	end  context.CancelFunc
	done chan struct{}

	mu      sync.Mutex // guards what follows
	feed    *pipeline.Feed
	runner  *pipeline.Runner
	backend string
	status  pipeline.Status
	message string
}

func (a *Agent) newInstance(want tiering.Assignment) (*instance, error) {
	p := want.Placement
	inst := &instance{
		agent: a, want: want, epoch: rand.Uint32(),
		log:    a.cfg.Log.With("instance", p.ID),
		status: pipeline.StatusStarting,
	}
	group := p.Task
	switch {
	case want.Task != nil && want.Source == nil:
		group = want.Task.Group
	case want.Task == nil && want.Source != nil:
	default:
		return nil, fmt.Errorf("assignment %s is of neither one task nor one source", p.ID)
	}
	var err error
	inst.router, err = pipeline.NewRouter(pipeline.RouterConfig{
		Node: a.cfg.Node.ID, Tier: a.cfg.Node.Tier, Group: group,
		Outbox: a.cfg.Outbox, Concurrency: a.cfg.Concurrency,
		RTT: a.rtt, Encoder: a.links.Encoder, Log: inst.log,
	}, a.board, a.links.Senders)
	if err != nil {
		return nil, err
	}
	inst.router.SetOffers(want.Next)
	return inst, nil
}

func (i *instance) id() string                       { return i.want.Placement.ID }
func (i *instance) isSource() bool                   { return i.want.Source != nil }
func (i *instance) setOffers(offers []tiering.Offer) { i.router.SetOffers(offers) }

// runs reports whether the instance already does what w asks; where its
// frames go may differ.
func (i *instance) runs(w tiering.Assignment) bool {
	return reflect.DeepEqual(i.want.Source, w.Source) && reflect.DeepEqual(i.want.Task, w.Task) &&
		i.want.Objectives == w.Objectives
}

// start runs the instance until stop.
func (i *instance) start(life context.Context) {
	ctx, cancel := context.WithCancel(life)
	i.end, i.done = cancel, make(chan struct{})
	go func() {
		defer close(i.done)
		// The router goes last: the frames that its feed or runner still
		// hands on while it stops must be settled too.
		routing, stopRouting := context.WithCancel(life)
		var router sync.WaitGroup
		router.Go(func() {
			if err := i.router.Run(routing); err != nil && routing.Err() == nil {
				i.log.Error("router stopped", "err", err)
			}
		})
		i.persist(ctx)
		<-ctx.Done()
		i.settle(life)
		stopRouting()
		router.Wait()
	}()
}

// stop ends the instance and returns when everything of it has ended.
func (i *instance) stop() {
	i.end()
	<-i.done
}

// settle waits until every frame of a stopped source is accounted for, for as
// long as an agent drains.
func (i *instance) settle(life context.Context) {
	i.mu.Lock()
	feed := i.feed
	i.mu.Unlock()
	if feed == nil {
		return
	}
	limit, cancel := context.WithTimeout(life, i.agent.cfg.Drain)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for feed.Report().Frames.InFlight > 0 {
		select {
		case <-limit.Done():
			return
		case <-tick.C:
		}
	}
}

// The pace at which a stage that cannot be made is tried again.
const (
	remakeFirst = time.Second
	remakeMax   = time.Minute
)

// persist runs the feed or stage, and starts it again when it cannot be made:
// a camera may be plugged in, a model's file may arrive.
func (i *instance) persist(ctx context.Context) {
	wait := remakeFirst
	for {
		err := i.once(ctx)
		if ctx.Err() != nil || err == nil {
			return
		}
		if i.say(pipeline.StatusRetrying, err.Error()) {
			i.log.Warn("cannot run, will try again", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, remakeMax)
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

func (i *instance) once(ctx context.Context) error {
	if i.isSource() {
		return i.runSource(ctx)
	}
	return i.runTask(ctx)
}

func (i *instance) runSource(ctx context.Context) error {
	src, err := i.agent.workshop.Source(i.want)
	if err != nil {
		return err
	}
	p, s := i.want.Placement, i.want.Source
	feed, err := pipeline.NewFeed(pipeline.FeedConfig{
		Node: p.Node, Instance: p.ID, Workflow: p.Workflow, Source: s.Name,
		Quality: s.Resolution, FPS: s.FPS, Deadline: i.want.Objectives.Deadline,
		Epoch: i.epoch, Log: i.log,
	}, src, i.router)
	if err != nil {
		return err
	}
	i.mu.Lock()
	i.feed = feed
	i.mu.Unlock()
	return feed.Run(ctx)
}

func (i *instance) runTask(ctx context.Context) error {
	stage, backend, err := i.agent.workshop.Stage(ctx, i.want, i.router.Fit)
	if err != nil {
		return err
	}
	p, t := i.want.Placement, i.want.Task
	runner, err := pipeline.NewRunner(pipeline.RunnerConfig{
		Node: p.Node, Instance: p.ID, Workflow: p.Workflow, Task: t.Name, Group: t.Group,
		Queue: i.agent.cfg.Queue, Log: i.log,
	}, stage, i.router)
	if err != nil {
		return err
	}
	i.mu.Lock()
	i.runner, i.backend = runner, backend
	i.mu.Unlock()
	i.agent.board.Connect(p.ID, runner)
	defer i.agent.board.Disconnect(p.ID)
	return runner.Run(ctx)
}

// addTo reports on the instance.
func (i *instance) addTo(r *pipeline.Report) {
	i.mu.Lock()
	defer i.mu.Unlock()
	p := i.want.Placement
	if i.isSource() {
		s := pipeline.SourceReport{Instance: p.ID, Workflow: p.Workflow, Source: p.Task, Status: i.status, Message: i.message}
		if i.feed != nil {
			s = i.feed.Report()
		}
		s.Epoch = i.epoch
		r.Sources = append(r.Sources, s)
		return
	}
	s := pipeline.StageReport{Instance: p.ID, Workflow: p.Workflow, Task: p.Task, Status: i.status, Message: i.message}
	if i.runner != nil {
		s = i.runner.Report()
		s.Backend = i.backend
	}
	s.Epoch = i.epoch
	r.Stages = append(r.Stages, s)
}
