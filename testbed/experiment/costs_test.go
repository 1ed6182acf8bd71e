package experiment

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/weft-mesh/weft/testbed"
	"pgregory.net/rapid"
)

// anyCosts draws costs of which each part may lack.
func anyCosts() *rapid.Generator[testbed.Costs] {
	return rapid.Custom(func(t *rapid.T) testbed.Costs {
		length := rapid.Ptr(rapid.Map(rapid.Int64Range(0, int64(time.Hour)), func(n int64) time.Duration { return time.Duration(n) }), true)
		spread := rapid.Ptr(rapid.Custom(func(t *rapid.T) testbed.Time {
			return testbed.Time{Mean: time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "mean")), CV: rapid.Float64Range(0, 5).Draw(t, "cv")}
		}), true)
		c := testbed.Costs{
			Capture: spread.Draw(t, "capture"), Detect: length.Draw(t, "detect"), Return: length.Draw(t, "return"),
			Input: rapid.Ptr(rapid.Float64Range(0.1, 1000), true).Draw(t, "input"),
			Idle:  rapid.Ptr(rapid.Float64Range(0, 10), true).Draw(t, "idle"), Coordinate: rapid.Ptr(rapid.Float64Range(0, 10), true).Draw(t, "coordinate"),
		}
		for _, name := range rapid.SliceOfDistinct(rapid.StringMatching(`[a-zA-Z0-9@:._" #-]{1,12}`), rapid.ID).Draw(t, "tasks") {
			if c.Tasks == nil {
				c.Tasks = map[string]testbed.TaskCosts{}
			}
			c.Tasks[name] = testbed.TaskCosts{
				Work: spread.Draw(t, "work"), Send: spread.Draw(t, "send"), Receive: spread.Draw(t, "receive"), Start: length.Draw(t, "start"),
				Bytes: rapid.Ptr(rapid.Int64Range(0, 1<<40), true).Draw(t, "bytes"),
			}
		}
		return c
	})
}

// What is written is read back, to the last digit, from both files.
func TestCostsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyCosts().Draw(t, "costs")
		asJSON, err := encodeCostsJSON(want)
		if err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string][]byte{"costs.yaml": encodeCostsYAML(want), "costs.json": asJSON} {
			got, err := testbed.ParseCosts(name, data)
			if err != nil {
				t.Fatalf("%v in:\n%s", err, data)
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("got %+v, want %+v from:\n%s", got, want, data)
			}
		}
	})
}

// A cost that is new in testbed is not forgotten here.
func TestEveryCostComesBack(t *testing.T) {
	fill := func(v reflect.Value) {
		for i := range v.NumField() {
			f := v.Field(i)
			if f.Kind() != reflect.Pointer {
				continue
			}
			f.Set(reflect.New(f.Type().Elem()))
			switch e := f.Elem(); {
			case e.CanInt():
				e.SetInt(int64(i) + 1)
			case e.CanFloat():
				e.SetFloat(float64(i) + 1)
			default:
				e.Set(reflect.ValueOf(testbed.Time{Mean: time.Duration(i + 1), CV: 1}))
			}
		}
	}
	var want testbed.Costs
	var task testbed.TaskCosts
	fill(reflect.ValueOf(&want).Elem())
	fill(reflect.ValueOf(&task).Elem())
	*task.Filtered, *task.Kept = 0.25, 0.5 // shares
	want.Tasks = map[string]testbed.TaskCosts{"t": task}
	got, err := testbed.ParseCosts("costs.yaml", encodeCostsYAML(want))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	runs := &Result{Scenario: synthScenario(), Recordings: []testbed.Recording{{Method: testbed.Emulated, Costs: want}, {Method: testbed.Emulated, Costs: want}}}
	if got := measuredCosts(runs); !reflect.DeepEqual(got, want) {
		t.Errorf("of two runs: %+v; want %+v", got, want)
	}
}

func TestMeasuredCosts(t *testing.T) {
	dir := t.TempDir()
	r := synthResult(2, 1)
	other := r.Recordings[1].Costs
	other.Capture = &testbed.Time{Mean: 4200 * time.Microsecond, CV: 0.1}
	twice := 4300 * time.Millisecond
	other.Detect = &twice
	r.Recordings[1].Costs = other
	if err := noPlots(dir, r); err != nil {
		t.Fatal(err)
	}
	golden(t, "costs.yaml", read(t, dir, "costs.yaml"))
	fromYAML, err := ReadCosts(filepath.Join(dir, "costs.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	fromJSON, err := ReadCosts(filepath.Join(dir, "costs.json"))
	if err != nil || !reflect.DeepEqual(fromYAML, fromJSON) {
		t.Errorf("costs.json differs: %v", err)
	}
	// Of the emulated runs: the mean, and the variance within them and between.
	if c := fromYAML.Capture; c.Mean != 3700*time.Microsecond || c.CV != 0.168654 || *fromYAML.Detect != 3300*time.Millisecond {
		t.Errorf("capture %+v, detect %v", *c, *fromYAML.Detect)
	}
}

func TestReadCostsMistakes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "costs.yaml")
	_, err := ReadCosts(path)
	if want := "no costs: there is no " + path + "; name the costs.yaml of a result folder"; !errors.Is(err, ErrCosts) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	for text, want := range map[string]string{
		"detect: -1s":             ":1:9: detect: -1s is out of range; use a duration from 0s to 168h0m0s",
		"capture: soon":           `:1:10: capture: want a duration such as 500ms, 10s or 1m30s; found the text "soon"`,
		"capture: {cv: 1}":        `:1:1: capture: missing key "mean"`,
		"capture: 3ms\nidle: -1":  ":2:7: idle: -1 is out of range; use a number of cores such as 0.01",
		"tasks: {a: {bytes: 12}}": `:1:20: tasks.a.bytes: "12" has no unit; want an amount with its unit such as 512MiB, 2GiB or 500MB`,
		"tasks:\n  a:\n    work: {mean: 3ms, cv: 1e3}": ":3:27: tasks.a.work.cv: 1000 is out of range; use a standard deviation over the mean, from 0 to 100",
	} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadCosts(path); err == nil || err.Error() != path+want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func FuzzReadCosts(f *testing.F) {
	r := synthResult(1, 0)
	f.Add(encodeCostsYAML(measuredCosts(r)))
	data, err := encodeCostsJSON(measuredCosts(r))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("capture: 3ms\ntasks:\n  a: {work: {mean: 1h, cv: 2}, bytes: 3MB}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := testbed.ParseCosts("costs.yaml", data)
		if err != nil {
			return
		}
		back, err := testbed.ParseCosts("costs.yaml", encodeCostsYAML(c))
		if err != nil {
			t.Fatalf("%v in:\n%s", err, encodeCostsYAML(c))
		}
		if !reflect.DeepEqual(back, c) {
			t.Fatalf("got %+v, want %+v", back, c)
		}
	})
}
