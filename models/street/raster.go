package street

import "slices"

// point is a place in the picture, in 1/sub of a pixel, rows top down.
type point struct{ x, y int64 }

// raster turns polygons into coverage, row by row, by exact signed areas as
// FreeType and font-rs do, in integers. Contours that run the other way make
// holes.
type raster struct {
	left, top, width, height int     // of the part of the picture it works on, in pixels
	acc                      []int32 // change of coverage from one pixel to the next, 1/full
	cover                    []uint16
}

// full is the coverage of a whole pixel in acc, opaque that in a row.
const (
	full   = 2 * sub * sub
	opaque = 256
)

// begin takes a polygon; false if it is outside a picture of w×h pixels.
func (r *raster) begin(poly []point, w, h int) bool {
	lo, hi := bounds(poly)
	x0, y0 := max(lo.x, 0)/sub, max(lo.y, 0)/sub
	x1, y1 := min((hi.x+sub-1)/sub, int64(w)), min((hi.y+sub-1)/sub, int64(h))
	if hi.x <= 0 || hi.y <= 0 || x0 >= x1 || y0 >= y1 {
		return false
	}
	r.left, r.top, r.width, r.height = int(x0), int(y0), int(x1-x0), int(y1-y0)
	if n := (r.width + 2) * r.height; n > len(r.acc) {
		r.acc = make([]int32, n)
	}
	r.cover = slices.Grow(r.cover[:0], r.width)[:r.width]
	last := poly[len(poly)-1]
	for _, p := range poly {
		r.edge(last, p)
		last = p
	}
	return true
}

func bounds(poly []point) (lo, hi point) {
	lo, hi = poly[0], poly[0]
	for _, p := range poly[1:] {
		lo.x, lo.y = min(lo.x, p.x), min(lo.y, p.y)
		hi.x, hi.y = max(hi.x, p.x), max(hi.y, p.y)
	}
	return lo, hi
}

// edge adds a side of the polygon.
func (r *raster) edge(a, b point) {
	if a.y == b.y {
		return
	}
	dir := int64(1)
	if a.y > b.y {
		a, b, dir = b, a, -1
	}
	ox, oy := int64(r.left)*sub, int64(r.top)*sub
	from, to := max(a.y, oy), min(b.y, oy+int64(r.height)*sub)
	at := func(y int64) int64 { return a.x + (b.x-a.x)*(y-a.y)/(b.y-a.y) - ox }
	x := at(from)
	for y := from; y < to; {
		next := min((y/sub+1)*sub, to)
		end := at(next)
		r.piece(int((y-oy)/sub), x, end, (next-y)*dir)
		x, y = end, next
	}
}

// piece adds the part of a side that lies in one row. What is left of the
// raster covers all of the row, what is right of it nothing.
func (r *raster) piece(row int, xa, xb, dy int64) {
	most := int64(r.width) * sub
	xa, xb = min(max(xa, 0), most), min(max(xb, 0), most)
	if xa > xb {
		xa, xb = xb, xa
	}
	acc := r.acc[row*(r.width+2):][:r.width+2]
	cell := xa / sub
	if xb <= (cell+1)*sub {
		f := xa + xb - 2*cell*sub
		acc[cell] += int32(dy * (2*sub - f))
		acc[cell+1] += int32(dy * f)
		return
	}
	done := int64(0)
	for x := xa; x < xb; cell++ {
		next := min((cell+1)*sub, xb)
		d := dy*(next-xa)/(xb-xa) - done
		f := x + next - 2*cell*sub
		acc[cell] += int32(d * (2*sub - f))
		acc[cell+1] += int32(d * f)
		done += d
		x = next
	}
}

// row returns the coverage of the row, 0 to opaque a pixel, from column
// r.left+skip on. It is good until the next call.
func (r *raster) row(row int) (skip int, cover []uint16) {
	acc := r.acc[row*(r.width+2):][:r.width+2]
	lo, hi := r.width, 0
	sum := int32(0)
	for i := range r.width {
		sum += acc[i]
		acc[i] = 0
		c := sum
		if c < 0 {
			c = -c
		}
		c = min((c+full/opaque/2)/(full/opaque), opaque)
		r.cover[i] = uint16(c)
		if c > 0 {
			lo, hi = min(lo, i), i+1
		}
	}
	acc[r.width], acc[r.width+1] = 0, 0
	if lo >= hi {
		return 0, nil
	}
	return lo, r.cover[lo:hi]
}
