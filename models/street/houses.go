package street

var facades = []tone{
	{186, 168, 142}, {160, 112, 90}, {202, 194, 178}, {142, 136, 130}, {176, 150, 120}, {126, 92, 78}, {208, 200, 190}, {168, 174, 178}, {188, 176, 120}, {150, 128, 136},
}

var awnings = []tone{{160, 44, 40}, {44, 90, 70}, {50, 70, 120}, {200, 160, 70}, {90, 90, 96}, {190, 110, 50}}

// houses stand on either side, from before the camera to beyond the crest.
func (p *painter) houses() {
	s := p.s
	for side := range 2 {
		out := int64(2*side - 1)
		wall := s.walls[side]
		if s.plaza && (s.cam.right-s.road[0])*out > 0 {
			continue // the camera stands where they would be
		}
		begin := int64(-laneBehind)
		if s.plaza {
			begin = -s.end
		}
		for at := begin; at < s.end; {
			length := p.d.between(8, 24) * metre
			height := p.d.between(5, 18) * metre
			back := p.d.below(5) * 400
			gap := int64(0)
			if p.d.percent(18) {
				gap = p.d.between(2, 14) * metre
			}
			end := at + length
			if s.cross != 0 {
				from, to := s.cross-s.crossBy-3*metre, s.cross+s.crossBy+3*metre
				if end > from && at < from {
					end = from
				}
				if at >= from && at < to {
					at = to
					continue
				}
			}
			if end-at > 3*metre && !p.d.percent(8) {
				p.house(wall+out*back, at, end, height, out)
			}
			at = end + gap
		}
	}
}

// house is a box whose front is at right and looks to the street.
func (p *painter) house(right, from, to, height, out int64) {
	col := one(p.d, facades).scale(p.d.between(215, 270))
	looks := *p.d
	p.d.below(1)
	// Its fronts are drawn in pieces, each with its own distance.
	z := p.s.cam.turn(ground{right: right, along: (from + to) / 2}).z
	zMost := max(p.s.cam.turn(ground{right: right, along: from}).z, p.s.cam.turn(ground{right: right, along: to}).z)
	if zMost < nearest {
		return
	}
	z = max(z, nearest+1)
	p.add(z, func() {
		d := looks
		// The ends, which look along the street and back.
		for _, end := range []struct{ at, look int64 }{{from, -unit}, {to, unit}} {
			a, b := ground{right: right, along: end.at}, ground{right: right + out*houseDepth, along: end.at}
			if out*end.look > 0 {
				a, b = b, a
			}
			p.wall(a, b, height, col, 0, end.look, &d, false)
		}
		a, b := ground{right: right, along: to}, ground{right: right, along: from}
		if out < 0 {
			a, b = b, a
		}
		p.wall(a, b, height, col, -out*unit, 0, &d, true)
		p.roof(right, right+out*houseDepth, from, to, height, col.scale(180))
	})
}

// roof is what a camera that is higher than a house sees of it, in pieces that
// each hide what is behind them.
func (p *painter) roof(right0, right1, from, to, height int64, col tone) {
	c := &p.s.cam
	const piece = 3 * metre
	for at := from; at < to; at += piece {
		end := min(at+piece, to)
		corners := []ground{{right0, at, height}, {right0, end, height}, {right1, end, height}, {right1, at, height}}
		far := int64(nearest)
		for _, g := range corners {
			v := c.turn(g)
			if v.y >= c.height {
				return
			}
			far = max(far, v.z)
		}
		if poly := c.shape(p.buf[:0], corners); len(poly) >= 3 {
			p.c.still(poly, p.s.light.see(col, above, far).paint(opaque), depthOf(far))
		}
	}
}

