package sim

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// filtering is the setting with a filter before resize, which lets a share of
// the frames go no further; negative: nobody says which.
func filtering(x setting, share float64) setting {
	x.workflow = append(x.workflow, "  tasks:\n", "  tasks:\n    - {name: still, type: preprocess, operation: filter, resources: {cpu: 50m}}\n\n",
		"{from: sources, to: resize}", "{from: sources, to: still}\n    - {from: still, to: resize}")
	filtered := ""
	if share >= 0 {
		filtered = fmt.Sprintf(", filtered: %g", share)
	}
	x.edit = append(x.edit, "    tasks:\n      resize", "    tasks:\n      still: {work: 1ms, start: 10ms"+filtered+"}\n      resize")
	return x
}

// What is filtered is counted for itself, on the cameras' nodes, and takes
// nothing of what follows.
func TestFilter(t *testing.T) {
	rec := filtering(setting{sources: 4, fps: 10, length: time.Minute}, 0.7).run(t)
	f := rec.Totals.Frames
	if share := float64(f.Filtered) / float64(f.Captured); share < 0.66 || share > 0.74 || f.Lost() > 0 || f.Captured != 4*10*60 {
		t.Errorf("%.3f filtered of %+v, want 0.7 and none lost", share, f)
	}
	for _, s := range rec.Totals.Stages {
		want := f.Captured
		if s.Task != "still" {
			want -= f.Filtered
		}
		if s.Task == "detect@640" {
			continue // no camera has that resolution
		}
		got := s.Processed
		if s.Task == "still" {
			got += f.Filtered
		}
		if d := int64(got) - int64(want); d < -8 || d > 8 {
			t.Errorf("%s worked on %d frames, want %d", s.Task, got, want)
		}
	}
	cameras := map[string]bool{}
	for _, p := range rec.Totals.Placements {
		cameras[p.Node] = cameras[p.Node] || p.Source
	}
	for _, p := range rec.Totals.Placements {
		if (p.Task == "still" || p.Task == "resize") && !cameras[p.Node] {
			t.Errorf("%s is on %s, where there is no camera", p.Task, p.Node)
		}
	}
}

// More cameras than detection at 512 can serve are reduced; with a filter they
// are not: the same decision sees the load that is left.
func TestFilterInPlaceOfReduction(t *testing.T) {
	x := setting{sources: 6, fps: 6, detect: "40ms", length: time.Minute}
	reduced := func(x setting) (n uint64) {
		rec := x.run(t)
		if f := rec.Totals.Frames; f.Lost() > 0 {
			t.Errorf("%+v, want none lost", f)
		}
		last, first := rec.Samples[len(rec.Samples)-1], rec.Samples[40]
		for i, s := range last.Stages {
			if s.Task == "detect@416" {
				n = s.Processed - first.Stages[i].Processed
			}
		}
		return n
	}
	if n := reduced(adapting(x, "period: 5s")); n == 0 {
		t.Error("no frame is analysed at 416 without a filter")
	}
	if n := reduced(filtering(adapting(x, "period: 5s"), 0.9)); n > 0 {
		t.Errorf("%d frames are analysed at 416 though there is room", n)
	}
}

func TestFilterWithoutFigure(t *testing.T) {
	x := filtering(setting{sources: 1, fps: 5}, -1)
	_, err := Run(t.Context(), Config{Scenario: x.scenario(t), Seed: 1})
	if !errors.Is(err, ErrCosts) || !strings.Contains(err.Error(), "tasks.still.filtered") {
		t.Errorf("%v, want what is missing", err)
	}
}
