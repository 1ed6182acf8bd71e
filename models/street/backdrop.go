package street

import (
	"cmp"
	"slices"
)

// painter draws what stands still, once for a scene.
type painter struct {
	s      *scene
	c      *canvas
	d      *dice
	buf    [96]point
	things []fixture
}

// fixture is something upright, to be drawn with the others, the farthest
// first.
type fixture struct {
	z    int64
	draw func()
}

func (s *scene) backdrop(c *canvas) {
	p := &painter{s: s, c: c, d: roll(s.seed, 3)}
	for i := range c.depth {
		c.depth[i] = far
	}
	p.sky()
	p.ground()
	p.houses()
	p.furniture()
	slices.SortStableFunc(p.things, func(a, b fixture) int { return cmp.Compare(b.z, a.z) })
	for _, f := range p.things {
		f.draw()
	}
}

// crestRow is where the ground ends, in pixels.
func (s *scene) crestRow() int64 { return s.cam.row(s.cam.crest) / sub }

func (p *painter) add(z int64, draw func()) {
	if z > nearest && z < p.s.cam.crest+20*metre {
		p.things = append(p.things, fixture{z, draw})
	}
}

func (p *painter) fill(poly []point, t tone, alpha int64) { p.c.still(poly, t.paint(alpha), far) }

func (p *painter) rect(x0, y0, x1, y1 int64, t tone, alpha int64) {
	p.fill(append(p.buf[:0], point{x0, y0}, point{x1, y0}, point{x1, y1}, point{x0, y1}), t, alpha)
}

func (p *painter) sky() {
	l, c := &p.s.light, &p.s.cam
	end := p.s.crestRow() + 1
	for y := range end {
		t := l.skyTop.blend(l.skyLow, min(y*256/max(end, 1), 256))
		row := p.c.pix[3*y*c.w:][:3*c.w]
		for i := 0; i < len(row); i += 3 {
			q := t.paint(opaque)
			row[i], row[i+1], row[i+2] = q.b, q.g, q.r
		}
	}
	w, h := c.w*sub, c.h*sub
	for range p.d.below(6) {
		x, y, r := p.d.below(w), p.d.below(max(end*sub, 1)), h*p.d.between(2, 6)/100
		for range 5 {
			dx := p.d.between(-3*r, 3*r)
			p.fill(capsule(p.buf[:0], point{x + dx - r, y}, point{x + dx + r, y}, r/2, r/2), l.skyLow.scale(270), 40)
		}
	}
	// Far roofs and trees stand on the crest.
	base := end * sub
	far := l.haze.blend(tone{70, 76, 84}.tint(l.ambient), 56)
	for x := int64(-20 * sub); x < w; {
		wide := w * p.d.between(3, 9) / 100
		high := h * p.d.between(8, 50) / 1000
		shade := far.scale(p.d.between(226, 262))
		if p.d.percent(40) {
			p.fill(capsule(p.buf[:0], point{x + wide/2, base - high/3}, point{x + wide/2, base}, wide/3, wide/2), shade.tint(tone{236, 262, 228}), opaque)
		} else {
			p.rect(x, base-high, x+wide, base+sub, shade, opaque)
		}
		x += wide * p.d.between(60, 110) / 100
	}
}

// surface fills a polygon on the ground.
func (p *painter) surface(t tone, alpha int64, places ...ground) {
	c := &p.s.cam
	poly := c.floor(p.buf[:0], places)
	if len(poly) < 3 {
		return
	}
	z := p.middle(places)
	p.fill(poly, p.s.light.see(t, p.wet(), z), alpha)
}

func (p *painter) wet() int64 {
	if p.s.light.rain {
		return 205
	}
	return 256
}

func (p *painter) middle(places []ground) int64 {
	var sum int64
	for _, g := range places {
		sum += min(max(p.s.cam.turn(g).z, nearest), p.s.cam.crest)
	}
	return sum / int64(len(places))
}

// strip is a rectangle along the street, in pieces that haze alike.
func (p *painter) strip(t tone, right0, right1, along0, along1 int64) {
	p.surface(t, opaque, ground{right: right0, along: along0}, ground{right: right0, along: along1}, ground{right: right1, along: along1}, ground{right: right1, along: along0})
}

func (p *painter) ground() {
	s, c := p.s, &p.s.cam
	for y := s.crestRow(); y < c.h; y++ {
		z := c.focal * c.height / max((y*sub+sub/2)-c.horizon, 1)
		t := s.light.see(s.bands[0].col, p.wet(), z).paint(opaque)
		row, depth := p.c.pix[3*y*c.w:][:3*c.w], p.c.depth[y*c.w:][:c.w]
		for i := range depth {
			row[3*i], row[3*i+1], row[3*i+2] = t.b, t.g, t.r
			depth[i] = depthOf(z)
		}
	}
	begin := int64(-laneBehind)
	if s.plaza {
		begin = -s.end
	}
	for _, b := range s.bands[1:6] {
		p.strip(b.col, b.from, b.to, begin, s.end)
	}
	for _, b := range s.bands[7:] {
		p.strip(b.col, b.from, b.to, begin, s.end)
	}
	if s.cross != 0 {
		road := s.bands[3].col
		wide := s.end + 60*metre
		p.strip(s.bands[1].col, -wide, s.walls[0], s.cross-s.crossBy-3*metre, s.cross+s.crossBy+3*metre)
		p.strip(s.bands[1].col, s.walls[1], wide, s.cross-s.crossBy-3*metre, s.cross+s.crossBy+3*metre)
		p.strip(road, -wide, wide, s.cross-s.crossBy, s.cross+s.crossBy)
		for at := -wide; at < wide; at += 6 * metre {
			if at < s.road[0]-metre || at > s.road[1]+metre {
				p.strip(tone{214, 214, 206}, at, at+2*metre, s.cross-70, s.cross+70)
			}
		}
	}
	p.markings(begin)
	p.blemishes(begin)
	p.grain()
}

