package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBiggerIsBetter(t *testing.T) {
	for _, x := range []struct {
		r    Ratio
		want float64
		met  bool
	}{
		{compare("rate", "raw", "frames/s", more, 0.9, []float64{90, 100, 80}, []float64{100, 100, 100}), 0.9, true},
		{compare("late", "raw", "ms", less, 0.9, []float64{20, 20, 10}, []float64{10, 10, 10}), 0.5, false},
		{compare("none", "raw", "frames/s", more, 1, []float64{5}, []float64{0}), most, true},
		{compare("both nothing", "raw", "frames/s", more, 1, []float64{0}, []float64{0}), 1, true},
		{within("memory", "MiB", 40, []float64{80}), 0.5, false},
		{within("memory", "MiB", 40, []float64{20, 10, 20}), 2, true},
	} {
		if x.r.Ratio != x.want || x.r.Met != x.met {
			t.Errorf("%s: ratio %g, met %t; want %g, %t", x.r.Name, x.r.Ratio, x.r.Met, x.want, x.met)
		}
		if x.r.Low > x.r.Ratio || x.r.High < x.r.Ratio {
			t.Errorf("%s: %g is not within %g to %g", x.r.Name, x.r.Ratio, x.r.Low, x.r.High)
		}
	}
}

func TestResultsAreWritten(t *testing.T) {
	dir := t.TempDir()
	r := compare("link", "raw", "frames/s", more, 0.9, []float64{50}, []float64{100})
	if err := write(dir, []Ratio{r}, &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "bench.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Ratios []map[string]any }
	if err := json.Unmarshal(b, &got); err != nil || len(got.Ratios) != 1 {
		t.Fatalf("%s: %v", b, err)
	}
	for key, want := range map[string]any{"name": "link", "ratio": 0.5, "aim": 0.9, "ours": 50.0, "other": 100.0, "unit": "frames/s", "against": "raw", "better": "more", "met": false} {
		if got.Ratios[0][key] != want {
			t.Errorf("%s is %v, want %v", key, got.Ratios[0][key], want)
		}
	}
	md, err := os.ReadFile(filepath.Join(dir, "bench.md"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "| link | 50 frames/s | raw: 100 | 0.50 (0.50–0.50) | ≥ 0.9, missed |\n"; !strings.HasSuffix(string(md), want) {
		t.Errorf("the table ends in %s, want %s", md, want)
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
