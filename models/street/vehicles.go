package street

// Colours of cars: mostly white, grey and black, as on any street.
var carColours = []tone{
	{228, 228, 226}, {232, 232, 232}, {40, 41, 44}, {28, 29, 32}, {128, 132, 136}, {178, 182, 186}, {88, 92, 98},
	{150, 28, 32}, {36, 66, 128}, {60, 110, 160}, {52, 84, 62}, {196, 160, 60}, {142, 96, 66}, {206, 92, 36}, {120, 30, 52}, {206, 200, 184},
}

var (
	glass     = tone{46, 54, 62}
	rubber    = tone{24, 24, 26}
	rim       = tone{120, 122, 126}
	chassis   = tone{34, 34, 36}
	headLamp  = tone{238, 240, 232}
	headLight = tone{255, 250, 224}
	rearLamp  = tone{146, 22, 24}
	rearLight = tone{250, 54, 44}
	plate     = tone{222, 220, 204}
)

// hull draws a body whose outline from the side (front, up) begins at the
// rear's foot and goes round over the top, clockwise as one sees it on the
// right side. over gives a strip between two points of the outline its own
// colour.
func (a *artist) hull(w int64, col tone, outline [][2]int64, over func(i int) tone) {
	strip := func(i int) {
		p, q := outline[i], outline[i+1]
		k := int64(above)
		switch dl, dh := q[0]-p[0], q[1]-p[1]; {
		case dh > dl:
			k = (a.rear()*dh + above*dl) / max(dh+dl, 1)
		case -dh > dl:
			k = (a.front()*-dh + above*dl) / max(dl-dh, 1)
		}
		a.face(over(i), k, lwh{p[0], -w, p[1]}, lwh{q[0], -w, q[1]}, lwh{q[0], w, q[1]}, lwh{p[0], w, p[1]})
	}
	// The farther end first.
	if a.away() {
		for i := len(outline) - 2; i >= 0; i-- {
			strip(i)
		}
	} else {
		for i := range len(outline) - 1 {
			strip(i)
		}
	}
	a.side(1, w, col, a.right(), outline...)
	a.side(-1, w, col, a.left(), outline...)
}

// away reports whether the thing's front is farther from the camera than its
// rear.
func (a *artist) away() bool {
	c := &a.s.cam
	return c.turn(a.t.place(a.t.size.l/2, 0, 0)).z > c.turn(a.t.place(-a.t.size.l/2, 0, 0)).z
}

// sides calls draw for the right side and the left, with its brightness.
func (a *artist) sides(draw func(which, k int64)) {
	draw(1, a.right())
	draw(-1, a.left())
}

// wheels draws wheels at these distances to the front. Those that show from
// the front or the rear are dark boxes below the body.
func (a *artist) wheels(w, r int64, at ...int64) {
	a.sides(func(which, k int64) {
		for _, l := range at {
			a.disc(which, w+12, l, r, r, rubber, k)
			if a.tall > 26 {
				a.disc(which, w+14, l, r, r*58/100, rim, k)
			}
		}
	})
	for which := int64(-1); which <= 1; which += 2 {
		l := at[len(at)-1] + r
		if which < 0 {
			l = at[0] - r
		}
		a.end(which, l, w-240, w-20, 0, r, rubber, 200)
		a.end(which, l, -w+20, -w+240, 0, r, rubber, 200)
	}
}

// disc draws a circle on a side.
func (a *artist) disc(which, w, l, h, r int64, col tone, k int64) {
	var points [12][2]int64
	for i := range points {
		angle := circle/2 - int64(i)*circle/12
		points[i] = [2]int64{l + r*cosine(angle)/unit, h + r*sine(angle)/unit}
	}
	a.side(which, w, col, k, points[:]...)
}

// lamps draws those of front and rear, lit at dusk and in the rain.
func (a *artist) lamps(l, w, h, r int64) {
	lit := (a.s.light.dusk || a.s.light.rain) && !a.t.halted
	for _, at := range []int64{-w, w} {
		a.end(1, l+8, at-r*3/2, at+r*3/2, h-r, h+r, headLamp, 256)
		a.end(-1, -l-8, at-r, at+r, h-r, h+r*3/2, rearLamp, 256)
	}
	if !lit {
		return
	}
	away, halo := a.away(), int64(0)
	if a.s.light.dusk {
		halo = 6
	}
	for _, at := range []int64{-w, w} {
		if away {
			a.shine(lwh{-l - 10, at, h}, r, rearLight, halo/2)
		} else {
			a.shine(lwh{l + 10, at, h}, r, headLight, halo)
		}
	}
}

