package experiment

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/testbed"
)

// ErrCosts reports a file of costs that can't be read.
var ErrCosts = errors.New("no costs")

// The form of costs.yaml and costs.json, which is that of a scenario's costs
// (testbed.ParseCosts).
type costsForm struct {
	Capture    *timeForm           `json:"capture,omitempty"`
	Input      *float64            `json:"input,omitempty"`
	Idle       *float64            `json:"idle,omitempty"`
	Coordinate *float64            `json:"coordinate,omitempty"`
	Detect     *duration           `json:"detect,omitempty"`
	Return     *duration           `json:"return,omitempty"`
	Tasks      map[string]taskForm `json:"tasks"`
}

type taskForm struct {
	Work    *timeForm `json:"work,omitempty"`
	Send    *timeForm `json:"send,omitempty"`
	Receive *timeForm `json:"receive,omitempty"`
	Bytes   *size     `json:"bytes,omitempty"`
	Start   *duration `json:"start,omitempty"`

	Filtered *float64 `json:"filtered,omitempty"`
	Kept     *float64 `json:"kept,omitempty"`
}

type timeForm struct {
	Mean duration `json:"mean"`
	CV   float64  `json:"cv"`
}

const (
	maxCost  = 24 * time.Hour
	maxCV    = 100
	maxInput = 1000
	maxCores = 1000
)

// duration is one of at most maxCost, as text: 1m30s.
type duration time.Duration

// MarshalText writes all digits.
func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// size is one in bytes, as text: 61204B.
type size int64

// MarshalText writes all digits.
func (b size) MarshalText() ([]byte, error) {
	return []byte(strconv.FormatInt(int64(b), 10) + "B"), nil
}

// ReadCosts reads costs.yaml or costs.json of a result folder, or a file like
// it. A user's mistakes come back as yamlfile.Problems, each with its place and
// remedy.
func ReadCosts(path string) (testbed.Costs, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return testbed.Costs{}, fmt.Errorf("%w: there is no %s; name the %s of a result folder", ErrCosts, path, costsYAML)
	}
	if err != nil {
		return testbed.Costs{}, fmt.Errorf("%w: %w", ErrCosts, err)
	}
	return testbed.ParseCosts(path, data)
}

// WriteCosts writes a file that ReadCosts reads.
func WriteCosts(path string, c testbed.Costs) error { return writeFile(path, encodeCostsYAML(c)) }

// formOf is the form of costs, without what it would not take back.
func formOf(c testbed.Costs) costsForm {
	spread := func(t *testbed.Time) *timeForm {
		if t == nil || !finite(t.CV) {
			return nil
		}
		return &timeForm{fromTime(t.Mean), min(max(t.CV, 0), maxCV)}
	}
	cores := func(x *float64) *float64 {
		if x == nil || !finite(*x) {
			return nil
		}
		n := min(max(*x, 0), maxCores)
		return &n
	}
	input := c.Input
	if input != nil && !(*input > 0 && *input <= maxInput) {
		input = nil
	}
	out := costsForm{
		Capture: spread(c.Capture), Input: input, Idle: cores(c.Idle), Coordinate: cores(c.Coordinate),
		Detect: fromDuration(c.Detect), Return: fromDuration(c.Return), Tasks: map[string]taskForm{},
	}
	for name, t := range c.Tasks {
		x := taskForm{Work: spread(t.Work), Send: spread(t.Send), Receive: spread(t.Receive), Start: fromDuration(t.Start)}
		if t.Bytes != nil {
			n := size(max(*t.Bytes, 0))
			x.Bytes = &n
		}
		if f := t.Filtered; f != nil && finite(*f) {
			x.Filtered = new(min(max(*f, 0), 1))
		}
		if k := t.Kept; k != nil && finite(*k) {
			x.Kept = new(min(max(*k, 0), 1))
		}
		out.Tasks[name] = x
	}
	return out
}

func asTime(d duration) time.Duration   { return time.Duration(d) }
func fromTime(d time.Duration) duration { return duration(min(max(d, 0), maxCost)) }

func fromDuration(d *time.Duration) *duration {
	if d == nil {
		return nil
	}
	x := fromTime(*d)
	return &x
}

func encodeCostsJSON(c testbed.Costs) ([]byte, error) { return encodeJSON(formOf(c)) }

