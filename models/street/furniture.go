package street

// furniture is what stands on pavements and squares and is no object: trees,
// lamp posts, signs, bins, posters, boxes, parasols, posts.
func (p *painter) furniture() {
	s := p.s
	begin := int64(4 * metre)
	if s.plaza {
		begin = -s.end * 6 / 10
	}
	for side := range 2 {
		out := int64(2*side - 1)
		kerb := s.kerbs[side] + out*700
		trees, lamps := p.d.percent(60), p.d.percent(75)
		every, offset := p.d.between(8, 16)*metre, p.d.below(8)*metre
		for at := begin + offset; at < s.cam.crest+laneBeyond/2; at += every {
			if d := at - s.cross; s.cross != 0 && d > -s.crossBy-2*metre && d < s.crossBy+2*metre {
				continue
			}
			g := ground{right: kerb, along: at + p.d.between(-metre, metre)}
			switch {
			case trees && p.d.percent(55):
				p.tree(g)
			case lamps && p.d.percent(45):
				p.lamp(g, -out)
			case p.d.percent(35):
				p.sign(g)
			}
		}
		for range p.d.between(2, 9) {
			g := ground{right: p.d.between(min(kerb, s.walls[side]), max(kerb, s.walls[side])), along: p.d.between(begin, s.cam.crest*8/10)}
			switch p.d.below(7) {
			case 0:
				p.box(g, 420, 420, p.d.between(800, 1100), one(p.d, []tone{{60, 84, 64}, {70, 70, 74}, {120, 96, 60}}), 0)
			case 1:
				p.box(g, p.d.between(700, 1300), 420, p.d.between(1000, 1500), tone{130, 134, 130}, 0)
			case 2:
				p.poster(g)
			case 3:
				for i := range p.d.between(2, 7) {
					p.post(ground{right: kerb, along: g.along + i*1500}, p.d.between(800, 1000), 60, tone{80, 80, 84})
				}
			case 4:
				p.box(g, 500, 1700, 450, tone{116, 84, 56}, 0) // a bench
			case 5:
				p.box(g, p.d.between(1600, 2600), p.d.between(1600, 3000), p.d.between(2200, 2700), one(p.d, cargoColours), 1) // a kiosk
			default:
				p.parasol(g)
			}
		}
	}
	if s.plaza {
		for range p.d.between(2, 8) {
			g := ground{right: p.d.between(s.walls[0], s.walls[1]), along: p.d.between(begin, -begin)}
			if g.right > s.road[0]-metre && g.right < s.road[1]+metre {
				continue
			}
			if z := s.cam.turn(g).z; z > 8*metre {
				p.tree(g)
			}
		}
	}
}

// distance is how far away a place is; false if nothing can stand there.
func (p *painter) distance(g ground) (vec, bool) {
	v := p.s.cam.turn(g)
	return v, v.z > 6*metre && v.z < p.s.cam.crest+20*metre
}

// rod is an upright or slanting bar between two places at one distance.
func (p *painter) rod(a, b ground, ra, rb int64, t tone, k int64) {
	va, vb := p.s.cam.turn(a), p.s.cam.turn(b)
	if va.z < nearest || vb.z < nearest {
		return
	}
	c := &p.s.cam
	poly := capsule(p.buf[:0], c.project(va), c.project(vb), c.size(ra, va.z), c.size(rb, vb.z))
	p.c.still(poly, p.s.light.see(t, k, va.z).paint(opaque), depthOf(va.z))
}

// ball is a round thing in the air.
func (p *painter) ball(at ground, r int64, t tone, k int64) {
	v := p.s.cam.turn(at)
	if v.z < nearest {
		return
	}
	c := &p.s.cam
	p.c.still(disc(p.buf[:0], c.project(v), c.size(r, v.z)), p.s.light.see(t, k, v.z).paint(opaque), depthOf(v.z))
}

func (p *painter) post(g ground, high, r int64, t tone) {
	v, ok := p.distance(g)
	if !ok {
		return
	}
	p.shade(g, 300, 300)
	p.add(v.z, func() { p.rod(g, ground{g.right, g.along, high}, r, r, t, 230) })
}

// shade darkens the ground at the foot of something.
func (p *painter) shade(g ground, w, l int64) { p.blob(g, w, l, tone{20, 20, 22}, 70) }

