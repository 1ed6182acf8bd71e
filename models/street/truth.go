package street

// object says what is seen of an object once all are drawn; false: nothing.
func (c *canvas) object(i int) (Object, bool) {
	t := c.count[i]
	if t.seen <= 0 || t.drawn == 0 {
		return Object{}, false
	}
	w, h := int64(c.w)*sub, int64(c.h)*sub
	lo := point{max(t.lo.x, 0), max(t.lo.y, 0)}
	hi := point{min(t.hi.x, w), min(t.hi.y, h)}
	inside := float64((hi.x-lo.x)*(hi.y-lo.y)) / float64((t.hi.x-t.lo.x)*(t.hi.y-t.lo.y))
	if t.seen < t.drawn {
		lo, hi = c.seen(uint16(i), lo, hi)
	}
	if hi.x <= lo.x || hi.y <= lo.y {
		return Object{}, false
	}
	o := Object{
		Box: Box{
			X: float64(lo.x) / float64(w), Y: float64(lo.y) / float64(h),
			W: float64(hi.x-lo.x) / float64(w), H: float64(hi.y-lo.y) / float64(h),
		},
		Visible: float64(t.seen) / float64(t.drawn) * inside,
	}
	o.Ignore = o.Visible < MinVisible/100. || o.Box.H < MinHeight/512. || o.Box.W < MinWidth/512.
	return o, true
}

// seen narrows a rectangle to the pixels at which the object is seen.
func (c *canvas) seen(object uint16, lo, hi point) (point, point) {
	x0, y0, x1, y1 := int(hi.x/sub), int(hi.y/sub), -1, -1
	right, bottom := min(int((hi.x+sub-1)/sub), c.w), min(int((hi.y+sub-1)/sub), c.h)
	for y := int(lo.y / sub); y < bottom; y++ {
		row := c.owner[y*c.w:][:right]
		for x := int(lo.x / sub); x < right; x++ {
			if row[x] == object {
				x0, x1, y0, y1 = min(x0, x), max(x1, x), min(y0, y), max(y1, y)
			}
		}
	}
	return point{max(lo.x, int64(x0)*sub), max(lo.y, int64(y0)*sub)}, point{min(hi.x, int64(x1+1)*sub), min(hi.y, int64(y1+1)*sub)}
}
