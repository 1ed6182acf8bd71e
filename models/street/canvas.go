package street

// tone is a colour in linear steps, 0 to 255 each; light may carry it beyond.
type tone struct{ r, g, b int64 }

// scale multiplies by k/256.
func (t tone) scale(k int64) tone { return tone{t.r * k >> 8, t.g * k >> 8, t.b * k >> 8} }

// tint multiplies by another colour, of which 256 is one.
func (t tone) tint(u tone) tone { return tone{t.r * u.r >> 8, t.g * u.g >> 8, t.b * u.b >> 8} }

// blend goes k/256 of the way to u.
func (t tone) blend(u tone, k int64) tone {
	return tone{t.r + (u.r-t.r)*k>>8, t.g + (u.g-t.g)*k>>8, t.b + (u.b-t.b)*k>>8}
}

// paint is what a polygon is filled with; alpha is 0 to opaque.
type paint struct {
	b, g, r uint8
	alpha   uint32
}

func (t tone) paint(alpha int64) paint {
	clamp := func(v int64) uint8 { return uint8(min(max(v, 0), 255)) }
	return paint{b: clamp(t.b), g: clamp(t.g), r: clamp(t.r), alpha: uint32(alpha)}
}

// far is the depth of what nothing is behind.
const far = 1<<16 - 1

// canvas is what is drawn on. Depths are in decimetres from the camera.
type canvas struct {
	w, h   int
	raster raster
	pix    []byte   // BGR; nil where only the outlines matter
	depth  []uint16 // of what stands still

	// Of what moves, while objects are drawn.
	owner  []uint16 // the object seen at a pixel, from 1
	behind []uint16 // the last object that something still hides there
	count  []tally  // by object; the first is nobody
}

// tally is what is known of an object in the picture.
type tally struct {
	seen   int   // pixels at which it is seen
	drawn  int   // pixels that it would have if nothing were before it
	lo, hi point // all of it, outside the picture too
}

// marks is the coverage from which on a pixel belongs to an object.
const marks = opaque / 4

// still fills a polygon of the background. With depth below far it hides what
// is farther away.
func (c *canvas) still(poly []point, p paint, depth uint16) {
	if len(poly) < 3 || !c.raster.begin(poly, c.w, c.h) {
		return
	}
	for y := range c.raster.height {
		skip, cover := c.raster.row(y)
		at := (c.raster.top+y)*c.w + c.raster.left + skip
		if p.alpha > 0 {
			blendRow(c.pix[3*at:], cover, p)
		}
		if depth == far {
			continue
		}
		for i, a := range cover {
			if a >= opaque/2 {
				c.depth[at+i] = depth
			}
		}
	}
}

func blendRow(pix []byte, cover []uint16, p paint) {
	pix = pix[:3*len(cover)]
	for i, a := range cover {
		k := uint32(a) * p.alpha >> 8
		px := pix[3*i : 3*i+3]
		if k == opaque {
			px[0], px[1], px[2] = p.b, p.g, p.r
			continue
		}
		mixInto(px, p, k)
	}
}

func mixInto(px []byte, p paint, k uint32) {
	n := opaque - k
	px[0] = uint8((uint32(px[0])*n + uint32(p.b)*k + opaque/2) >> 8)
	px[1] = uint8((uint32(px[1])*n + uint32(p.g)*k + opaque/2) >> 8)
	px[2] = uint8((uint32(px[2])*n + uint32(p.r)*k + opaque/2) >> 8)
}

// moving fills a polygon of what moves at this depth, behind what stands still
// before it. It is a part of the object, or of none (0): a shadow, a glow.
func (c *canvas) moving(poly []point, p paint, depth uint16, object uint16) {
	if len(poly) < 3 {
		return
	}
	if object > 0 {
		c.count[object].extend(poly)
	} else if c.pix == nil {
		return
	}
	if !c.raster.begin(poly, c.w, c.h) {
		return
	}
	for y := range c.raster.height {
		skip, cover := c.raster.row(y)
		at := (c.raster.top+y)*c.w + c.raster.left + skip
		c.movingRow(at, cover, p, depth, object)
	}
}

func (c *canvas) movingRow(at int, cover []uint16, p paint, depth, object uint16) {
	still, owner := c.depth[at:at+len(cover)], c.owner[at:at+len(cover)]
	for i, a := range cover {
		hidden := still[i] < depth
		if object > 0 && a >= marks {
			switch {
			case !hidden && owner[i] != object:
				c.count[owner[i]].seen--
				c.count[object].seen++
				c.count[object].drawn++
				owner[i] = object
			case hidden && c.behind[at+i] != object:
				c.behind[at+i] = object
				c.count[object].drawn++
			}
		}
		if hidden || c.pix == nil {
			continue
		}
		k := uint32(a) * p.alpha >> 8
		px := c.pix[3*(at+i):][:3]
		if k == opaque {
			px[0], px[1], px[2] = p.b, p.g, p.r
			continue
		}
		mixInto(px, p, k)
	}
}

func (t *tally) extend(poly []point) {
	lo, hi := bounds(poly)
	if t.lo == t.hi {
		t.lo, t.hi = lo, hi
		return
	}
	t.lo = point{min(t.lo.x, lo.x), min(t.lo.y, lo.y)}
	t.hi = point{max(t.hi.x, hi.x), max(t.hi.y, hi.y)}
}

// clearObjects makes room for n objects.
func (c *canvas) clearObjects(n int) {
	clear(c.owner)
	clear(c.behind)
	c.count = append(c.count[:0], make([]tally, n+1)...)
}
