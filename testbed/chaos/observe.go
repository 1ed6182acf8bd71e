package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/weft-mesh/weft/coordinator/api"
)

const (
	nodeEvery        = 150 * time.Millisecond
	coordinatorEvery = 200 * time.Millisecond
	stateEvery       = 400 * time.Millisecond
	answerWithin     = time.Second
	// mostSeen bounds what is kept of a round: an hour's worth of eight nodes.
	mostSeen = 300_000
)

// recorder keeps what is seen of a round.
type recorder struct {
	began time.Time

	mu   sync.Mutex
	rec  *Record
	view *view
	full bool
}

func newRecorder(p Plant, r Round) *recorder {
	return &recorder{began: time.Now(), rec: &Record{Plant: p, Round: r}, view: newView(p)}
}

func (r *recorder) add(o Observation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o.At = time.Since(r.began)
	r.view.see(o)
	if r.full = len(r.rec.Seen) >= mostSeen; !r.full {
		r.rec.Seen = append(r.rec.Seen, o)
	}
}

// addIn adds what was seen, unless the looking was cut short.
func (r *recorder) addIn(ctx context.Context, o Observation) {
	if ctx.Err() == nil {
		r.add(o)
	}
}

// look lets fn look at what is known now.
func (r *recorder) look(fn func(*view) string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.view.at = time.Since(r.began)
	return fn(r.view)
}

// observer watches every node and coordinator, each by itself: one that does
// not answer holds up no other.
type observer struct {
	cfg     *Config
	metrics map[string]*http.Client // by node
}

func newObserver(cfg *Config) *observer {
	o := &observer{cfg: cfg, metrics: map[string]*http.Client{}}
	for _, n := range cfg.Scenario.Nodes {
		dial := cfg.Ground.Dial(n.Name)
		o.metrics[n.Name] = &http.Client{Transport: &http.Transport{
			DialContext:     func(ctx context.Context, network, addr string) (net.Conn, error) { return dial(ctx, network, addr) },
			MaxConnsPerHost: 2, IdleConnTimeout: time.Minute,
		}}
	}
	return o
}

func (o *observer) close() {
	for _, c := range o.metrics {
		c.CloseIdleConnections()
	}
}

// run observes until ctx ends.
func (o *observer) run(ctx context.Context, p Plant, rec *recorder) {
	var all sync.WaitGroup
	for _, n := range p.Nodes {
		all.Go(func() {
			every(ctx, nodeEvery, func() { rec.addIn(ctx, Observation{Node: o.node(ctx, n)}) })
		})
	}
	for _, n := range p.Coordinators {
		all.Go(func() {
			var asked time.Time
			every(ctx, coordinatorEvery, func() {
				if !o.cfg.Ground.Process(n).Lives() {
					return
				}
				full := time.Since(asked) >= stateEvery
				if full {
					asked = time.Now()
				}
				rec.addIn(ctx, Observation{Coordinator: o.coordinator(ctx, n, p.Workflow, full)})
			})
		})
	}
	all.Wait()
}

