package filter

import (
	"errors"
	"fmt"
	"slices"
)

// The size of a View. A cell of a picture of 960 × 720 is 6 pixels wide: small
// enough that the smallest thing worth finding changes one, large enough that
// the mean of its pixels has a sixth of their noise.
const (
	viewWidth  = 160
	viewHeight = 120
	viewCells  = viewWidth * viewHeight
)

// View is a small grey copy of a picture: what differences are told by.
type View struct{ cells [viewCells]uint8 }

// ErrPicture reports what is no picture, or one that is too small to look at.
var ErrPicture = errors.New("no picture to compare")

// NewView looks at a picture: blue, green and red bytes, rows top down.
func NewView(width, height int, bgr []byte) (*View, error) {
	if width < 1 || height < 1 || len(bgr) != 3*width*height {
		return nil, fmt.Errorf("%w: %d bytes for %d×%d pixels", ErrPicture, len(bgr), width, height)
	}
	v := &View{}
	for cy := range viewHeight {
		top, bottom := span(cy, viewHeight, height)
		for cx := range viewWidth {
			left, right := span(cx, viewWidth, width)
			sum := 0
			for y := top; y < bottom; y++ {
				row := bgr[3*(y*width+left) : 3*(y*width+right)]
				for i := 0; i < len(row); i += 3 {
					sum += int(row[i]) + 2*int(row[i+1]) + int(row[i+2])
				}
			}
			v.cells[cy*viewWidth+cx] = uint8(sum / (4 * (bottom - top) * (right - left)))
		}
	}
	return v, nil
}

// span is which of n pixels a cell of so many covers: one at least.
func span(cell, cells, n int) (from, to int) {
	from, to = cell*n/cells, (cell+1)*n/cells
	if to <= from {
		to = from + 1
	}
	return from, to
}

// What counts as a change of a cell, in grey levels.
const (
	leastChange = 6
	// noisy is how many times the median change a change must be: noise and rain
	// change all cells, what moves changes few.
	noisy = 6
)

// Difference is the share of cells, 0 to 1, that changed by more than noise
// does. It is symmetric. A change of the light that is the same everywhere is
// none.
func (v *View) Difference(o *View) float64 {
	if v.cells == o.cells { // a picture that is stuck
		return 0
	}
	var counts [511]int
	for i := range v.cells {
		counts[255+int(v.cells[i])-int(o.cells[i])]++
	}
	// Between the two in the middle, towards none: it is the same seen from the other
	// picture.
	reversed := counts
	slices.Reverse(reversed[:])
	shift := (median(counts[:]) - median(reversed[:])) / 2
	var changes [511]int
	for i, n := range counts {
		d := i - 255 - shift
		changes[min(max(d, -d), 510)] += n
	}
	floor := max(leastChange, noisy*median(changes[:]))
	changed := 0
	for d := floor + 1; d < len(changes); d++ {
		changed += changes[d]
	}
	return float64(changed) / viewCells
}

// median is the value that half of the cells reach, of how many have each.
func median(counts []int) int {
	n := 0
	return slices.IndexFunc(counts, func(c int) bool { n += c; return 2*n >= viewCells })
}