// encodeCostsYAML writes costs as a scenario would have them below its costs
// key.
func encodeCostsYAML(c testbed.Costs) []byte {
	var b strings.Builder
	b.WriteString("# Times on one full core of the machine that ran the experiment, and sizes.\n")
	b.WriteString("# A simulation reads this file; a scenario takes the same under spec.costs.\n")
	f := formOf(c)
	spread := func(indent, key string, t *timeForm) {
		if t != nil {
			fmt.Fprintf(&b, "%s%s: {mean: %v, cv: %v}\n", indent, key, asTime(t.Mean), t.CV)
		}
	}
	length := func(indent, key string, d *duration) {
		if d != nil {
			fmt.Fprintf(&b, "%s%s: %v\n", indent, key, asTime(*d))
		}
	}
	spread("", "capture", f.Capture)
	if f.Input != nil {
		fmt.Fprintf(&b, "input: %v\n", *f.Input)
	}
	if f.Idle != nil {
		fmt.Fprintf(&b, "idle: %v\n", *f.Idle)
	}
	if f.Coordinate != nil {
		fmt.Fprintf(&b, "coordinate: %v\n", *f.Coordinate)
	}
	length("", "detect", f.Detect)
	length("", "return", f.Return)
	if len(f.Tasks) == 0 {
		b.WriteString("tasks: {}\n")
		return []byte(b.String())
	}
	b.WriteString("tasks:\n")
	for _, name := range slices.Sorted(maps.Keys(f.Tasks)) {
		t := f.Tasks[name]
		if t == (taskForm{}) {
			fmt.Fprintf(&b, "  %s: {}\n", strconv.Quote(name))
			continue
		}
		fmt.Fprintf(&b, "  %s:\n", strconv.Quote(name))
		spread("    ", "work", t.Work)
		spread("    ", "send", t.Send)
		spread("    ", "receive", t.Receive)
		if t.Bytes != nil {
			fmt.Fprintf(&b, "    bytes: %dB\n", *t.Bytes)
		}
		length("    ", "start", t.Start)
		if t.Filtered != nil {
			fmt.Fprintf(&b, "    filtered: %v\n", *t.Filtered)
		}
		if t.Kept != nil {
			fmt.Fprintf(&b, "    kept: %v\n", *t.Kept)
		}
	}
	return []byte(b.String())
}

// measuredCosts are the costs that the emulated runs measured, on average; of
// a result without one, those that the simulation used.
func measuredCosts(r *Result) testbed.Costs {
	recs := r.of(testbed.Emulated)
	if len(recs) == 0 {
		recs = r.of(testbed.Simulated)
	}
	var all []testbed.Costs
	tasks := map[string][]testbed.TaskCosts{}
	for _, rec := range recs {
		all = append(all, rec.Costs)
		for name, t := range rec.Costs.Tasks {
			tasks[name] = append(tasks[name], t)
		}
	}
	out := testbed.Costs{
		Capture:    meanTime(all, func(c testbed.Costs) *testbed.Time { return c.Capture }),
		Input:      fraction(mean(all, func(c testbed.Costs) *float64 { return c.Input })),
		Idle:       fraction(mean(all, func(c testbed.Costs) *float64 { return c.Idle })),
		Coordinate: fraction(mean(all, func(c testbed.Costs) *float64 { return c.Coordinate })),
		Detect:     whole[time.Duration](mean(all, func(c testbed.Costs) *time.Duration { return c.Detect })),
		Return:     whole[time.Duration](mean(all, func(c testbed.Costs) *time.Duration { return c.Return })),
	}
	if len(tasks) > 0 {
		out.Tasks = map[string]testbed.TaskCosts{}
	}
	for name, ts := range tasks {
		out.Tasks[name] = testbed.TaskCosts{
			Work:    meanTime(ts, func(t testbed.TaskCosts) *testbed.Time { return t.Work }),
			Send:    meanTime(ts, func(t testbed.TaskCosts) *testbed.Time { return t.Send }),
			Receive: meanTime(ts, func(t testbed.TaskCosts) *testbed.Time { return t.Receive }),
			Bytes:   whole[int64](mean(ts, func(t testbed.TaskCosts) *int64 { return t.Bytes })),
			Start:   whole[time.Duration](mean(ts, func(t testbed.TaskCosts) *time.Duration { return t.Start })),

			Filtered: fraction(mean(ts, func(t testbed.TaskCosts) *float64 { return t.Filtered })),
			Kept:     fraction(mean(ts, func(t testbed.TaskCosts) *float64 { return t.Kept })),
		}
	}
	return out
}

// mean is the mean of those that there are; nil: none.
func mean[T any, N ~int64 | ~float64](xs []T, of func(T) *N) *float64 {
	sum, n := 0.0, 0.0
	for _, x := range xs {
		if v := of(x); v != nil {
			sum, n = sum+float64(*v), n+1
		}
	}
	if n == 0 {
		return nil
	}
	m := sum / n
	return &m
}

// fraction rounds to what a measurement can tell.
func fraction(x *float64) *float64 {
	if x == nil {
		return nil
	}
	r := round(*x, 6)
	return &r
}

// whole rounds.
func whole[N ~int64](x *float64) *N {
	if x == nil {
		return nil
	}
	n := N(math.Round(*x))
	return &n
}

// meanTime is the distribution of runs of the same size taken together: the
// mean of the means, and their variances added to the variance between them.
func meanTime[T any](xs []T, of func(T) *testbed.Time) *testbed.Time {
	var sum, squares, n float64
	for _, x := range xs {
		if t := of(x); t != nil {
			m := float64(t.Mean)
			sum, squares, n = sum+m, squares+m*m*(1+t.CV*t.CV), n+1
		}
	}
	if n == 0 {
		return nil
	}
	m := sum / n
	out := &testbed.Time{Mean: time.Duration(math.Round(m))}
	if m > 0 {
		out.CV = round(math.Sqrt(max(squares/n/(m*m)-1, 0)), 6)
	}
	return out
}
