package street

// weather is what falls before the lens and what its sensor adds: rain and
// noise, anew in every picture.
type weather struct {
	noise []int8 // a stretch of the sensor's noise, read from anywhere
	clamp [3 * 256]byte
}

const noiseLength = 1 << 16

func newWeather(l *light, seed uint64) weather {
	w := weather{noise: make([]int8, noiseLength+1<<13)}
	d := roll(seed, 5)
	// The sum of three is close to normal; its deviation is that of one times
	// the root of three.
	var x uint64
	for i := range w.noise {
		if i%4 == 0 {
			x = d.pcg.Uint64()
		}
		v := int64(x&31) + int64(x>>5&31) + int64(x>>10&31) - 46
		x >>= 16
		w.noise[i] = int8(min(max(v*l.noise/256, -127), 127))
	}
	for i := range w.clamp {
		w.clamp[i] = uint8(min(max(i-256, 0), 255))
	}
	return w
}

// fall adds the weather of a moment to a picture.
func (w *weather) fall(c *canvas, l *light, seed uint64, at int64) {
	d := roll(seed, 6, uint64(at))
	if l.drops > 0 {
		w.rain(c, l, d)
	}
	for y := range c.h {
		row := c.pix[3*y*c.w:][:3*c.w]
		for len(row) > 0 {
			from := d.below(noiseLength)
			n := min(len(row), 1<<12)
			part, noise := row[:n], w.noise[from:][:n]
			for i, v := range noise {
				part[i] = w.clamp[256+int(part[i])+int(v)]
			}
			row = row[n:]
		}
	}
}

// rain draws streaks, the nearer ones longer.
func (w *weather) rain(c *canvas, l *light, d *dice) {
	width, height := int64(c.w)*sub, int64(c.h)*sub
	slant := d.between(-10, 10) // of a hundred
	col := l.skyLow.blend(tone{230, 234, 240}, 110).scale(230)
	if l.dusk {
		col = col.scale(200)
	}
	var buf [4]point
	for range l.drops {
		x, y := d.below(width), d.below(height)
		long := height * d.between(8, 60) / 1000
		thick := max(height*d.between(6, 18)/10000, sub/2)
		dx := long * slant / 100
		poly := append(buf[:0], point{x, y}, point{x + thick, y}, point{x + thick + dx, y + long}, point{x + dx, y + long})
		if !c.raster.begin(poly, c.w, c.h) {
			continue
		}
		p := col.paint(d.between(24, 84))
		for r := range c.raster.height {
			skip, cover := c.raster.row(r)
			blendRow(c.pix[3*((c.raster.top+r)*c.w+c.raster.left+skip):], cover, p)
		}
	}
}