// wall draws an upright face from a on the left to b on the right, as one sees
// it from outside, if it is seen from there.
func (p *painter) wall(a, b ground, height int64, col tone, lookRight, lookAlong int64, d *dice, shop bool) {
	c := &p.s.cam
	panel := func(f0, f1, h0, h1 int64) []point { // f in 1/1024 of the way from a to b
		at := func(f, h int64) ground {
			return ground{right: a.right + (b.right-a.right)*f/1024, along: a.along + (b.along-a.along)*f/1024, up: h}
		}
		return c.shape(p.buf[:0], []ground{at(f0, h0), at(f0, h1), at(f1, h1), at(f1, h0)})
	}
	poly := panel(0, 1024, 0, height)
	if len(poly) < 3 || area(poly) <= 0 {
		return
	}
	length := root((b.right-a.right)*(b.right-a.right) + (b.along-a.along)*(b.along-a.along))
	k := p.s.light.facing(lookRight, lookAlong)
	mid := func(f int64) int64 {
		return max(c.turn(ground{right: a.right + (b.right-a.right)*f/1024, along: a.along + (b.along-a.along)*f/1024}).z, nearest)
	}
	p.fill(poly, p.s.light.see(col, k, mid(512)), opaque)
	// What it hides.
	pieces := max(length/2500, 1)
	for i := range pieces {
		f0, f1 := i*1024/pieces, (i+1)*1024/pieces
		if poly := panel(f0, f1, 0, height); len(poly) >= 3 {
			p.c.still(poly, paint{}, depthOf(max(mid(f0), mid(f1))))
		}
	}
	bays := max(length/d.between(2400, 3600), 1)
	floors := max((height-1200)/3000, 1)
	frame := col.scale(one(d, []int64{150, 300, 340}))
	dark, lit := tone{52, 60, 70}, tone{540, 430, 260}
	ground0 := int64(0)
	if shop && d.percent(60) {
		ground0 = 1
		p.shopFront(panel, mid, bays, k, d)
	}
	// Roof edge and plinth.
	if poly := panel(0, 1024, height-350, height); len(poly) >= 3 {
		p.fill(poly, p.s.light.see(col.scale(200), k, mid(512)), opaque)
	}
	for bay := range bays {
		f0, f1 := bay*1024/bays, (bay+1)*1024/bays
		z := mid((f0 + f1) / 2)
		if c.size(1500, z) < 3*sub {
			continue
		}
		in := (f1 - f0) * 28 / 100
		for floor := ground0; floor < floors; floor++ {
			h0 := floor*3000 + 1000
			t, bright := dark.scale(d.between(190, 330)), d.percent(34)
			lightNow := p.s.light.see(t, k, z)
			if p.s.light.dusk && bright {
				lightNow = p.s.light.see(lit.scale(d.between(150, 300)), k, z)
			}
			if c.size(1500, z) > 10*sub {
				if poly := panel(f0+in*8/10, f1-in*8/10, h0-90, h0+1690); len(poly) >= 3 {
					p.fill(poly, p.s.light.see(frame, k, z), opaque)
				}
			}
			if poly := panel(f0+in, f1-in, h0, h0+1600); len(poly) >= 3 {
				p.fill(poly, lightNow, opaque)
			}
			if c.size(1500, z) > 16*sub {
				m := (f0 + f1) / 2
				if poly := panel(m-2, m+2, h0, h0+1600); len(poly) >= 3 {
					p.fill(poly, p.s.light.see(frame, k, z), opaque)
				}
			}
		}
	}
}

// shopFront is a ground floor with a wide window, a door and an awning.
func (p *painter) shopFront(panel func(f0, f1, h0, h1 int64) []point, mid func(int64) int64, bays, k int64, d *dice) {
	awning := one(d, awnings)
	for bay := range bays {
		f0, f1 := bay*1024/bays, (bay+1)*1024/bays
		z := mid((f0 + f1) / 2)
		t := p.s.light.see(tone{58, 66, 74}.scale(d.between(200, 360)), k, z)
		if p.s.light.dusk {
			t = p.s.light.see(tone{560, 480, 340}.scale(d.between(160, 300)), k, z)
		}
		in := (f1 - f0) / 12
		if poly := panel(f0+in, f1-in, 350, 2500); len(poly) >= 3 {
			p.fill(poly, t, opaque)
		}
		if d.percent(30) {
			if poly := panel(f0+in*4, f0+in*7, 0, 2300); len(poly) >= 3 {
				p.fill(poly, p.s.light.see(tone{70, 58, 50}, k, z), opaque)
			}
		}
		if poly := panel(f0+in/2, f1-in/2, 2450, 2900); len(poly) >= 3 {
			p.fill(poly, p.s.light.see(awning, k+20, z), opaque)
		}
	}
}
