package street

// artist draws one thing, polygon by polygon.
type artist struct {
	s      *scene
	c      *canvas
	t      *thing
	d      dice // what decides the looks
	depth  uint16
	object uint16
	tall   int64 // about how high it is in the picture, in pixels
	buf    [64]point
	places [24]ground
}

func (s *scene) artist(c *canvas, t *thing, object int) *artist {
	a := &artist{s: s, c: c, t: t, d: t.look, depth: depthOf(t.near), object: uint16(object)}
	// What stands still at about the same distance is behind it: the ground
	// under it, the wall that it passes.
	a.depth -= min(a.depth, 3+a.depth/64)
	a.tall = s.cam.size(t.size.h, t.near) / sub
	return a
}

// lwh is a point of a thing: to its front, to its right, up.
type lwh [3]int64

// face fills a flat part of the thing's outside, if it is seen from there: its
// points then go clockwise. k of 256 is how bright it is.
func (a *artist) face(col tone, k int64, points ...lwh) { a.plane(col, k, opaque, points) }

func (a *artist) plane(col tone, k, alpha int64, points []lwh) {
	places := a.places[:0]
	for _, p := range points {
		places = append(places, a.t.place(p[0], p[1], p[2]))
	}
	poly := a.s.cam.shape(a.buf[:0], places)
	if len(poly) < 3 || area(poly) <= 0 {
		return
	}
	a.c.moving(poly, a.s.light.see(col, k, a.t.near).paint(alpha), a.depth, a.object)
}

// side fills a part of the right side (which = 1) or the left one (-1), at
// this distance from the middle. The points (front, up) go clockwise as one
// sees them on the right side, where the front is on the right.
func (a *artist) side(which, w int64, col tone, k int64, points ...[2]int64) {
	var buf [24]lwh
	out := buf[:0]
	for i := range points {
		p := points[i]
		if which < 0 {
			p = points[len(points)-1-i]
		}
		out = append(out, lwh{p[0], which * w, p[1]})
	}
	a.plane(col, k, opaque, out)
}

// end fills a rectangle of the front (which = 1) or the rear (-1).
func (a *artist) end(which, l, w0, w1, h0, h1 int64, col tone, k int64) {
	if which > 0 {
		a.face(col, k, lwh{l, w1, h0}, lwh{l, w1, h1}, lwh{l, w0, h1}, lwh{l, w0, h0})
		return
	}
	a.face(col, k, lwh{l, w0, h0}, lwh{l, w0, h1}, lwh{l, w1, h1}, lwh{l, w1, h0})
}

// brightness of the sides of a thing, from where the sun is.
func (a *artist) right() int64 { return a.s.light.facing(a.t.fa, -a.t.fr) }
func (a *artist) left() int64  { return a.s.light.facing(-a.t.fa, a.t.fr) }
func (a *artist) front() int64 { return a.s.light.facing(a.t.fr, a.t.fa) }
func (a *artist) rear() int64  { return a.s.light.facing(-a.t.fr, -a.t.fa) }

const above = 262 // brightness of what looks up

// spot projects a point of the thing; false if it is too near.
func (a *artist) spot(p lwh) (point, int64, bool) {
	v := a.s.cam.turn(a.t.place(p[0], p[1], p[2]))
	if v.z < nearest {
		return point{}, 0, false
	}
	return a.s.cam.project(v), v.z, true
}

// limb fills a rod with round ends between two points.
func (a *artist) limb(p, q lwh, rp, rq int64, col tone, k int64) {
	from, zp, ok := a.spot(p)
	to, zq, too := a.spot(q)
	if !ok || !too {
		return
	}
	poly := capsule(a.buf[:0], from, to, a.s.cam.size(rp, zp), a.s.cam.size(rq, zq))
	a.c.moving(poly, a.s.light.see(col, k, a.t.near).paint(opaque), a.depth, a.object)
}

// shine draws a lamp with its glow, a part of no object but for the lamp.
func (a *artist) shine(p lwh, r int64, col tone, halo int64) {
	at, z, ok := a.spot(p)
	if !ok {
		return
	}
	if halo > 0 {
		for i := int64(1); i <= 6; i++ {
			a.c.moving(disc(a.buf[:0], at, a.s.cam.size(r*halo*i/6, z)), a.s.light.glow(col, z).paint(14), a.depth, 0)
		}
	}
	a.c.moving(disc(a.buf[:0], at, a.s.cam.size(r, z)), a.s.light.glow(col, z).paint(opaque), a.depth, a.object)
}

// shadow darkens the ground under a thing and, in the sun, beside it.
func (a *artist) shadow() {
	l, w := a.t.size.l/2, a.t.size.w/2
	soft := int64(96)
	if a.s.light.sunny {
		soft = 70
	}
	if a.t.class == Person || a.t.class == Bicycle {
		w = w * 7 / 10
	}
	for _, grow := range []int64{110, 92} {
		a.flat(soft, lwh{l * grow / 100, w * grow / 100}, lwh{-l * grow / 100, w * grow / 100}, lwh{-l * grow / 100, -w * grow / 100}, lwh{l * grow / 100, -w * grow / 100})
	}
	if !a.s.light.sunny {
		return
	}
	// The shadow of an upright box: two sides of its foot and of its top.
	reach := a.t.size.h * 6 / 10
	sr, sa := -cosine(a.s.light.sun)*reach/unit, -sine(a.s.light.sun)*reach/unit
	dl, dw := (sr*a.t.fr+sa*a.t.fa)/unit, (sr*a.t.fa-sa*a.t.fr)/unit
	sl, sw := int64(1), int64(1)
	if dl < 0 {
		sl = -1
	}
	if dw < 0 {
		sw = -1
	}
	if a.t.class == Person {
		l, w = 160, 160
	}
	a.flat(88,
		lwh{-sl * l, sw * w}, lwh{-sl*l + dl, sw*w + dw}, lwh{sl*l + dl, sw*w + dw},
		lwh{sl*l + dl, -sw*w + dw}, lwh{sl * l, -sw * w}, lwh{-sl * l, -sw * w})
}

// flat darkens a piece of ground.
func (a *artist) flat(alpha int64, points ...lwh) {
	places := a.places[:0]
	for _, p := range points {
		places = append(places, a.t.place(p[0], p[1], 0))
	}
	poly := a.s.cam.shape(a.buf[:0], places)
	if len(poly) < 3 {
		return
	}
	dark := tone{18, 18, 24}.blend(a.s.light.haze, min(a.t.near*256/(a.t.near+a.s.light.clear), 235))
	a.c.moving(poly, dark.paint(alpha), a.depth, 0)
}

// draw draws the thing.
func (a *artist) draw() {
	switch a.t.class {
	case Car:
		a.car()
	case Truck:
		a.truck()
	case Bus:
		a.bus()
	case Person:
		a.person()
	case Bicycle:
		a.bicycle()
	}
}