// every calls fn at once and then each time, until ctx ends.
func every(ctx context.Context, d time.Duration, fn func()) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for ctx.Err() == nil {
		fn()
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// process is what is known of a node without asking it.
func (o *observer) process(node string) *NodeSeen {
	p := o.cfg.Ground.Process(node)
	return &NodeSeen{Name: node, PID: p.PID, Up: p.Up, Paused: p.Paused, Exit: p.Exit}
}

// watched are the metrics that node asks for.
var watched = url.Values{"name[]": {
	"weft_instance_info", "weft_frames_captured_total", "weft_frames_delivered_total", "weft_frames_filtered_total", "weft_frames_dropped_total",
	"weft_frames_in_flight", "weft_stage_frames_processed_total",
}}

func (o *observer) node(ctx context.Context, node string) *NodeSeen {
	seen := o.process(node)
	if !seen.Up || seen.Paused {
		return seen
	}
	families, _, err := o.scrape(ctx, node, watched)
	if err != nil {
		return seen
	}
	seen.Answered = true
	for _, m := range families["weft_instance_info"].GetMetric() {
		l := labels(m)
		epoch, _ := strconv.ParseUint(l["epoch"], 10, 32) // an agent of ours wrote it
		seen.Instances = append(seen.Instances, Instance{l["instance"], uint32(epoch), l["status"]})
	}
	slices.SortFunc(seen.Instances, func(a, b Instance) int { return cmp.Compare(a.ID, b.ID) })
	sources := map[string]*Frames{}
	of := func(m *dto.Metric) *Frames {
		l := labels(m)
		if l["workflow"] != o.cfg.Scenario.Workflow.Name {
			return &Frames{}
		}
		f := sources[l["source"]]
		if f == nil {
			f = &Frames{Source: l["source"]}
			sources[f.Source] = f
		}
		return f
	}
	for _, m := range families["weft_frames_captured_total"].GetMetric() {
		of(m).Captured = uint64(m.GetCounter().GetValue())
	}
	for _, m := range families["weft_frames_delivered_total"].GetMetric() {
		of(m).Delivered = uint64(m.GetCounter().GetValue())
	}
	for _, m := range families["weft_frames_filtered_total"].GetMetric() {
		of(m).Filtered = uint64(m.GetCounter().GetValue())
	}
	for _, m := range families["weft_frames_dropped_total"].GetMetric() {
		f, n := of(m), uint64(m.GetCounter().GetValue())
		if f.Dropped += n; f.Why == nil {
			f.Why = map[string]uint64{}
		}
		f.Why[labels(m)["reason"]] += n
	}
	for _, m := range families["weft_frames_in_flight"].GetMetric() {
		of(m).InFlight = uint64(m.GetGauge().GetValue())
	}
	for _, name := range sortedKeys(sources) {
		seen.Sources = append(seen.Sources, *sources[name])
	}
	for _, m := range families["weft_stage_frames_processed_total"].GetMetric() {
		if l := labels(m); l["workflow"] == o.cfg.Scenario.Workflow.Name {
			seen.Stages = append(seen.Stages, Work{l["task"], l["replica"], uint64(m.GetCounter().GetValue())})
		}
	}
	return seen
}

func labels(m *dto.Metric) map[string]string {
	out := map[string]string{}
	for _, l := range m.GetLabel() {
		out[l.GetName()] = l.GetValue()
	}
	return out
}

// scrape asks a node for some of its metrics, from inside the node. The date is
// the node's own.
func (o *observer) scrape(ctx context.Context, node string, names url.Values) (map[string]*dto.MetricFamily, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+o.cfg.Metrics+"/metrics?"+names.Encode(), nil)
	if err != nil {
		return nil, time.Time{}, err
	}
	resp, err := o.metrics[node].Do(req)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, time.Time{}, fmt.Errorf("metrics of %s: %s", node, resp.Status)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("metrics of %s: %w", node, err)
	}
	date, _ := http.ParseTime(resp.Header.Get("Date"))
	return families, date, nil
}

// coordinator asks one coordinator, and none other in its place.
func (o *observer) coordinator(ctx context.Context, node, workflow string, full bool) *CoordinatorSeen {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	seen := &CoordinatorSeen{Name: node}
	client := o.cfg.Coordinators[node]
	m, err := client.Mesh(ctx)
	if err != nil {
		seen.Error = err.Error()
		return seen
	}
	seen.Answered, seen.Leader, seen.Index = true, m.Leader, m.Index
	if !full {
		return seen
	}
	s, err := state(ctx, client)
	if err != nil {
		return seen
	}
	// Only what is of one index can be compared with another's.
	if after, err := client.Mesh(ctx); err != nil || after.Index != m.Index {
		return seen
	}
	if m.Leader == node {
		if w, err := client.Workflow(ctx, workflow); err == nil {
			s.Frames = &Frames{Captured: w.Frames.Captured, Delivered: w.Frames.Delivered, Filtered: w.Frames.Filtered, Dropped: w.Frames.Lost(), InFlight: w.Frames.InFlight}
		}
	}
	seen.State = s
	return seen
}

func state(ctx context.Context, c *api.Client) (*State, error) {
	ws, err1 := c.Workflows(ctx)
	ns, err2 := c.Nodes(ctx)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	s := &State{}
	for _, w := range ws {
		s.Workflows = append(s.Workflows, Workflow{Name: w.Name, Version: w.Version, Submitted: w.Submitted, Status: w.Status, Instances: w.Instances})
	}
	for _, n := range ns {
		m := Member{Name: n.ID, Status: string(n.Status), Placements: slices.Clone(n.Placements)}
		slices.Sort(m.Placements)
		s.Nodes = append(s.Nodes, m)
	}
	slices.SortFunc(s.Workflows, func(a, b Workflow) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Nodes, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	return s, nil
}
