package score

import (
	"cmp"
	"maps"
	"slices"

	"github.com/weft-mesh/weft/pipeline"
)

// Overlap is the least IoU with an object at which a [Tally] has it as found.
const Overlap = 0.5

// Counts are how often a detector was right and wrong. Those of several
// detectors, or of a detector at several times, may be added.
type Counts struct {
	TruePositives  int `json:"tp"` // objects found
	FalsePositives int `json:"fp"` // found, and not there
	FalseNegatives int `json:"fn"` // objects missed
}

// Plus returns the sum.
func (c Counts) Plus(o Counts) Counts {
	return Counts{c.TruePositives + o.TruePositives, c.FalsePositives + o.FalsePositives, c.FalseNegatives + o.FalseNegatives}
}

// Objects is how many objects there were.
func (c Counts) Objects() int { return c.TruePositives + c.FalseNegatives }

// Found is how many detections there were.
func (c Counts) Found() int { return c.TruePositives + c.FalsePositives }

// Precision is the share of the detections that are right; 0 if there is none.
func (c Counts) Precision() float64 { return ratio(c.TruePositives, c.Found()) }

// Recall is the share of the objects that were found; 0 if there is none.
func (c Counts) Recall() float64 { return ratio(c.TruePositives, c.Objects()) }

// F1 is the harmonic mean of precision and recall; 0 if there was nothing to
// find and nothing was found.
func (c Counts) F1() float64 { return ratio(2*c.TruePositives, c.Found()+c.Objects()) }

func ratio(part, all int) float64 {
	if all == 0 {
		return 0
	}
	return float64(part) / float64(all)
}

// Tally counts how right detections are, picture by picture. The zero Tally is
// ready for use, by one goroutine at a time.
type Tally struct {
	classes map[string]*Counts
	frame   frame
}

// Add counts what was found in a picture, in any order, against what is in it.
func (t *Tally) Add(found []pipeline.Detection, truth []pipeline.Truth) {
	if t.classes == nil {
		t.classes = map[string]*Counts{}
	}
	for label, c := range t.frame.split(found, truth) {
		n := t.classes[label]
		if n == nil {
			n = &Counts{}
			t.classes[label] = n
		}
		right, wrong := 0, 0
		for _, o := range c.match(Overlap) {
			switch o {
			case hit:
				right++
			case miss:
				wrong++
			}
		}
		n.TruePositives += right
		n.FalsePositives += wrong
		n.FalseNegatives += c.objects() - right
	}
}

// Judge counts how right the detections in one picture are.
func Judge(found []pipeline.Detection, truth []pipeline.Truth) pipeline.Judged {
	var t Tally
	t.Add(found, truth)
	c, _ := t.Result()
	return pipeline.Judged{
		Frames: 1, Right: uint64(c.TruePositives), Wrong: uint64(c.FalsePositives), Missed: uint64(c.FalseNegatives),
	}
}

// ClassCounts are those of one class.
type ClassCounts struct {
	Label string `json:"label"`
	Counts
}

// Result returns the counts of all classes together, and of each that was
// found or to be found, sorted by label.
func (t *Tally) Result() (all Counts, classes []ClassCounts) {
	for _, label := range slices.Sorted(maps.Keys(t.classes)) {
		c := *t.classes[label]
		all = all.Plus(c)
		if c != (Counts{}) {
			classes = append(classes, ClassCounts{label, c})
		}
	}
	return all, classes
}

// Above returns the detections whose score is above the confidence: those that
// a detector with this confidence gives, of those that it gives with a lower
// one.
func Above(found []pipeline.Detection, confidence float64) []pipeline.Detection {
	var out []pipeline.Detection
	for _, d := range found {
		if d.Score > confidence {
			out = append(out, d)
		}
	}
	return out
}

// Of returns the detections whose label is one of those given.
func Of(found []pipeline.Detection, labels map[string]bool) []pipeline.Detection {
	var out []pipeline.Detection
	for _, d := range found {
		if labels[d.Label] {
			out = append(out, d)
		}
	}
	return out
}

// surest orders detections by score, as given where they are equal.
func surest(found []pipeline.Detection) {
	slices.SortStableFunc(found, func(a, b pipeline.Detection) int { return cmp.Compare(b.Score, a.Score) })
}