// atCrossing reports whether what begins there and is so long touches the
// street that crosses.
func (s *scene) atCrossing(along, length int64) bool {
	d := along - s.cross
	return s.cross != 0 && d > -s.crossBy-length && d < s.crossBy+2*metre
}

// markings are painted on the road.
func (p *painter) markings(begin int64) {
	s := p.s
	white := tone{216, 216, 208}
	for i, at := range s.lanes {
		if i == 0 || i == len(s.lanes)-1 {
			for along := begin; along < s.end; along += 12 * metre {
				if !s.atCrossing(along, 12*metre) {
					p.strip(white, at-60, at+60, along, along+12*metre)
				}
			}
			continue
		}
		for along := begin; along < s.end; along += 6 * metre {
			if !s.atCrossing(along, 4*metre) {
				p.strip(white, at-75, at+75, along, along+3*metre)
			}
		}
	}
	stop := s.cross - s.crossBy
	if s.cross == 0 || p.d.percent(30) {
		stop = p.d.between(begin+20*metre, max(s.cam.crest*7/10, begin+30*metre))
	}
	// A zebra crossing.
	for at := s.road[0] + 300; at < s.road[1]-300; at += 1000 {
		p.strip(white, at, at+500, stop-3500, stop-500)
	}
	if p.d.percent(60) {
		p.strip(white, s.road[0], s.road[1], stop-4900, stop-4600)
	}
}

// blemishes are patches, manholes, leaves and puddles: detail that is no
// object.
func (p *painter) blemishes(begin int64) {
	s := p.s
	spot := func() ground {
		return ground{right: p.d.between(s.walls[0], s.walls[1]), along: p.d.between(begin, s.cam.crest*6/10)}
	}
	for range p.d.between(3, 12) { // mended places
		g, w, l := spot(), p.d.between(400, 1600), p.d.between(800, 6000)
		p.surface(tone{70, 70, 72}, p.d.between(40, 130), g, ground{right: g.right, along: g.along + l}, ground{right: g.right + w, along: g.along + l}, ground{right: g.right + w, along: g.along})
	}
	for range p.d.between(2, 6) {
		p.blob(spot(), 330, 330, tone{58, 56, 54}, 220)
	}
	for range p.d.between(0, 8) {
		p.blob(spot(), p.d.between(200, 1400), p.d.between(200, 1100), tone{40, 38, 38}, p.d.between(20, 70))
	}
	if s.light.rain {
		for range p.d.between(8, 26) {
			g := spot()
			w, l := p.d.between(400, 2600), p.d.between(400, 1800)
			z := s.cam.turn(g).z
			if z < nearest {
				continue
			}
			p.blobOf(g, w, l, s.light.skyLow.blend(s.light.haze, 128).scale(225), p.d.between(70, 150))
		}
	}
	for range p.d.between(0, 40) { // litter and leaves
		p.blob(spot(), p.d.between(60, 160), p.d.between(60, 160), one(p.d, shirts), 200)
	}
}

// blob is an ellipse on the ground.
func (p *painter) blob(at ground, w, l int64, t tone, alpha int64) {
	p.blobOf(at, w, l, p.s.light.see(t, p.wet(), max(p.s.cam.turn(at).z, nearest)), alpha)
}

func (p *painter) blobOf(at ground, w, l int64, t tone, alpha int64) {
	var places [20]ground
	for i := range places {
		angle := int64(i) * circle / int64(len(places))
		places[i] = ground{right: at.right + w*cosine(angle)/unit, along: at.along + l*sine(angle)/unit}
	}
	poly := p.s.cam.floor(p.buf[:0], places[:])
	if len(poly) >= 3 {
		p.fill(poly, t, alpha)
	}
}

// grain makes the ground rough: stones nearby, the same amount of it as light
// and dark pixels farther away.
func (p *painter) grain() {
	c := &p.s.cam
	d := roll(p.s.seed, 4)
	var rough [1 << 12]int8
	for i := range rough {
		rough[i] = int8(d.between(-7, 7) + d.between(-5, 5))
	}
	for y := p.s.crestRow(); y < c.h; y++ {
		at := int(d.below(int64(len(rough))))
		row := p.c.pix[3*y*c.w:][:3*c.w]
		for i := 0; i+2 < len(row); i += 3 {
			v := int(rough[at&(len(rough)-1)])
			at++
			row[i], row[i+1], row[i+2] = step(row[i], v), step(row[i+1], v), step(row[i+2], v)
		}
	}
}

func step(b byte, v int) byte { return uint8(min(max(int(b)+v, 0), 255)) }
