package probe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/testbed"
)

// Peer is a node whose links are checked.
type Peer struct {
	Node string
	Addr netip.Addr // that the other nodes reach it at
	// In runs fn on a thread that is in the node's network namespace, so that
	// sockets fn makes belong there: ns.Do, for the node's name.
	In func(fn func() error) error
}

// Config is what a Prober needs.
type Config struct {
	Peers []Peer // at least two, of one family of addresses
	// Link is what is asked of the direction between two nodes; false: that no
	// packet passes.
	Link func(from, to string) (testbed.Link, bool)
	Seed uint64 // of the order of probes
	Log  *slog.Logger
	// Progress is told how many of all quantities are measured, and what is
	// being measured. One call at a time. May be nil.
	Progress func(done, total int, what string)
}

// Prober measures every link between nodes.
type Prober struct{ cfg Config }

// New checks the configuration.
func New(cfg Config) (*Prober, error) {
	if len(cfg.Peers) < 2 {
		return nil, fmt.Errorf("probe: %d nodes: links are between two or more", len(cfg.Peers))
	}
	if cfg.Link == nil || cfg.Log == nil {
		return nil, errors.New("probe: Link and Log must be given")
	}
	if cfg.Progress == nil {
		cfg.Progress = func(int, int, string) {}
	}
	names := map[string]bool{}
	for _, p := range cfg.Peers {
		switch {
		case p.Node == "" || names[p.Node]:
			return nil, fmt.Errorf("probe: node %q: every node needs a name of its own", p.Node)
		case !p.Addr.IsValid() || p.Addr.IsUnspecified() || p.Addr.Is4In6():
			return nil, fmt.Errorf("probe: node %s: address %v: give the one that others reach it at", p.Node, p.Addr)
		case p.Addr.Is4() != cfg.Peers[0].Addr.Is4():
			return nil, fmt.Errorf("probe: nodes %s and %s: give both IPv4 addresses, or both IPv6", cfg.Peers[0].Node, p.Node)
		case p.In == nil:
			return nil, fmt.Errorf("probe: node %s: In must be given", p.Node)
		}
		names[p.Node] = true
	}
	return &Prober{cfg}, nil
}