func (p *painter) tree(g ground) {
	v, ok := p.distance(g)
	if !ok || v.z < 13*metre {
		return
	}
	high, wide := p.d.between(4500, 9500), p.d.between(1300, 2600)
	leaf := one(p.d, []tone{{62, 92, 46}, {78, 108, 52}, {52, 80, 50}, {110, 112, 50}, {150, 104, 48}})
	bare := p.d.percent(18)
	d := *p.d
	p.d.below(1)
	p.shade(g, wide, wide)
	p.add(v.z, func() {
		top := ground{g.right, g.along, high * 55 / 100}
		p.rod(g, top, 170, 120, tone{78, 62, 48}, 220)
		if bare {
			for range 9 {
				from := ground{g.right, g.along, high * d.between(35, 55) / 100}
				to := ground{g.right + d.between(-wide, wide), g.along, high * d.between(60, 100) / 100}
				p.rod(from, to, 70, 15, tone{78, 62, 48}, 215)
			}
			return
		}
		for i := range int64(26) {
			// Darker below and behind, lighter above.
			at := ground{
				right: g.right + d.between(-wide, wide)*8/10, along: g.along,
				up: high*60/100 + d.between(-wide, wide)*7/10 + i*high/130,
			}
			r := wide * d.between(22, 48) / 100
			p.ball(at, r, leaf.scale(d.between(190, 250)), 170+i*4)
		}
	})
}

func (p *painter) lamp(g ground, towards int64) {
	v, ok := p.distance(g)
	if !ok {
		return
	}
	high := p.d.between(5000, 8000)
	p.shade(g, 350, 350)
	p.add(v.z, func() {
		grey := tone{74, 78, 80}
		top := ground{g.right, g.along, high}
		head := ground{g.right + towards*1500, g.along, high + 150}
		p.rod(g, top, 95, 65, grey, 235)
		p.rod(top, head, 55, 45, grey, 235)
		if !p.s.light.dusk {
			p.rod(ground{head.right - towards*500, head.along, head.up}, head, 110, 110, tone{150, 152, 150}, 256)
			return
		}
		c := &p.s.cam
		hv := c.turn(head)
		if hv.z < nearest {
			return
		}
		at := c.project(hv)
		warm := tone{255, 214, 140}
		for i := int64(1); i <= 16; i++ {
			p.fill(disc(p.buf[:0], at, c.size(140*i, hv.z)), p.s.light.glow(warm, hv.z), 5)
		}
		p.fill(disc(p.buf[:0], at, c.size(170, hv.z)), p.s.light.glow(tone{255, 240, 200}, hv.z), opaque)
	})
	if p.s.light.dusk {
		foot := ground{right: g.right + towards*1500, along: g.along}
		for i := int64(1); i <= 16; i++ {
			p.blob(foot, 290*i, 290*i, tone{560, 450, 280}, 5)
		}
	}
}

func (p *painter) sign(g ground) {
	v, ok := p.distance(g)
	if !ok {
		return
	}
	high := p.d.between(2200, 3000)
	kind, lights := p.d.below(4), p.d.percent(30)
	p.shade(g, 250, 250)
	p.add(v.z, func() {
		p.rod(g, ground{g.right, g.along, high}, 42, 42, tone{120, 122, 124}, 235)
		c := &p.s.cam
		at := c.project(c.turn(ground{g.right, g.along, high - 200}))
		r := c.size(330, v.z)
		see := func(t tone) tone { return p.s.light.see(t, 256, v.z) }
		switch {
		case lights: // traffic lights
			p.rect(at.x-r*55/100, at.y-r*13/10, at.x+r*55/100, at.y+r*13/10, see(tone{30, 32, 32}), opaque)
			for i, t := range []tone{{220, 40, 30}, {70, 60, 30}, {30, 60, 40}} {
				q := point{at.x, at.y + (int64(i)-1)*r*8/10}
				p.fill(capsule(p.buf[:0], q, q, r*32/100, r*32/100), p.s.light.glow(t, v.z), opaque)
			}
		case kind == 0:
			p.fill(disc(p.buf[:0], at, r), see(tone{190, 34, 34}), opaque)
			p.fill(disc(p.buf[:0], at, r*7/10), see(tone{232, 232, 228}), opaque)
		case kind == 1:
			p.rect(at.x-r, at.y-r, at.x+r, at.y+r, see(tone{40, 84, 168}), opaque)
			p.rect(at.x-r/4, at.y-r*6/10, at.x+r/4, at.y+r*6/10, see(tone{232, 232, 228}), opaque)
		case kind == 2:
			p.fill(append(p.buf[:0], point{at.x, at.y - r}, point{at.x + r, at.y + r*8/10}, point{at.x - r, at.y + r*8/10}), see(tone{190, 34, 34}), opaque)
			p.fill(append(p.buf[:0], point{at.x, at.y - r*5/10}, point{at.x + r*6/10, at.y + r*6/10}, point{at.x - r*6/10, at.y + r*6/10}), see(tone{236, 234, 220}), opaque)
		default:
			p.rect(at.x-r*2, at.y-r*7/10, at.x+r*2, at.y+r*7/10, see(tone{44, 110, 72}), opaque)
			p.rect(at.x-r*16/10, at.y-r*2/10, at.x+r*12/10, at.y+r*2/10, see(tone{226, 228, 222}), opaque)
		}
	})
}

