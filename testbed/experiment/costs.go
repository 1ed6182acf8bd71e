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

	"github.com/weft-mesh/weft/internal/quantity"
	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/testbed"
)

// ErrCosts reports a file of costs that can't be read.
var ErrCosts = errors.New("no costs")

// The form of costs.yaml and costs.json, which is that of a scenario's costs.
type costsForm struct {
	Capture    *timeForm           `yaml:"capture" json:"capture,omitempty"`
	Input      *float64            `yaml:"input" json:"input,omitempty"`
	Idle       *float64            `yaml:"idle" json:"idle,omitempty"`
	Coordinate *float64            `yaml:"coordinate" json:"coordinate,omitempty"`
	Detect     *duration           `yaml:"detect" json:"detect,omitempty"`
	Return     *duration           `yaml:"return" json:"return,omitempty"`
	Tasks      map[string]taskForm `yaml:"tasks" json:"tasks"`
}

type taskForm struct {
	Work    *timeForm `yaml:"work" json:"work,omitempty"`
	Send    *timeForm `yaml:"send" json:"send,omitempty"`
	Receive *timeForm `yaml:"receive" json:"receive,omitempty"`
	Bytes   *size     `yaml:"bytes" json:"bytes,omitempty"`
	Start   *duration `yaml:"start" json:"start,omitempty"`
}

type timeForm struct {
	Mean duration `yaml:"mean,required,short" json:"mean"`
	CV   float64  `yaml:"cv" json:"cv"`
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

// UnmarshalText reads what people write, too.
func (d *duration) UnmarshalText(text []byte) error {
	x, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no duration; want one such as 500us, 12.5ms or 3s", text)
	}
	if x < 0 || x > maxCost {
		return fmt.Errorf("%v is out of range; use a duration from 0s to %v", x, maxCost)
	}
	*d = duration(x)
	return nil
}

// size is one in bytes, as text: 61204B.
type size int64

// MarshalText writes all digits.
func (b size) MarshalText() ([]byte, error) {
	return []byte(strconv.FormatInt(int64(b), 10) + "B"), nil
}

// UnmarshalText reads what people write, too.
func (b *size) UnmarshalText(text []byte) error {
	return (*quantity.Bytes)(b).UnmarshalText(text)
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
	return decodeCosts(path, data)
}

func decodeCosts(file string, data []byte) (testbed.Costs, error) {
	var in costsForm
	doc, err := yamlfile.Decode(file, data, &in)
	if err != nil {
		return testbed.Costs{}, err
	}
	var problems yamlfile.Problems
	spread := func(field string, t *timeForm) *testbed.Time {
		if t == nil {
			return nil
		}
		if !(t.CV >= 0 && t.CV <= maxCV) {
			problems = append(problems, doc.Problem(field+".cv", "%g is out of range; use a standard deviation over the mean, from 0 to %d", t.CV, maxCV))
		}
		return &testbed.Time{Mean: asTime(t.Mean), CV: t.CV}
	}
	for field, x := range map[string]*float64{"idle": in.Idle, "coordinate": in.Coordinate} {
		if x != nil && !(*x >= 0 && *x <= maxCores) {
			problems = append(problems, doc.Problem(field, "%g is out of range; use a number of cores such as 0.01", *x))
		}
	}
	if in.Input != nil && !(*in.Input > 0 && *in.Input <= maxInput) {
		problems = append(problems, doc.Problem("input", "%g is out of range; use pictures a second such as 25, at most %d", *in.Input, maxInput))
	}
	out := testbed.Costs{
		Capture: spread("capture", in.Capture), Input: in.Input, Idle: in.Idle, Coordinate: in.Coordinate,
		Detect: asDuration(in.Detect), Return: asDuration(in.Return),
	}
	if len(in.Tasks) > 0 {
		out.Tasks = map[string]testbed.TaskCosts{}
	}
	for _, name := range slices.Sorted(maps.Keys(in.Tasks)) {
		t, field := in.Tasks[name], yamlfile.Key("tasks", name)
		out.Tasks[name] = testbed.TaskCosts{
			Work: spread(field+".work", t.Work), Send: spread(field+".send", t.Send), Receive: spread(field+".receive", t.Receive),
			Bytes: (*int64)(t.Bytes), Start: asDuration(t.Start),
		}
	}
	return out, problems.Err()
}

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
		out.Tasks[name] = x
	}
	return out
}

func asTime(d duration) time.Duration   { return time.Duration(d) }
func fromTime(d time.Duration) duration { return duration(min(max(d, 0), maxCost)) }

func asDuration(d *duration) *time.Duration { return (*time.Duration)(d) }

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