func (a *artist) car() {
	l, w, h := a.t.size.l/2, a.t.size.w/2, a.t.size.h
	col := one(&a.d, carColours)
	belt := h * 60 / 100
	// Where the cabin's corners are, along the car.
	var foot0, top0, top1, foot1 int64
	rear := belt
	switch kind := a.d.below(3); kind {
	case 0: // hatchback
		foot0, top0, top1, foot1 = -l*96/100, -l*78/100, l*8/100, l*42/100
	case 1: // saloon
		foot0, top0, top1, foot1 = -l*66/100, -l*40/100, l*10/100, l*44/100
		rear = belt * 97 / 100
	default: // estate
		foot0, top0, top1, foot1 = -l*97/100, -l*90/100, l*14/100, l*46/100
	}
	const clearance = 210
	a.wheels(w-60, 320, -l*60/100, l*62/100)
	outline := [][2]int64{
		{-l, clearance}, {-l, rear * 92 / 100}, {foot0, rear}, {top0, h}, {top1, h}, {foot1, belt},
		{l * 92 / 100, belt * 86 / 100}, {l, belt * 70 / 100}, {l, clearance},
	}
	a.hull(w, col, outline, func(i int) tone {
		if i == 2 || i == 4 {
			return glass
		}
		return col
	})
	inset := h * 5 / 100
	a.sides(func(which, k int64) {
		middle := (top0 + top1) / 2
		slant0, slant1 := (top0-foot0)*85/100, (foot1-top1)*85/100
		a.side(which, w+2, glass, k, [2]int64{top0 - slant0 + 90, belt + inset/2}, [2]int64{top0 + 60, h - inset}, [2]int64{middle - 35, h - inset}, [2]int64{middle - 35, belt + inset/2})
		a.side(which, w+2, glass, k, [2]int64{middle + 35, belt + inset/2}, [2]int64{middle + 35, h - inset}, [2]int64{top1 - 40, h - inset}, [2]int64{top1 + slant1 - 90, belt + inset/2})
		a.side(which, w+2, chassis, k, [2]int64{-l, clearance}, [2]int64{-l, clearance + 70}, [2]int64{l, clearance + 70}, [2]int64{l, clearance})
		if a.tall > 40 {
			for _, at := range []int64{top0, middle, foot1} {
				a.side(which, w+3, col.scale(150), k, [2]int64{at - 8, clearance + 80}, [2]int64{at - 8, belt}, [2]int64{at + 8, belt}, [2]int64{at + 8, clearance + 80})
			}
			a.side(which, w+3, chassis, k, [2]int64{middle + 120, belt - 130}, [2]int64{middle + 120, belt - 90}, [2]int64{middle + 260, belt - 90}, [2]int64{middle + 260, belt - 130})
		}
	})
	a.wheelsOver(w+4, 320, -l*60/100, l*62/100)
	for _, which := range []int64{1, -1} {
		a.end(which, which*(l+4), -w*94/100, w*94/100, clearance, clearance+150, chassis, 230)
		a.end(which, which*(l+6), -260, 260, clearance+160, clearance+270, plate, 230)
	}
	a.end(1, l+5, -w*45/100, w*45/100, belt*52/100, belt*66/100, chassis, 240)
	a.lamps(l, w*76/100, belt*60/100, 85)
}

// wheelsOver draws the wheels once more, over a side that covers their upper
// half: they stand out of it.
func (a *artist) wheelsOver(w, r int64, at ...int64) {
	a.sides(func(which, k int64) {
		for _, l := range at {
			a.disc(which, w, l, r, r, rubber, k)
			if a.tall > 20 {
				a.disc(which, w+2, l, r, r*58/100, rim, k)
			}
		}
	})
}

var cargoColours = []tone{
	{226, 226, 222}, {214, 214, 210}, {234, 232, 226}, {52, 88, 150}, {168, 40, 36}, {196, 170, 70}, {70, 112, 76}, {150, 152, 156}, {206, 110, 44}, {60, 66, 80},
}

func (a *artist) truck() {
	l, w, h := a.t.size.l/2, a.t.size.w/2, a.t.size.h
	cab, cargo := one(&a.d, carColours), one(&a.d, cargoColours)
	stripe := one(&a.d, cargoColours)
	long := a.d.between(1700, 2100)
	high := min(h-200, a.d.between(2350, 2800))
	box, flat := l-long-180, a.d.percent(18)
	const bed = 950
	drawCargo := func() {
		a.boxOn(-l, box, w-120, 450, bed-80, chassis)
		top := h
		if flat { // a tipper's or a flatbed's low sides
			top = bed + 900
		}
		a.boxOn(-l, box, w, bed-80, top, cargo)
		a.sides(func(which, k int64) {
			if flat {
				return
			}
			at := a.d.between(30, 60)
			a.side(which, w+4, stripe, k, [2]int64{-l, bed + (h-bed)*(at-12)/100}, [2]int64{-l, bed + (h-bed)*at/100}, [2]int64{box, bed + (h-bed)*at/100}, [2]int64{box, bed + (h-bed)*(at-12)/100})
			if a.tall > 30 {
				for i := int64(1); i < 6; i++ {
					x := -l + (box+l)*i/6
					a.side(which, w+5, cargo.scale(215), k, [2]int64{x - 14, bed}, [2]int64{x - 14, h}, [2]int64{x + 14, h}, [2]int64{x + 14, bed})
				}
			}
		})
		if !flat {
			a.end(-1, -l-4, -40, 40, bed, h, cargo.scale(170), a.rear())
			a.end(-1, -l-4, -w, w, bed-80, bed+40, chassis, a.rear())
		}
	}
	drawCab := func() {
		belt := high * 56 / 100
		outline := [][2]int64{{l - long, 420}, {l - long, high}, {l - 320, high}, {l - 60, belt}, {l, belt * 80 / 100}, {l, 420}}
		a.hull(w, cab, outline, func(i int) tone {
			if i == 2 {
				return glass
			}
			return cab
		})
		a.sides(func(which, k int64) {
			a.side(which, w+3, glass, k, [2]int64{l - long + 420, belt}, [2]int64{l - long + 460, high - 260}, [2]int64{l - 400, high - 260}, [2]int64{l - 180, belt})
		})
		a.end(1, l+4, -w*80/100, w*80/100, belt*42/100, belt*70/100, chassis, 240)
		a.end(1, l+6, -w, w, 360, 620, chassis, 230)
	}
	r := int64(480)
	a.wheels(w-40, r, -l+900, -l+1950, l-long/2)
	if a.away() {
		drawCab()
		drawCargo()
	} else {
		drawCargo()
		drawCab()
	}
	if a.t.size.l > 7400 {
		a.wheelsOver(w+6, r, -l+900, -l+1950, l-long*55/100)
	} else {
		a.wheelsOver(w+6, r, -l+1200, l-long*55/100)
	}
	a.lamps(l, w*80/100, 760, 110)
}

