package score_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/models/dataset"
	"github.com/weft-mesh/weft/models/score"
	"github.com/weft-mesh/weft/pipeline"
)

// frame is a picture with what was found in it.
type frame struct {
	found []pipeline.Detection
	truth []pipeline.Truth
}

func box(x, y, w, h float64) pipeline.Box { return pipeline.Box{X: x, Y: y, W: w, H: h} }

func det(label string, s float64, b pipeline.Box) pipeline.Detection {
	return pipeline.Detection{Label: label, Score: s, Box: b}
}

func TestTally(t *testing.T) {
	b := box(0, 0, 0.5, 0.5)
	crowd := pipeline.Truth{Label: "car", Box: box(0, 0, 1, 1), Ignore: true}
	car := pipeline.Truth{Label: "car", Box: b}
	for _, tt := range []struct {
		name  string
		found []pipeline.Detection
		truth []pipeline.Truth
		want  score.Counts
	}{
		{"nothing", nil, nil, score.Counts{}},
		{"found", []pipeline.Detection{det("car", 0.1, b)}, []pipeline.Truth{car}, score.Counts{TruePositives: 1}},
		{"half of it is enough", []pipeline.Detection{det("car", 0.1, box(0, 0, 0.25, 0.5))}, []pipeline.Truth{car}, score.Counts{TruePositives: 1}},
		{"less is not", []pipeline.Detection{det("car", 0.9, box(0, 0, 0.24, 0.5))}, []pipeline.Truth{car}, score.Counts{FalsePositives: 1, FalseNegatives: 1}},
		{"called otherwise", []pipeline.Detection{det("bus", 0.9, b)}, []pipeline.Truth{car}, score.Counts{FalsePositives: 1, FalseNegatives: 1}},
		{"found twice", []pipeline.Detection{det("car", 0.1, b), det("car", 0.9, b)}, []pipeline.Truth{car}, score.Counts{TruePositives: 1, FalsePositives: 1}},
		{
			"the surest chooses first, and what it overlaps most",
			[]pipeline.Detection{det("car", 0.5, box(0, 0, 0.5, 0.3)), det("car", 0.9, box(0, 0, 0.5, 0.4))},
			[]pipeline.Truth{{Label: "car", Box: box(0, 0, 0.5, 0.3)}, car},
			score.Counts{TruePositives: 2},
		},
		{"a missed crowd", nil, []pipeline.Truth{crowd}, score.Counts{}},
		{"found in a crowd, several times", []pipeline.Detection{det("car", 0.9, b), det("car", 0.8, b)}, []pipeline.Truth{crowd}, score.Counts{}},
		{"an object goes before the crowd around it", []pipeline.Detection{det("car", 0.9, b), det("car", 0.8, b)}, []pipeline.Truth{crowd, car}, score.Counts{TruePositives: 1}},
		{"a crowd of others", []pipeline.Detection{det("bus", 0.9, b)}, []pipeline.Truth{crowd}, score.Counts{FalsePositives: 1}},
		{"a box without area", []pipeline.Detection{det("car", 0.9, box(0.1, 0.1, 0, 0))}, []pipeline.Truth{car, crowd}, score.Counts{FalsePositives: 1, FalseNegatives: 1}},
		{"a box that is none", []pipeline.Detection{det("car", math.NaN(), box(math.NaN(), 0, math.Inf(1), 1))}, []pipeline.Truth{car, crowd}, score.Counts{FalsePositives: 1, FalseNegatives: 1}},
	} {
		if got, want := score.Judge(tt.found, tt.truth), (pipeline.Judged{Frames: 1, Right: uint64(tt.want.TruePositives),
			Wrong: uint64(tt.want.FalsePositives), Missed: uint64(tt.want.FalseNegatives)}); got != want {
			t.Errorf("%s: judged %+v, want %+v", tt.name, got, want)
		}
		var tally score.Tally
		for i := range 3 { // what it remembers of a frame does not show in the next
			tally.Add(tt.found, tt.truth)
			tally.Add(nil, nil)
			all, classes := tally.Result()
			n := i + 1
			if want := (score.Counts{TruePositives: n * tt.want.TruePositives, FalsePositives: n * tt.want.FalsePositives, FalseNegatives: n * tt.want.FalseNegatives}); all != want {
				t.Errorf("%s: %+v, want %+v", tt.name, all, want)
			}
			var sum score.Counts
			for _, c := range classes {
				sum = sum.Plus(c.Counts)
			}
			if sum != all {
				t.Errorf("%s: the classes add up to %+v, not to %+v", tt.name, sum, all)
			}
		}
	}
}

