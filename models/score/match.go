package score

import (
	"slices"

	"github.com/weft-mesh/weft/pipeline"
)

// outcome is what a detection turned out to be.
type outcome uint8

const (
	miss    outcome = iota // nothing there
	hit                    // an object
	neither                // an ignored object
)

// frame is a picture's detections and objects by class. It is used again for
// picture after picture.
type frame struct{ classes map[string]*class }

// class is what a picture has of one class: detections, the surest first, and
// objects, the ignored ones last.
type class struct {
	found    []pipeline.Detection
	truth    []pipeline.Truth
	overlaps []float64 // found × truth
	taken    []bool
	outcomes []outcome
}

// split returns what the picture has of each class. The result is good until
// the next call.
func (f *frame) split(found []pipeline.Detection, truth []pipeline.Truth) map[string]*class {
	for label, c := range f.classes {
		if len(c.found) == 0 && len(c.truth) == 0 {
			delete(f.classes, label) // so that few classes take little time
			continue
		}
		c.found, c.truth, c.overlaps = c.found[:0], c.truth[:0], c.overlaps[:0]
	}
	if f.classes == nil {
		f.classes = map[string]*class{}
	}
	of := func(label string) *class {
		c := f.classes[label]
		if c == nil {
			c = &class{}
			f.classes[label] = c
		}
		return c
	}
	for _, d := range found {
		c := of(d.Label)
		c.found = append(c.found, d)
	}
	for _, t := range truth {
		c := of(t.Label)
		c.truth = append(c.truth, t)
	}
	for _, c := range f.classes {
		surest(c.found)
		slices.SortStableFunc(c.truth, func(a, b pipeline.Truth) int { return btoi(a.Ignore) - btoi(b.Ignore) })
	}
	return f.classes
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// objects is how many objects are to be found.
func (c *class) objects() int {
	n := slices.IndexFunc(c.truth, func(t pipeline.Truth) bool { return t.Ignore })
	if n < 0 {
		return len(c.truth)
	}
	return n
}

// match says what each detection is if an overlap of at least t is needed. It
// is evaluateImg of pycocotools. The result is good until the next call.
func (c *class) match(t float64) []outcome {
	if len(c.overlaps) == 0 {
		for _, d := range c.found {
			for _, o := range c.truth {
				c.overlaps = append(c.overlaps, overlap(d.Box, o))
			}
		}
	}
	c.taken, c.outcomes = slices.Grow(c.taken[:0], len(c.truth))[:len(c.truth)], c.outcomes[:0]
	clear(c.taken)
	for i := range c.found {
		best, at := t, -1
		for k, o := range c.truth {
			if c.taken[k] {
				continue
			}
			if at >= 0 && o.Ignore {
				break // an object goes before all ignored ones
			}
			// Of equals the last, as there. NaN is never enough.
			if v := c.overlaps[i*len(c.truth)+k]; v >= best {
				best, at = v, k
			}
		}
		switch {
		case at < 0:
			c.outcomes = append(c.outcomes, miss)
		case c.truth[at].Ignore:
			c.outcomes = append(c.outcomes, neither)
		default:
			c.taken[at] = true
			c.outcomes = append(c.outcomes, hit)
		}
	}
	return c.outcomes
}

// overlap is the IoU, or for an ignored object the share of the box that is
// within it.
func overlap(b pipeline.Box, t pipeline.Truth) float64 {
	if !t.Ignore {
		return b.IoU(t.Box)
	}
	w := min(b.X+b.W, t.Box.X+t.Box.W) - max(b.X, t.Box.X)
	h := min(b.Y+b.H, t.Box.Y+t.Box.H) - max(b.Y, t.Box.Y)
	if w <= 0 || h <= 0 {
		return 0
	}
	return w * h / (b.W * b.H)
}
