package street

import "math"

// ground is a place in the street: along it, to its right, and above the
// ground, in millimetres. The street begins at the camera.
type ground struct{ right, along, up int64 }

// vec is a place as the camera sees it: to the right, up from the ground,
// and forward, in millimetres.
type vec struct{ x, y, z int64 }

// nearest is how close to the camera anything is drawn, in millimetres.
const nearest = 1500

// camera stands above the street and looks along it or across it. Its picture
// is shifted rather than tilted, so that upright lines stay upright.
type camera struct {
	w, h     int64 // pixels
	focal    int64 // 1/sub of a pixel
	centre   int64 // column of the axis, 1/sub of a pixel
	horizon  int64 // row, 1/sub of a pixel
	height   int64
	right    int64 // where it stands across the street
	sin, cos int64 // of the angle from the street's direction
	crest    int64 // how far away the street begins to fall
	fall     int64 // and how: by the square of the distance, over this
}

// level makes camera coordinates of a place as if the street were level.
func (c *camera) level(g ground) vec {
	r := g.right - c.right
	return vec{x: (r*c.cos - g.along*c.sin) / unit, y: g.up, z: (r*c.sin + g.along*c.cos) / unit}
}

// turn makes camera coordinates of a place.
func (c *camera) turn(g ground) vec {
	v := c.level(g)
	if d := v.z - c.crest; d > 0 {
		v.y -= d * d / c.fall
	}
	return v
}

// project returns where a place is in the picture; its z is at least nearest.
func (c *camera) project(v vec) point {
	return point{x: c.centre + c.focal*v.x/v.z, y: c.horizon + c.focal*(c.height-v.y)/v.z}
}

// size is that of a length at a distance, in 1/sub of a pixel.
func (c *camera) size(mm, z int64) int64 { return c.focal * mm / max(z, nearest) }

// row is where the ground at this distance is, in 1/sub of a pixel.
func (c *camera) row(z int64) int64 { return c.horizon + c.focal*c.height/z }

// depthOf makes the canvas's unit of a distance.
func depthOf(z int64) uint16 { return uint16(min(max(z, 0)/100, far-1)) }

// shape projects a polygon, cut off at the least distance, and appends it to
// out. There may be nothing left.
func (c *camera) shape(out []point, places []ground) []point {
	var buf, cut [24]vec
	vs := buf[:0]
	for _, g := range places {
		vs = append(vs, c.turn(g))
	}
	for _, v := range clip(cut[:0], vs, nearest, 1) {
		out = append(out, c.project(v))
	}
	return out
}

// floor is shape for what lies on the ground, which is seen up to the crest.
func (c *camera) floor(out []point, places []ground) []point {
	var buf, cut [24]vec
	vs := buf[:0]
	for _, g := range places {
		vs = append(vs, c.level(g))
	}
	for _, v := range clip(buf[:0], clip(cut[:0], vs, nearest, 1), c.crest, -1) {
		out = append(out, c.project(v))
	}
	return out
}

// clip keeps what is beyond z (side 1) or before it (side -1), by Sutherland
// and Hodgman's algorithm.
func clip(out, in []vec, z, side int64) []vec {
	if len(in) == 0 {
		return out
	}
	last := in[len(in)-1]
	for _, v := range in {
		if (v.z-z)*side >= 0 != ((last.z-z)*side >= 0) {
			out = append(out, vec{
				x: last.x + (v.x-last.x)*(z-last.z)/(v.z-last.z),
				y: last.y + (v.y-last.y)*(z-last.z)/(v.z-last.z),
				z: z,
			})
		}
		if (v.z-z)*side >= 0 {
			out = append(out, v)
		}
		last = v
	}
	return out
}

// area is twice the polygon's, above zero where its points go clockwise as
// one sees them.
func area(poly []point) int64 {
	var sum int64
	last := poly[len(poly)-1]
	for _, p := range poly {
		sum += last.x*p.y - p.x*last.y
		last = p
	}
	return sum
}

// root is the square root. IEEE's is the same everywhere.
func root(x int64) int64 { return int64(math.Sqrt(float64(x))) }

// capsule is the outline of a rod with round ends.
func capsule(out []point, a, b point, ra, rb int64) []point {
	dx, dy := b.x-a.x, b.y-a.y
	n := root(dx*dx + dy*dy)
	if n == 0 {
		dx, dy, n = 0, 1, 1
	}
	const diagonal = 181 // of 256: half the root of two
	at := func(p point, r, along, across int64) point {
		return point{p.x + r*(dx*along-dy*across)/(256*n), p.y + r*(dy*along+dx*across)/(256*n)}
	}
	return append(out,
		at(a, ra, 0, 256), at(a, ra, -diagonal, diagonal), at(a, ra, -256, 0), at(a, ra, -diagonal, -diagonal), at(a, ra, 0, -256),
		at(b, rb, 0, -256), at(b, rb, diagonal, -diagonal), at(b, rb, 256, 0), at(b, rb, diagonal, diagonal), at(b, rb, 0, 256))
}

// disc is the outline of a circle, in more points the larger it is.
func disc(out []point, at point, r int64) []point {
	n := min(max(r/(2*sub), 8), 32)
	for i := range n {
		out = append(out, point{at.x + r*cosine(i*circle/n)/unit, at.y + r*sine(i*circle/n)/unit})
	}
	return out
}