func TestCounts(t *testing.T) {
	c := score.Counts{TruePositives: 6, FalsePositives: 2, FalseNegatives: 6}
	if c.Precision() != 0.75 || c.Recall() != 0.5 || c.F1() != 0.6 {
		t.Errorf("%v %v %v", c.Precision(), c.Recall(), c.F1())
	}
	if c = (score.Counts{}); c.Precision() != 0 || c.Recall() != 0 || c.F1() != 0 {
		t.Errorf("of nothing: %v %v %v", c.Precision(), c.Recall(), c.F1())
	}
}

// fixture are the pictures of testdata/pycocotools.
func fixture(t testing.TB) []frame {
	t.Helper()
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join("testdata", "pycocotools", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	truth, err := dataset.DecodeCOCO("truth.json", read("truth.json"))
	if err != nil {
		t.Fatal(err)
	}
	var found []struct {
		Image    int64      `json:"image_id"`
		Category int64      `json:"category_id"`
		Box      [4]float64 `json:"bbox"`
		Score    float64    `json:"score"`
	}
	if err := json.Unmarshal(read("found.json"), &found); err != nil {
		t.Fatal(err)
	}
	names := map[int64]string{}
	var categories struct {
		Categories []struct {
			ID   int64  `json:"id"`
			Name string `json:"name"`
		} `json:"categories"`
	}
	if err := json.Unmarshal(read("truth.json"), &categories); err != nil {
		t.Fatal(err)
	}
	for _, c := range categories.Categories {
		names[c.ID] = c.Name
	}
	var out []frame
	for _, p := range truth.Pictures {
		f := frame{truth: p.Truth}
		for _, d := range found {
			if d.Image == p.ID {
				f.found = append(f.found, det(names[d.Category], d.Score, box(d.Box[0]/512, d.Box[1]/256, d.Box[2]/512, d.Box[3]/256)))
			}
		}
		out = append(out, f)
	}
	if len(out) != 40 {
		t.Fatalf("%d pictures", len(out))
	}
	return out
}

// The figures were computed by pycocotools from the same two files; see
// testdata/pycocotools/make.py.
func TestAveragePrecisionIsThatOfPycocotools(t *testing.T) {
	type figure struct {
		AP   float64 `json:"ap"`
		AP50 float64 `json:"ap50"`
	}
	var want struct {
		MAP     float64           `json:"map"`
		AP50    float64           `json:"ap50"`
		Classes map[string]figure `json:"classes"`
	}
	b, err := os.ReadFile(filepath.Join("testdata", "pycocotools", "figures.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	var c score.Curves
	for _, f := range fixture(t) {
		c.Add(f.found, f.truth)
	}
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-12 }
	mean, classes := c.Result()
	if !near(mean.AP, want.MAP) || !near(mean.AP50, want.AP50) {
		t.Errorf("mAP %v, AP50 %v; want %v, %v", mean.AP, mean.AP50, want.MAP, want.AP50)
	}
	if len(classes) != len(want.Classes) || len(classes) != 5 {
		t.Errorf("classes %v, want %v", classes, want.Classes)
	}
	for name, w := range want.Classes {
		if got := classes[name]; !near(got.AP, w.AP) || !near(got.AP50, w.AP50) {
			t.Errorf("%s: %+v, want %+v", name, got, w)
		}
	}
}

// frames draws a few pictures with boxes that often overlap by half or more.
var frames = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) frame {
	label := rapid.SampledFrom([]string{"a", "a", "b"})
	boxes := rapid.Custom(func(t *rapid.T) pipeline.Box {
		side := rapid.IntRange(1, 8)
		return box(float64(side.Draw(t, "x")), float64(side.Draw(t, "y")), float64(side.Draw(t, "w")), float64(side.Draw(t, "h")))
	})
	return frame{
		rapid.SliceOfN(rapid.Custom(func(t *rapid.T) pipeline.Detection {
			return det(label.Draw(t, "label"), float64(rapid.IntRange(1, 9).Draw(t, "score"))/10, boxes.Draw(t, "box"))
		}), 0, 7).Draw(t, "found"),
		rapid.SliceOfN(rapid.Custom(func(t *rapid.T) pipeline.Truth {
			return pipeline.Truth{Label: label.Draw(t, "label"), Box: boxes.Draw(t, "box"), Ignore: rapid.IntRange(0, 4).Draw(t, "ignore") == 0}
		}), 0, 5).Draw(t, "truth"),
	}
}), 1, 6)

