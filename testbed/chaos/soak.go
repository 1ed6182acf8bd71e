package chaos

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// sampleEvery is how often a soak test samples.
const sampleEvery = 10 * time.Second

// Resource is something that must not grow for ever.
type Resource string

// The resources.
const (
	Memory      Resource = "memory_mib" // resident
	Goroutines  Resource = "goroutines"
	Descriptors Resource = "descriptors"
)

// Resources lists them.
func Resources() []Resource { return []Resource{Memory, Goroutines, Descriptors} }

// Usage is what one weftd uses at one moment.
type Usage struct {
	At   time.Duration // since the soak test began
	Node string
	PID  int // another: it was started again, and a new series begins
	// Role is what it does at that moment: the instances it runs, and whether it
	// leads. Who does more uses more.
	Role string
	Of   map[Resource]float64
}

// usageMetrics are what a Go program says of itself.
var usageMetrics = map[Resource]string{Memory: "process_resident_memory_bytes", Goroutines: "go_goroutines", Descriptors: "process_open_fds"}

// sample samples every weftd until ctx ends, and keeps it in soak.csv as it
// goes on.
func (r *runner) sample(ctx context.Context) (all []Usage, err error) {
	f, err := os.Create(filepath.Join(r.Dir, "soak.csv"))
	if err != nil {
		return nil, fmt.Errorf("keep what the nodes use: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	out := csv.NewWriter(f)
	head := []string{"at_s", "node", "pid", "role"}
	names := url.Values{"name[]": {"weft_instance_info"}}
	for _, k := range Resources() {
		head = append(head, string(k))
		names.Add("name[]", usageMetrics[k])
	}
	if err := out.Write(head); err != nil {
		return nil, err
	}
	began := time.Now()
	every(ctx, sampleEvery, func() {
		for _, n := range r.plant.Nodes {
			p := r.Ground.Process(n)
			if !p.Lives() {
				continue
			}
			families, _, err := r.observer.scrape(ctx, n, names)
			if err != nil {
				continue // it starts, or it is cut off: the rounds tell
			}
			u := Usage{At: time.Since(began), Node: n, PID: p.PID, Role: r.role(ctx, n, families), Of: map[Resource]float64{}}
			row := []string{strconv.FormatFloat(u.At.Seconds(), 'f', 1, 64), n, strconv.Itoa(p.PID), u.Role}
			for _, k := range Resources() {
				u.Of[k] = gauge(families[usageMetrics[k]])
				if k == Memory {
					u.Of[k] /= 1 << 20
				}
				row = append(row, strconv.FormatFloat(u.Of[k], 'f', 1, 64))
			}
			all = append(all, u)
			_ = out.Write(row) // Error says it
		}
		out.Flush()
	})
	return all, out.Error()
}

// role says what a node does now.
func (r *runner) role(ctx context.Context, node string, families map[string]*dto.MetricFamily) string {
	var does []string
	for _, m := range families["weft_instance_info"].GetMetric() {
		does = append(does, labels(m)["instance"])
	}
	slices.Sort(does)
	if r.plant.coordinator(node) && r.observer.coordinator(ctx, node, "", false).Leader == node {
		does = append(does, "leads")
	}
	return strings.Join(does, " ")
}

func gauge(f *dto.MetricFamily) float64 {
	for _, m := range f.GetMetric() {
		return m.GetGauge().GetValue()
	}
	return 0
}

// Trend is how the use of a resource by one weftd, from its start to its end,
// goes.
type Trend struct {
	Node     string
	Resource Resource
	For      time.Duration // of the series
	Samples  int
	Median   float64 // of its second half
	PerHour  float64 // Theil and Sen's slope of its floor in the second half, role by role
	Verdict  Verdicted
}

// Verdicted is what a trend shows.
type Verdicted string

// The verdicts.
const (
	Short  Verdicted = "too short to say" // less than leastSeries
	Steady Verdicted = "steady"
	Grows  Verdicted = "grows"
)

const (
	leastSeries = 10 * time.Minute
	// growth is how much of its median a resource may gain in an hour, by the
	// lower bound of the slope, and still pass for steady.
	growth = 0.10
)

// Trends judges the longest series of every node and resource. The first half
// of a series is its warm-up. It is pure.
func Trends(all []Usage) []Trend {
	series := map[string]map[int][]Usage{}
	for _, u := range all {
		if series[u.Node] == nil {
			series[u.Node] = map[int][]Usage{}
		}
		series[u.Node][u.PID] = append(series[u.Node][u.PID], u)
	}
	var out []Trend
	for _, node := range sortedKeys(series) {
		var longest []Usage
		for _, pid := range sortedKeys(series[node]) {
			if s := series[node][pid]; len(longest) == 0 || span(s) > span(longest) {
				longest = s
			}
		}
		for _, k := range Resources() {
			out = append(out, trend(node, k, longest))
		}
	}
	return out
}

func span(s []Usage) time.Duration { return s[len(s)-1].At - s[0].At }

func trend(node string, k Resource, s []Usage) Trend {
	t := Trend{Node: node, Resource: k, For: span(s), Samples: len(s), Verdict: Short}
	half := s[len(s)/2:]
	var all []float64
	for _, u := range half {
		all = append(all, u.Of[k])
	}
	t.Median = median(all)
	low, slope := theilSen(floors(half, k))
	t.PerHour = slope
	if t.For >= leastSeries {
		if t.Verdict = Steady; low > growth*t.Median {
			t.Verdict = Grows
		}
	}
	return t
}

// window is the time over which the least of a resource is taken.
const window = 5 * time.Minute

// floors returns, role by role and window by window, the least that was used.
// What leaks stays, and raises it. What comes and goes does not: requests that
// agents have held at one coordinator for minutes, and then at another; memory
// until it is collected. Samples themselves are no independent observations.
func floors(s []Usage, k Resource) (x, y []float64, roles []string) {
	type pane struct {
		role string
		n    time.Duration
	}
	at := map[pane]int{}
	for _, u := range s {
		p := pane{u.Role, u.At / window}
		i, ok := at[p]
		if !ok {
			i = len(x)
			at[p] = i
			x, y, roles = append(x, u.At.Hours()), append(y, u.Of[k]), append(roles, u.Role)
		}
		if u.Of[k] < y[i] {
			x[i], y[i] = u.At.Hours(), u.Of[k]
		}
	}
	return x, y, roles
}

// theilSen returns the median slope of all pairs of points of one group, and the
// lower end of its 95 % interval (Sen 1968, section 4, without ties; groups as
// the seasons of Hirsch, Slack and Smith 1982: a step from one to another is no
// slope).
func theilSen(x, y []float64, groups []string) (low, slope float64) {
	var slopes []float64
	of := map[string]float64{}
	for i := range x {
		of[groups[i]]++
		for k := range i {
			if x[i] != x[k] && groups[i] == groups[k] {
				slopes = append(slopes, (y[i]-y[k])/(x[i]-x[k]))
			}
		}
	}
	if len(slopes) == 0 {
		return 0, 0
	}
	slices.Sort(slopes)
	variance := 0.0
	for _, n := range of {
		variance += n * (n - 1) * (2*n + 5) / 18
	}
	spread := 1.96 * math.Sqrt(variance)
	i := int((float64(len(slopes)) - spread) / 2)
	return slopes[min(max(i, 0), len(slopes)-1)], median(slopes)
}
