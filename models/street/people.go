package street

var (
	skins  = []tone{{226, 186, 158}, {208, 164, 134}, {168, 120, 90}, {120, 82, 60}, {84, 58, 44}}
	hairs  = []tone{{36, 28, 24}, {62, 44, 32}, {110, 78, 46}, {166, 132, 80}, {140, 140, 142}, {24, 22, 22}}
	shirts = []tone{
		{196, 42, 44}, {44, 76, 150}, {230, 230, 226}, {38, 38, 42}, {70, 118, 76}, {222, 178, 52}, {120, 74, 120}, {150, 152, 156},
		{226, 122, 54}, {64, 140, 160}, {206, 120, 140}, {88, 66, 50},
	}
	trousers = []tone{{38, 44, 66}, {30, 30, 34}, {92, 84, 70}, {66, 76, 92}, {128, 116, 96}, {52, 58, 50}}
)

// swing is where legs and arms are: from -amount to amount, once in two steps.
func (a *artist) swing(step, amount int64) int64 {
	if a.t.halted {
		return 0
	}
	return amount * sine(a.t.gone*circle/(2*step)+a.d.below(circle)) / unit
}

func (a *artist) person() {
	h := a.t.size.h
	skin, hair := one(&a.d, skins), one(&a.d, hairs)
	shirt, legs := one(&a.d, shirts), one(&a.d, trousers)
	coat, bag := a.d.percent(28), a.d.percent(25)
	stride := a.swing(h*42/100, h*17/100)
	k := (a.right() + a.left() + a.front() + a.rear()) / 4
	hip, shoulder := h*50/100, h*80/100
	foot := func(side, at int64) {
		lift := max(at, 0) / 6
		col := legs
		if side > 0 {
			col = legs.scale(216)
		}
		a.limb(lwh{0, side * h * 5 / 100, hip}, lwh{at/2 + h*3/100, side * h * 5 / 100, h*26/100 + lift}, h*6/100, h*42/1000, col, k)
		a.limb(lwh{at/2 + h*3/100, side * h * 5 / 100, h*26/100 + lift}, lwh{at, side * h * 5 / 100, h*3/100 + lift}, h*42/1000, h*3/100, col, k)
		a.limb(lwh{at, side * h * 5 / 100, h*2/100 + lift}, lwh{at + h*7/100, side * h * 5 / 100, h*2/100 + lift}, h*22/1000, h*2/100, rubber, k)
	}
	arm := func(side, at int64) {
		col := shirt.scale(226)
		a.limb(lwh{0, side * h * 12 / 100, shoulder}, lwh{at / 3, side * h * 13 / 100, h * 63 / 100}, h*36/1000, h*3/100, col, k)
		a.limb(lwh{at / 3, side * h * 13 / 100, h * 63 / 100}, lwh{at, side * h * 12 / 100, h * 47 / 100}, h*3/100, h*22/1000, col.blend(skin, 60), k)
	}
	// The side that is farther from the camera first.
	c := &a.s.cam
	near := int64(1)
	if c.turn(a.t.place(0, 500, 0)).z > c.turn(a.t.place(0, -500, 0)).z {
		near = -1
	}
	foot(-near, -stride)
	arm(-near, stride*7/10)
	foot(near, stride)
	if bag && !a.away() {
		a.limb(lwh{-h * 10 / 100, 0, h * 74 / 100}, lwh{-h * 10 / 100, 0, h * 58 / 100}, h*8/100, h*8/100, one(&a.d, shirts).scale(160), k)
	}
	if coat {
		a.limb(lwh{0, -h * 3 / 100, hip}, lwh{0, -h * 3 / 100, h * 38 / 100}, h*9/100, h*95/1000, shirt, k)
		a.limb(lwh{0, h * 3 / 100, hip}, lwh{0, h * 3 / 100, h * 38 / 100}, h*9/100, h*95/1000, shirt, k)
	}
	a.limb(lwh{0, -h * 45 / 1000, shoulder - h*2/100}, lwh{0, -h * 35 / 1000, hip + h*2/100}, h*75/1000, h*7/100, shirt, k)
	a.limb(lwh{0, h * 45 / 1000, shoulder - h*2/100}, lwh{0, h * 35 / 1000, hip + h*2/100}, h*75/1000, h*7/100, shirt, k)
	a.limb(lwh{0, -h * 9 / 100, shoulder}, lwh{0, h * 9 / 100, shoulder}, h*4/100, h*4/100, shirt, k+14)
	if bag && a.away() {
		a.limb(lwh{-h * 10 / 100, 0, h * 74 / 100}, lwh{-h * 10 / 100, 0, h * 58 / 100}, h*8/100, h*8/100, one(&a.d, shirts).scale(160), k)
	}
	arm(near, -stride*7/10)
	a.head(lwh{h * 1 / 100, 0, h * 925 / 1000}, h*68/1000, skin, hair, k)
}