// verdict is what the oracle has of one detection: nil is neither.
type verdict struct {
	score float64
	right *bool
}

// oracle judges the detections of a class by the definition, one at a time
// over lists that shrink.
func oracle(f frame, label string, least float64) (out []verdict, objects int) {
	var left, ignored []pipeline.Box
	for _, o := range f.truth {
		switch {
		case o.Label != label:
		case o.Ignore:
			ignored = append(ignored, o.Box)
		default:
			left = append(left, o.Box)
			objects++
		}
	}
	for tenths := 9; tenths > 0; tenths-- { // the surest first
		for _, d := range f.found {
			if d.Label != label || d.Score != float64(tenths)/10 {
				continue
			}
			best := -1
			for i, b := range left {
				if iou(d.Box, b) >= least && (best < 0 || iou(d.Box, b) >= iou(d.Box, left[best])) {
					best = i
				}
			}
			right := best >= 0
			switch {
			case right:
				left = slices.Delete(slices.Clone(left), best, best+1)
				out = append(out, verdict{d.Score, &right})
			case slices.ContainsFunc(ignored, func(b pipeline.Box) bool { return inside(d.Box, b) >= least }):
				out = append(out, verdict{d.Score, nil})
			default:
				out = append(out, verdict{d.Score, &right})
			}
		}
	}
	return out, objects
}

func intersection(a, b pipeline.Box) float64 {
	return max(0, min(a.X+a.W, b.X+b.W)-max(a.X, b.X)) * max(0, min(a.Y+a.H, b.Y+b.H)-max(a.Y, b.Y))
}

func iou(a, b pipeline.Box) float64 {
	return intersection(a, b) / (a.W*a.H + b.W*b.H - intersection(a, b))
}

func inside(a, b pipeline.Box) float64 { return intersection(a, b) / (a.W * a.H) }

// oracleAP is the mean over 101 recalls of the best precision at that recall
// or a higher one.
func oracleAP(all []frame, label string, least float64) (ap float64, objects int) {
	var found []verdict
	for _, f := range all {
		v, n := oracle(f, label, least)
		found, objects = append(found, v...), objects+n
	}
	slices.SortStableFunc(found, func(a, b verdict) int { return int(math.Round(10 * (b.score - a.score))) })
	found = slices.DeleteFunc(found, func(v verdict) bool { return v.right == nil })
	for r := range 101 {
		best := 0.0
		for n := 1; n <= len(found); n++ {
			right := 0
			for _, v := range found[:n] {
				if *v.right {
					right++
				}
			}
			if 100*right >= r*objects {
				best = max(best, float64(right)/float64(n))
			}
		}
		ap += best / 101
	}
	return ap, objects
}

func TestAgainstAnOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := frames.Draw(t, "frames")
		var (
			tally  score.Tally
			curves score.Curves
		)
		for _, f := range all {
			before := slices.Clone(f.found)
			tally.Add(f.found, f.truth)
			curves.Add(f.found, f.truth)
			if !slices.Equal(before, f.found) {
				t.Fatal("the caller's detections were reordered")
			}
		}
		total, classes := tally.Result()
		mean, aps := curves.Result()
		var sum score.Counts
		var want score.Average
		with := 0
		for _, label := range []string{"a", "b"} {
			var c score.Counts
			objects := 0
			for _, f := range all {
				v, n := oracle(f, label, score.Overlap)
				objects += n
				for _, x := range v {
					switch {
					case x.right == nil:
					case *x.right:
						c.TruePositives++
					default:
						c.FalsePositives++
					}
				}
			}
			c.FalseNegatives = objects - c.TruePositives
			sum = sum.Plus(c)
			i := slices.IndexFunc(classes, func(x score.ClassCounts) bool { return x.Label == label })
			if i < 0 && c != (score.Counts{}) || i >= 0 && classes[i].Counts != c {
				t.Fatalf("%s: %+v, want %+v", label, classes, c)
			}
			if objects == 0 {
				if _, ok := aps[label]; ok {
					t.Fatalf("%s has average precision without objects", label)
				}
				continue
			}
			with++
			ap50, _ := oracleAP(all, label, 0.5)
			ap := 0.0
			for i := range 10 {
				// No ratio of small boxes lies between these and the exact ones.
				at, _ := oracleAP(all, label, 0.5+0.05*float64(i)-1e-9)
				ap += at / 10
			}
			if got := aps[label]; math.Abs(got.AP50-ap50) > 1e-9 || math.Abs(got.AP-ap) > 1e-9 {
				t.Fatalf("%s: %+v, want AP50 %v, AP %v", label, got, ap50, ap)
			}
			want.AP50 += ap50
			want.AP += ap
		}
		if total != sum {
			t.Fatalf("total %+v, want %+v", total, sum)
		}
		if with > 0 && (math.Abs(mean.AP50-want.AP50/float64(with)) > 1e-9 || math.Abs(mean.AP-want.AP/float64(with)) > 1e-9) {
			t.Fatalf("mean %+v, want %+v / %d", mean, want, with)
		}
	})
}

