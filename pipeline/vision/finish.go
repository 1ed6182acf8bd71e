package vision

import (
	"cmp"
	"slices"

	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/pipeline"
)

// finish makes detections of what an engine found on a picture of w × h
// pixels: the sure ones, one box an object, in fractions of the picture and
// within it, with labels; the surest first.
func finish(found []pipeline.Detection, w, h int, m catalog.Model) []pipeline.Detection {
	found = slices.DeleteFunc(found, func(d pipeline.Detection) bool { return d.Score <= m.Confidence })
	found = suppress(found, m.NMS)
	out := found[:0]
	for _, d := range found {
		b := d.Box
		left, right := clamp(b.X/float64(w)), clamp((b.X+b.W)/float64(w))
		top, bottom := clamp(b.Y/float64(h)), clamp((b.Y+b.H)/float64(h))
		if right <= left || bottom <= top {
			continue
		}
		d.Box = pipeline.Box{X: left, Y: top, W: right - left, H: bottom - top}
		d.Label = m.Classes[d.Class]
		out = append(out, d)
	}
	return out
}

func clamp(v float64) float64 { return min(max(v, 0), 1) }

// suppress is greedy non-maximum suppression within each class: of boxes that
// overlap by more than iou only the surest stays. It sorts by score, reusing
// the slice.
func suppress(found []pipeline.Detection, iou float64) []pipeline.Detection {
	slices.SortStableFunc(found, func(a, b pipeline.Detection) int { return cmp.Compare(b.Score, a.Score) })
	kept := found[:0]
	for _, d := range found {
		if !slices.ContainsFunc(kept, func(k pipeline.Detection) bool {
			return k.Class == d.Class && k.Box.IoU(d.Box) > iou
		}) {
			kept = append(kept, d)
		}
	}
	return kept
}