// box is a box on the ground, w wide across the street and l along it.
func (p *painter) box(g ground, w, l, high int64, col tone, windows int64) {
	v, ok := p.distance(g)
	if !ok {
		return
	}
	p.shade(g, w*6/10, l*6/10)
	t := thing{at: g, fa: unit, size: extent{l: l, w: w, h: high}, near: v.z}
	p.add(v.z, func() {
		faces := [][4]lwh{
			{{-l / 2, -w / 2, 0}, {-l / 2, -w / 2, high}, {-l / 2, w / 2, high}, {-l / 2, w / 2, 0}},
			{{l / 2, w / 2, 0}, {l / 2, w / 2, high}, {l / 2, -w / 2, high}, {l / 2, -w / 2, 0}},
			{{-l / 2, w / 2, 0}, {-l / 2, w / 2, high}, {l / 2, w / 2, high}, {l / 2, w / 2, 0}},
			{{l / 2, -w / 2, 0}, {l / 2, -w / 2, high}, {-l / 2, -w / 2, high}, {-l / 2, -w / 2, 0}},
			{{-l / 2, -w / 2, high}, {l / 2, -w / 2, high}, {l / 2, w / 2, high}, {-l / 2, w / 2, high}},
		}
		for i, f := range faces {
			k := [5]int64{p.s.light.facing(0, -unit), p.s.light.facing(0, unit), p.s.light.facing(unit, 0), p.s.light.facing(-unit, 0), above}[i]
			draw := func(points [4]lwh, col tone) {
				var places [4]ground
				for i, q := range points {
					places[i] = t.place(q[0], q[1], q[2])
				}
				poly := p.s.cam.shape(p.buf[:0], places[:])
				if len(poly) >= 3 && area(poly) > 0 {
					p.c.still(poly, p.s.light.see(col, k, v.z).paint(opaque), depthOf(v.z))
				}
			}
			draw(f, col)
			if windows > 0 && i < 4 {
				in := func(a, b, k int64) int64 { return a + (b-a)*k/100 }
				q := f
				for j := range q {
					o := f[3-j] // the other end, at the same height
					q[j] = lwh{in(f[j][0], o[0], 14), in(f[j][1], o[1], 14), in(high*45/100, high*84/100, f[j][2]*100/high)}
				}
				draw(q, glass)
			}
		}
	})
}

func (p *painter) poster(g ground) {
	v, ok := p.distance(g)
	if !ok {
		return
	}
	back, a, b := one(p.d, cargoColours), one(p.d, shirts), one(p.d, carColours)
	wide, high := p.d.between(600, 1700), p.d.between(900, 2000)
	p.shade(g, 500, 300)
	p.add(v.z, func() {
		c := &p.s.cam
		p.rod(g, ground{g.right, g.along, 900}, 60, 60, tone{70, 70, 72}, 230)
		foot := c.project(c.turn(ground{g.right, g.along, 800}))
		w, h := c.size(wide, v.z)/2, c.size(high, v.z)
		see := func(t tone) tone { return p.s.light.see(t, 240, v.z) }
		rect := func(x0, y0, x1, y1 int64, t tone) {
			p.c.still(append(p.buf[:0], point{x0, y0}, point{x1, y0}, point{x1, y1}, point{x0, y1}), see(t).paint(opaque), depthOf(v.z))
		}
		rect(foot.x-w, foot.y-h, foot.x+w, foot.y, tone{60, 62, 64})
		rect(foot.x-w*9/10, foot.y-h*95/100, foot.x+w*9/10, foot.y-h*5/100, back)
		rect(foot.x-w*7/10, foot.y-h*85/100, foot.x+w*5/10, foot.y-h*70/100, a)
		p.fill(capsule(p.buf[:0], point{foot.x - w/5, foot.y - h*40/100}, point{foot.x + w/5, foot.y - h*36/100}, w*3/10, w*4/10), see(b), opaque)
	})
}

func (p *painter) parasol(g ground) {
	v, ok := p.distance(g)
	if !ok {
		return
	}
	col := one(p.d, awnings)
	p.shade(g, 1300, 1000)
	p.add(v.z, func() {
		top := ground{g.right, g.along, 2500}
		p.rod(g, top, 40, 40, tone{150, 130, 100}, 230)
		c := &p.s.cam
		at, w, h := c.project(c.turn(top)), c.size(1300, v.z), c.size(520, v.z)
		p.c.still(append(p.buf[:0], point{at.x, at.y}, point{at.x + w, at.y + h}, point{at.x - w, at.y + h}), p.s.light.see(col, 250, v.z).paint(opaque), depthOf(v.z))
		p.c.still(append(p.buf[:0], point{at.x, at.y}, point{at.x + w/3, at.y + h}, point{at.x - w/3, at.y + h}), p.s.light.see(col.scale(310), 250, v.z).paint(opaque), depthOf(v.z))
	})
}
