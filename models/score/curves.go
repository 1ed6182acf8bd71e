package score

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/weft-mesh/weft/pipeline"
)

const (
	// MaxDetections is how many detections of a class in a picture count for
	// average precision: the surest.
	MaxDetections = 100

	recalls  = 101 // at which precision is interpolated
	overlaps = 10  // 0.50, 0.55, … 0.95
)

// Curves keeps detections for average precision. The zero Curves is ready for
// use, by one goroutine at a time.
type Curves struct {
	classes map[string]*curve
	frame   frame
}

// curve is what is kept of a class: its detections in the order of the
// pictures and, within one, of their scores.
type curve struct {
	objects int
	found   []judged
}

// judged is a detection and what it is at each overlap, a bit each.
type judged struct {
	score         float64
	hits, neither uint16
}

// Add keeps what was found in a picture, in any order, against what is in it.
func (c *Curves) Add(found []pipeline.Detection, truth []pipeline.Truth) {
	if c.classes == nil {
		c.classes = map[string]*curve{}
	}
	for label, of := range c.frame.split(found, truth) {
		k := c.classes[label]
		if k == nil {
			k = &curve{}
			c.classes[label] = k
		}
		k.objects += of.objects()
		of.found = of.found[:min(len(of.found), MaxDetections)]
		first := len(k.found)
		for _, d := range of.found {
			k.found = append(k.found, judged{score: d.Score})
		}
		for t := range overlaps {
			for i, o := range of.match(threshold(t)) {
				switch o {
				case hit:
					k.found[first+i].hits |= 1 << t
				case neither:
					k.found[first+i].neither |= 1 << t
				}
			}
		}
	}
}

// threshold is the i-th overlap, to the last bit as numpy.linspace has it.
func threshold(i int) float64 {
	if i == overlaps-1 {
		return 0.95
	}
	first, last := 0.5, 0.95
	return first + float64(float64(i)*((last-first)/(overlaps-1)))
}

// Average is the average precision of a class, or the mean over classes.
type Average struct {
	AP50 float64 // at an IoU of 0.5
	AP   float64 // mean over IoU 0.50, 0.55, … 0.95
}

// Result returns COCO's mean average precision (mAP is its AP) and the average
// precision of each class that has objects. Without any, all are 0.
func (c *Curves) Result() (mean Average, classes map[string]Average) {
	classes = map[string]Average{}
	for _, label := range slices.Sorted(maps.Keys(c.classes)) { // sums depend on the order
		k := c.classes[label]
		if k.objects == 0 {
			continue
		}
		found := k.sorted()
		a := Average{AP50: averagePrecision(found, 0, k.objects)}
		for t := range overlaps {
			a.AP += averagePrecision(found, t, k.objects)
		}
		a.AP /= overlaps
		classes[label] = a
		mean.AP50 += a.AP50
		mean.AP += a.AP
	}
	if n := float64(len(classes)); n > 0 {
		mean.AP50 /= n
		mean.AP /= n
	}
	return mean, classes
}

func (k *curve) sorted() []judged {
	out := slices.Clone(k.found)
	slices.SortStableFunc(out, func(a, b judged) int { return cmp.Compare(b.score, a.score) })
	return out
}

// averagePrecision is accumulate of pycocotools, of detections that are sorted
// by score, at the t-th overlap.
func averagePrecision(found []judged, t, objects int) float64 {
	var precision, recall []float64
	right, wrong := 0, 0
	for _, d := range found {
		switch {
		case d.neither>>t&1 == 1:
			continue // neither moves the curve
		case d.hits>>t&1 == 1:
			right++
		default:
			wrong++
		}
		precision = append(precision, float64(right)/float64(right+wrong))
		recall = append(recall, float64(right)/float64(objects))
	}
	for i := len(precision) - 1; i > 0; i-- {
		precision[i-1] = max(precision[i-1], precision[i])
	}
	sum, at := 0.0, 0
	for i := range recalls {
		for at < len(recall) && recall[at] < float64(i)*0.01 {
			at++
		}
		if at == len(recall) {
			break
		}
		sum += precision[at]
	}
	return sum / recalls
}

// Point is a place on a precision–recall curve: what a confidence just below
// the score gives.
type Point struct{ Score, Recall, Precision float64 }

// Points returns the curve of a class at an IoU of 0.5, from the surest
// detection down; with an empty label, that of all classes pooled. There is
// none without objects.
func (c *Curves) Points(label string) []Point {
	k := &curve{}
	for _, name := range slices.Sorted(maps.Keys(c.classes)) {
		if label == "" || label == name {
			k.objects += c.classes[name].objects
			k.found = append(k.found, c.classes[name].found...)
		}
	}
	if k.objects == 0 {
		return nil
	}
	var out []Point
	right, wrong, last := 0, 0, math.Inf(1)
	for _, d := range k.sorted() {
		switch {
		case d.neither&1 == 1:
			continue
		case d.hits&1 == 1:
			right++
		default:
			wrong++
		}
		p := Point{d.score, float64(right) / float64(k.objects), float64(right) / float64(right+wrong)}
		if d.score == last { // no confidence is between the two
			out[len(out)-1] = p
		} else {
			out = append(out, p)
		}
		last = d.score
	}
	return out
}