// Run measures all links, of which there should be no other traffic, and
// returns a check of every direction, in the order of the peers. Links that are
// not as asked are no error of Run's: see [Failed]. Something other than
// measuring ends it: ctx, or a socket.
func (p *Prober) Run(ctx context.Context) (checks []testbed.LinkCheck, err error) {
	r := &run{Config: p.cfg, rng: rand.New(rand.NewPCG(p.cfg.Seed, 0))}
	r.token = rand.Uint64() // not from the seed: no other run's packets are ours
	for i, peer := range p.cfg.Peers {
		n, err := open(peer, i, r.token)
		if err != nil {
			return nil, errors.Join(err, r.close())
		}
		r.nodes = append(r.nodes, n)
	}
	defer func() { err = errors.Join(err, r.close()) }()

	serving, stop := context.WithCancel(ctx)
	defer stop()
	g, measuring := errgroup.WithContext(serving)
	for _, n := range r.nodes {
		g.Go(func() error { return n.serve(serving) })
	}
	g.Go(func() error {
		defer stop()
		return r.measure(measuring)
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return r.checks, nil
}

// run is one check of all links.
type run struct {
	Config
	rng    *rand.Rand
	token  uint64
	nodes  []*node
	flows  uint32 // made so far
	checks []testbed.LinkCheck
	alpha  float64 // probability that one check of chance fails a good link

	done, total int
}

func (r *run) close() error {
	var errs []error
	for _, n := range r.nodes {
		errs = append(errs, n.close())
	}
	return errors.Join(errs...)
}

// newFlow makes a flow of n packets that its receiver knows.
func (r *run) newFlow(to *node, n int) *flow {
	r.flows++
	f := newFlow(r.flows, n)
	to.expect(f)
	return f
}

// job is one quantity of one direction to be measured.
type job struct {
	check    *testbed.LinkCheck
	from, to *node
	link     testbed.Link // asked
	back     testbed.Link // of the other direction
	flow     *flow        // of the attempt
	verdicts []testbed.Verdict
	failed   bool
	final    bool // failed, and a busy machine cannot be why
}

func (j *job) verdict(v ...testbed.Verdict) {
	j.verdicts = v
	j.failed = false
	for _, v := range v {
		j.failed = j.failed || !v.OK
	}
}

// measure makes the jobs, and carries them out.
func (r *run) measure(ctx context.Context) error {
	began := time.Now()
	var trips, cuts, losses, rates, unrated []*job
	r.checks = make([]testbed.LinkCheck, 0, len(r.nodes)*(len(r.nodes)-1)) // jobs point into it
	chances := 0
	for i, from := range r.nodes {
		for k, to := range r.nodes {
			if i == k {
				continue
			}
			link, passes := r.Link(from.peer.Node, to.peer.Node)
			back, returns := r.Link(to.peer.Node, from.peer.Node)
			r.checks = append(r.checks, testbed.LinkCheck{From: from.peer.Node, To: to.peer.Node, Asked: link})
			of := func() *job {
				return &job{check: &r.checks[len(r.checks)-1], from: from, to: to, link: link, back: back}
			}
			if !passes {
				cuts = append(cuts, of())
				continue
			}
			if i < k && returns && passing(link)*passing(back) > 0 {
				trips = append(trips, of())
				if link.Jitter+back.Jitter > 0 {
					chances += 2
				}
			}
			losses = append(losses, of())
			if link.Loss > 0 {
				chances++
			}
			if measurable(link) {
				rates = append(rates, of())
			} else {
				unrated = append(unrated, of())
			}
		}
	}
	r.alpha = confidence / float64(max(1, chances))
	r.total = len(trips) + len(cuts) + len(losses) + len(rates)

	if err := r.reach(ctx, trips); err != nil {
		return err
	}
	for _, p := range []struct {
		what    string
		jobs    []*job
		tries   int
		measure func(ctx context.Context, what string, jobs []*job, attempt int) error
	}{
		{"round trips", trips, attempts, r.roundTrips},
		{"cuts", cuts, 1, r.cuts}, // nothing passes them by accident
		{"loss", losses, attempts, r.losses},
		{"throughput", rates, attempts, r.rates},
	} {
		if err := r.phase(ctx, p.what, p.jobs, p.tries, p.measure); err != nil {
			return err
		}
	}
	for _, j := range unrated {
		j.check.Verdicts = append(j.check.Verdicts, unmeasured(j.link))
	}
	r.Log.Info("links measured", "directions", len(r.checks), "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// phase measures jobs, and those that fail again if the machine may be why: it
// may have been busy with something else.
func (r *run) phase(ctx context.Context, what string, jobs []*job, tries int, measure func(context.Context, string, []*job, int) error) error {
	if len(jobs) == 0 {
		return nil
	}
	r.Progress(r.done, r.total, what)
	todo := jobs
	for attempt := 1; ; attempt++ {
		if err := measure(ctx, what, todo, attempt); err != nil {
			return err
		}
		var again []*job
		for _, j := range todo {
			if j.failed && !j.final {
				again = append(again, j)
			}
			for _, v := range j.verdicts {
				if !v.OK {
					r.Log.Info("link is not as asked", "from", j.check.From, "to", j.check.To,
						"what", v.What, "asked", v.Asked, "found", v.Found, "attempt", attempt, "of", tries)
				}
			}
		}
		if len(again) == 0 || attempt == tries {
			break
		}
		if err := wait(ctx, respite); err != nil {
			return err
		}
		var err error
		if todo, err = r.passable(ctx, again); err != nil {
			return err
		}
		if len(todo) == 0 {
			break
		}
	}
	for _, j := range jobs {
		j.check.Verdicts = append(j.check.Verdicts, j.verdicts...)
	}
	return nil
}

// passable returns the jobs that can be measured again: over whose link a
// packet passes by and by, so that nothing of the attempt before is in the way.
// Of others, such as a link that passes nothing or is a hundred times slower
// than asked, what was found stands.
func (r *run) passable(ctx context.Context, jobs []*job) ([]*job, error) {
	g, ctx := errgroup.WithContext(ctx)
	for _, j := range jobs {
		j.flow = r.newFlow(j.to, 1)
		g.Go(func() error {
			defer j.to.forget(j.flow)
			return j.from.awaitFlow(ctx, j.to, j.flow, 0, j.link.Delay+j.link.Jitter+patience)
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(jobs, func(j *job) bool { return !j.flow.over() }), nil
}

// progress reports a job of the first attempt done.
func (r *run) progress(what string, attempt int) {
	if attempt == 1 {
		r.done++
		r.Progress(r.done, r.total, what)
	}
}