// head draws a head with its hair, on a neck.
func (a *artist) head(at lwh, r int64, skin, hair tone, k int64) {
	a.limb(lwh{at[0], 0, at[2] - r*14/10}, at, r/2, r/2, skin.scale(230), k)
	a.limb(lwh{at[0], 0, at[2] + r*3/10}, lwh{at[0] - r*3/10, 0, at[2]}, r, r, hair, k)
	if !a.away() || a.acrossView() {
		a.limb(lwh{at[0] + r*3/10, 0, at[2] - r*1/10}, lwh{at[0] + r*3/10, 0, at[2] - r*5/10}, r*8/10, r*6/10, skin, k)
	}
}

// acrossView reports whether the thing shows its side rather than its end.
func (a *artist) acrossView() bool {
	c := &a.s.cam
	f, m := c.turn(a.t.place(1000, 0, 0)), c.turn(a.t.at)
	return (f.x-m.x)*(f.x-m.x) > (f.z-m.z)*(f.z-m.z)
}

func (a *artist) bicycle() {
	skin, hair := one(&a.d, skins), one(&a.d, hairs)
	shirt, legs, frame := one(&a.d, shirts), one(&a.d, trousers), one(&a.d, carColours)
	if a.d.percent(35) {
		hair = one(&a.d, shirts) // a helmet
	}
	k := (a.right() + a.left() + a.front() + a.rear()) / 4
	const r, reach = 340, 530 // of the wheels
	angle := a.t.gone * circle / 4600
	pedal := func(side int64) lwh {
		at := angle + side*circle/4
		return lwh{-60 + 165*cosine(at)/unit, side * 110, 300 + 165*sine(at)/unit}
	}
	leg := func(side int64) {
		p := pedal(side)
		hip := lwh{-190, side * 90, 930}
		knee := lwh{(hip[0]+p[0])/2 + 200, side * 100, (hip[2]+p[2])/2 + 60}
		a.limb(hip, knee, 95, 70, legs, k)
		a.limb(knee, p, 70, 48, legs, k)
		a.limb(p, lwh{p[0] + 130, p[1], p[2] - 10}, 40, 32, rubber, k)
	}
	c := &a.s.cam
	near := int64(1)
	if c.turn(a.t.place(0, 500, 0)).z > c.turn(a.t.place(0, -500, 0)).z {
		near = -1
	}
	leg(-near)
	for _, l := range []int64{-reach, reach} {
		a.ring(l, r)
		// What one sees of a tyre from before and from behind.
		a.limb(lwh{l, 0, 40}, lwh{l, 0, 2*r - 40}, 26, 26, rubber, k)
	}
	axle, seat, bar := lwh{-reach, 0, r}, lwh{-210, 0, 860}, lwh{400, 0, 960}
	crank, fork := lwh{-60, 0, 300}, lwh{reach, 0, r}
	for _, tube := range [][2]lwh{{axle, crank}, {axle, seat}, {crank, seat}, {crank, bar}, {seat, bar}, {bar, fork}} {
		a.limb(tube[0], tube[1], 24, 24, frame, k)
	}
	a.limb(lwh{400, -260, 1010}, lwh{400, 260, 1010}, 22, 22, chassis, k)
	h := a.t.size.h
	shoulder := lwh{150, 0, h * 84 / 100}
	for _, side := range []int64{-near, near} {
		if side == near {
			leg(near)
			a.limb(lwh{-200, -60, 960}, lwh{shoulder[0], -80, shoulder[2]}, 120, 115, shirt, k)
			a.limb(lwh{-200, 60, 960}, lwh{shoulder[0], 80, shoulder[2]}, 120, 115, shirt, k)
		}
		elbow := lwh{shoulder[0] + 90, side * 240, (shoulder[2] + 1010) / 2}
		a.limb(lwh{shoulder[0], side * 170, shoulder[2]}, elbow, 62, 50, shirt.scale(226), k)
		a.limb(elbow, lwh{400, side * 240, 1030}, 48, 36, skin, k)
	}
	a.head(lwh{240, 0, h - 130}, 122, skin, hair, k)
}

// ring draws a wheel in the plane of the thing.
func (a *artist) ring(l, r int64) {
	const steps = 14
	poly := a.buf[:0]
	for _, way := range []int64{1, -1} {
		radius := r
		if way < 0 {
			radius = r - max(52, a.t.near/600) // thin, but never too thin to see
		}
		for i := range int64(steps + 1) {
			angle := way * i * circle / steps
			p, _, ok := a.spot(lwh{l + radius*cosine(angle)/unit, 0, r + radius*sine(angle)/unit})
			if !ok {
				return
			}
			poly = append(poly, p)
		}
	}
	a.c.moving(poly, a.s.light.see(rubber, 256, a.t.near).paint(opaque), a.depth, a.object)
}
