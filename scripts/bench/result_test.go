package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBiggerIsBetter(t *testing.T) {
	for _, x := range []struct {
		r    Ratio
		want float64
		met  any
	}{
		{compare("rate", "raw", "frames/s", more, 0.9, []float64{90, 100, 80}, []float64{100, 100, 100}), 0.9, true},
		{compare("rate for information", "raw", "frames/s", more, 0, []float64{90}, []float64{100}), 0.9, nil},
		{compare("late", "raw", "ms", less, 0.9, []float64{20, 20, 10}, []float64{10, 10, 10}), 0.5, false},
		{compare("the other nothing", "raw", "frames/s", more, 1, []float64{5}, []float64{0}), most, true},
		{compare("both nothing", "raw", "frames/s", more, 1, []float64{0}, []float64{0}), 0, false},
		{compare("mostly nothing", "raw", "frames/s", more, 1, []float64{0, 0, 9}, []float64{0, 0, 1}), 0, false},
		{compare("at once", "raw", "s", less, 1, []float64{0}, []float64{3}), most, true},
		{within("memory", "MiB", 40, []float64{80}), 0.5, false},
		{within("memory", "MiB", 40, []float64{20, 10, 20}), 2, true},
	} {
		var met any
		if x.r.Met != nil {
			met = *x.r.Met
		}
		if x.r.Ratio != x.want || met != x.met {
			t.Errorf("%s: ratio %g, met %v; want %g, %v", x.r.Name, x.r.Ratio, met, x.want, x.met)
		}
		if x.r.Low > x.r.Ratio || x.r.High < x.r.Ratio {
			t.Errorf("%s: %g is not within %g to %g", x.r.Name, x.r.Ratio, x.r.Low, x.r.High)
		}
	}
}

func TestResultsAreWritten(t *testing.T) {
	dir := t.TempDir()
	missed := compare("link, against raw", "raw", "frames/s", more, 0.9, []float64{50, 60, 40}, []float64{100, 100, 100})
	told := compare("traffic", "serf", "bytes/s", less, 0, []float64{100}, []float64{200})
	told.Note = "a note"
	if err := write(dir, "Measured here.", []Ratio{missed, told}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "bench.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Ratios []map[string]any }
	if err := json.Unmarshal(b, &got); err != nil || len(got.Ratios) != 2 {
		t.Fatalf("%s: %v", b, err)
	}
	for i, want := range []map[string]any{
		{"name": "link, against raw", "ratio": 0.5, "aim": 0.9, "ours": 50.0, "other": 100.0, "unit": "frames/s", "against": "raw", "better": "more",
			"low": 0.4, "high": 0.6, "turns": 3.0, "met": false},
		{"name": "traffic", "ratio": 2.0, "aim": 0.0, "ours": 100.0, "other": 200.0, "unit": "bytes/s", "against": "serf", "better": "less",
			"low": 2.0, "high": 2.0, "turns": 1.0, "note": "a note"},
	} {
		if !maps.Equal(got.Ratios[i], want) {
			t.Errorf("got %v, want %v", got.Ratios[i], want)
		}
	}
	md, err := os.ReadFile(filepath.Join(dir, "bench.md"))
	if err != nil {
		t.Fatal(err)
	}
	want := `Measured here.

| what | Weft | against | ratio | spread | aim |
|---|---|---|---|---|---|
| link | 50 frames/s | raw: 100 | 0.50 | 0.40 to 0.60 | ≥ 0.9, missed |
| traffic (a note) | 100 bytes/s | serf: 200 | 2.00 | 2.00 to 2.00 | – |
`
	if string(md) != want {
		t.Errorf("the table is\n%s\nwant\n%s", md, want)
	}
}

// A part that fails or is interrupted does not take along what was found before.
func TestEachPartIsWritten(t *testing.T) {
	row := func(name string) []Ratio { return []Ratio{within(name, "s", 1, []float64{1})} }
	bad := errors.New("bad")
	ctx, interrupt := context.WithCancelCause(t.Context())
	out := t.TempDir()
	stop := errors.New("interrupted")
	err := measure(ctx, options{out: out, runs: 1}, []benchmark{
		{"whole", "", func(context.Context, *harness) ([]Ratio, error) { return row("a"), nil }},
		{"half", "", func(context.Context, *harness) ([]Ratio, error) { return row("b"), bad }},
		{"cut", "", func(ctx context.Context, _ *harness) ([]Ratio, error) {
			interrupt(stop)
			return row("c"), context.Cause(ctx)
		}},
		{"never", "", func(context.Context, *harness) ([]Ratio, error) { return row("d"), nil }},
	}, io.Discard)
	if !errors.Is(err, bad) || !errors.Is(err, stop) {
		t.Errorf("measure: %v, want both %v and %v", err, bad, stop)
	}
	b, err := os.ReadFile(filepath.Join(out, "bench.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Ratios []Ratio }
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	found := ""
	for _, r := range got.Ratios {
		found += r.Name
	}
	if found != "abc" {
		t.Errorf("written: %q, want the rows a, b and c", found)
	}
	if left, _ := filepath.Glob(filepath.Join(out, "*.tmp")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestMistakesOnTheCommandLine(t *testing.T) {
	for args, want := range map[string]string{
		"-only pipelin": `there is no benchmark "pipelin": choose of pipeline, link, lossy, placements, idle, members`,
		"-only link,":   `there is no benchmark ""`,
		"-runs 0":       "-runs 0: at least 1",
		"link":          `unexpected argument "link"`,
	} {
		var stderr bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), &bytes.Buffer{}, &stderr); code != exitUsage || !strings.Contains(stderr.String(), want) {
			t.Errorf("bench %s: exit %d, %s", args, code, &stderr)
		}
	}
	if got, err := choose("members,link"); err != nil || len(got) != 2 || got[0].name != "link" {
		t.Errorf("choose: %v, %v", got, err)
	}
}