// A point of the pooled curve is what a Tally counts at that confidence.
func TestPointsAreThoseOfTallies(t *testing.T) {
	all := fixture(t)
	// The cut at 100 detections is the curves' only; see TestOnlyTheSurestCount.
	all = slices.DeleteFunc(all, func(f frame) bool { return len(f.found) > 100 })
	var c score.Curves
	for _, f := range all {
		c.Add(f.found, f.truth)
	}
	for _, label := range []string{"", "car", "person", "bus"} {
		points := c.Points(label)
		if len(points) < 20 {
			t.Fatalf("%q: %d points", label, len(points))
		}
		for i, p := range points {
			var tally score.Tally
			for _, f := range all {
				truth, found := f.truth, score.Above(f.found, p.Score-1e-9)
				if label != "" {
					found = score.Of(found, map[string]bool{label: true})
					truth = slices.DeleteFunc(slices.Clone(truth), func(o pipeline.Truth) bool { return o.Label != label })
				}
				tally.Add(found, truth)
			}
			n, _ := tally.Result()
			if n.Precision() != p.Precision || n.Recall() != p.Recall {
				t.Errorf("%q: point %+v, a tally has %v, %v", label, p, n.Recall(), n.Precision())
			}
			if i > 0 && p.Score >= points[i-1].Score {
				t.Errorf("%q: score %v after %v", label, p.Score, points[i-1].Score)
			}
		}
	}
	if p := c.Points("unseen"); p != nil {
		t.Errorf("a curve without objects: %v", p)
	}
}

// pycocotools' largest maxDets is 100; its fixture does not tell that from 99 and
// 101.
func TestOnlyTheSurestCount(t *testing.T) {
	f := frame{truth: []pipeline.Truth{{Label: "car", Box: box(0, 0, 1, 1)}}}
	for i := range 100 {
		f.found = append(f.found, det("car", 0.5, box(2+float64(i), 0, 1, 1)), det("bus", 0.9, box(0, 0, 1, 1)))
	}
	last := det("car", 0.4, box(0, 0, 1, 1))
	for _, tt := range []struct {
		found []pipeline.Detection
		right bool
	}{{append(slices.Clone(f.found[2:]), last), true}, {append(slices.Clone(f.found), last), false}} {
		var c score.Curves
		c.Add(tt.found, f.truth)
		if mean, _ := c.Result(); mean.AP50 > 0 != tt.right {
			t.Errorf("%d detections: AP50 %v", len(tt.found), mean.AP50)
		}
		var tally score.Tally
		tally.Add(tt.found, f.truth)
		if n, _ := tally.Result(); n.TruePositives != 1 {
			t.Errorf("a tally has %+v: it takes all", n)
		}
	}
}

func TestNothing(t *testing.T) {
	var c score.Curves
	if mean, classes := c.Result(); mean != (score.Average{}) || len(classes) != 0 || c.Points("") != nil {
		t.Errorf("%v %v", mean, classes)
	}
	c.Add([]pipeline.Detection{det("car", 1, box(0, 0, 1, 1))}, nil)
	if mean, classes := c.Result(); mean != (score.Average{}) || len(classes) != 0 || c.Points("") != nil {
		t.Errorf("without objects: %v %v", mean, classes)
	}
	var tally score.Tally
	if all, classes := tally.Result(); all != (score.Counts{}) || classes != nil {
		t.Errorf("%v %v", all, classes)
	}
}

func BenchmarkTally(b *testing.B) {
	all := fixture(b)
	var tally score.Tally
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		f := all[i%(len(all)-1)] // the last has over a hundred detections
		tally.Add(f.found, f.truth)
	}
}

func BenchmarkCurves(b *testing.B) {
	all := fixture(b)
	b.ReportAllocs()
	var c score.Curves
	for i := 0; b.Loop(); i++ {
		if i%10000 == 0 {
			c = score.Curves{}
		}
		f := all[i%(len(all)-1)]
		c.Add(f.found, f.truth)
	}
}