// boxOn draws a box between two places along the thing.
func (a *artist) boxOn(l0, l1, w, h0, h1 int64, col tone) {
	a.hull(w, col, [][2]int64{{l0, h0}, {l0, h1}, {l1, h1}, {l1, h0}}, func(int) tone { return col })
}

var busColours = []tone{
	{188, 36, 34}, {226, 178, 36}, {46, 110, 70}, {36, 80, 150}, {224, 226, 224}, {40, 140, 160}, {228, 120, 40}, {210, 212, 200},
}

func (a *artist) bus() {
	l, w, h := a.t.size.l/2, a.t.size.w/2, a.t.size.h
	col, trim := one(&a.d, busColours), one(&a.d, busColours)
	const sill = 320
	low, high := h*42/100, h*84/100
	r := int64(490)
	a.wheels(w-40, r, -l*58/100, l*58/100)
	a.hull(w, col, [][2]int64{{-l, sill}, {-l, h - 80}, {-l + 120, h}, {l - 160, h}, {l, h - 200}, {l, sill}}, func(i int) tone {
		if i == 2 {
			return col.scale(236)
		}
		return col
	})
	panes := a.d.between(6, 8)
	a.sides(func(which, k int64) {
		a.side(which, w+3, trim, k, [2]int64{-l, sill + 60}, [2]int64{-l, low - 240}, [2]int64{l, low - 240}, [2]int64{l, sill + 60})
		a.side(which, w+4, tone{30, 34, 38}, k, [2]int64{-l + 250, low}, [2]int64{-l + 250, high}, [2]int64{l - 150, high}, [2]int64{l - 150, low})
		inside := glass
		if a.s.light.dusk {
			inside = tone{520, 460, 330} // its lights are on
		}
		for i := range panes {
			x0, x1 := -l+300+(2*l-500)*i/panes, -l+300+(2*l-500)*(i+1)/panes-110
			a.side(which, w+5, inside, k, [2]int64{x0, low + 60}, [2]int64{x0, high - 60}, [2]int64{x1, high - 60}, [2]int64{x1, low + 60})
		}
		if which > 0 { // the doors are on the kerb's side
			for _, x := range []int64{l - 1300, -l / 8} {
				a.side(which, w+6, tone{56, 64, 70}, k, [2]int64{x, sill + 40}, [2]int64{x, high - 40}, [2]int64{x + 1050, high - 40}, [2]int64{x + 1050, sill + 40})
				a.side(which, w+7, col.scale(180), k, [2]int64{x + 500, sill + 40}, [2]int64{x + 500, high - 40}, [2]int64{x + 560, high - 40}, [2]int64{x + 560, sill + 40})
			}
		}
	})
	a.wheelsOver(w+8, r, -l*58/100, l*58/100)
	a.end(1, l+4, -w*92/100, w*92/100, low-120, high-40, glass.scale(250), a.front())
	a.end(1, l+5, -w*66/100, w*66/100, high+20, h-90, tone{30, 30, 30}, 256)
	if a.c.pix != nil && a.tall > 12 {
		a.end(1, l+6, -w*50/100, w*50/100, high+80, h-150, tone{600, 330, 60}.blend(tone{250, 150, 40}, 128), 256)
	}
	a.end(-1, -l-4, -w*80/100, w*80/100, h*55/100, high, glass, a.rear())
	a.end(-1, -l-4, -w*60/100, w*60/100, sill+150, h*38/100, col.scale(140), a.rear())
	for _, which := range []int64{1, -1} {
		a.end(which, which*(l+7), -w, w, sill, sill+170, chassis, 230)
		a.end(which, which*(l+8), -260, 260, sill+180, sill+290, plate, 240)
	}
	a.lamps(l, w*80/100, 760, 120)
}
