package street

// Class is what an object is; its value is its place in Classes.
type Class uint8

// The classes.
const (
	Car Class = iota
	Truck
	Bus
	Person
	Bicycle // with its rider, who is not a person of their own
)

// thing is an object at a moment.
type thing struct {
	class  Class
	at     ground // the middle of its foot
	fr, fa int64  // which way it faces
	gone   int64  // how far it has come, which moves legs and wheels
	look   dice   // as it was at first: looks are decided whenever it is drawn
	halted bool
	size   extent
	near   int64 // distance of its nearest part
	lo, hi point // where it is in the picture, about
}

// extent is a thing's length, width and height in millimetres.
type extent struct{ l, w, h int64 }

// things are the objects of a moment, in µs, those that may be hidden first.
func (s *scene) things(at int64) []thing {
	var out []thing
	for i := range s.paths {
		out = s.on(&s.paths[i], at, out)
	}
	seen := out[:0]
	for _, t := range out {
		if s.inView(&t) {
			seen = append(seen, t)
		}
	}
	return s.order(seen)
}

// on adds what is on the path.
func (s *scene) on(p *path, at int64, out []thing) []thing {
	if p.presence == 0 {
		return out
	}
	if p.use == parked {
		for k := range p.length / p.gap {
			d := roll(s.seed, 2, p.id, uint64(k))
			if d.percent(p.presence) {
				out = append(out, s.thing(p, d, k*p.gap+d.between(0, 600)))
			}
		}
		return out
	}
	// Slow ones are at least three quarters as fast as the path's speed.
	longest := p.length * 1_000_000 / (p.speed * 3 / 4)
	for k := floor(at-longest, p.gap) - 1; k <= floor(at, p.gap); k++ {
		d := roll(s.seed, 2, p.id, uint64(k))
		if !d.percent(p.presence) {
			continue
		}
		set := k*p.gap + d.below(p.gap/4)
		speed := p.speed
		if p.use != motor {
			speed = speed * d.between(78, 130) / 100
		}
		gone := at - set
		if gone < 0 {
			continue
		}
		gone = gone * speed / 1_000_000
		if gone < p.length {
			out = append(out, s.thing(p, d, gone))
		}
	}
	return out
}

func floor(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// thing makes what has come this far on a path.
func (s *scene) thing(p *path, d *dice, gone int64) thing {
	t := thing{fr: p.fr, fa: p.fa, gone: gone}
	aside := int64(0)
	if p.spread > 0 {
		aside = d.between(-p.spread, p.spread)
	}
	t.at = ground{
		right: p.from.right + (p.fr*gone+p.fa*aside)/unit,
		along: p.from.along + (p.fa*gone-p.fr*aside)/unit,
	}
	switch p.use {
	case walking:
		t.class, t.size = Person, extent{l: 600, w: 500, h: d.between(1560, 1900)}
		if d.percent(10) {
			t.size.h = d.between(1100, 1400)
		}
	case cycling:
		t.class, t.size = Bicycle, extent{l: 1750, w: 560, h: d.between(1640, 1800)}
	case parked:
		t.class, t.halted = Car, true
		t.size = extent{d.between(3700, 4700), d.between(1680, 1880), d.between(1420, 1680)}
	case motor:
		switch k := d.below(100); {
		case k < 58:
			t.class, t.size = Car, extent{d.between(3700, 4900), d.between(1680, 1900), d.between(1400, 1750)}
		case k < 80:
			t.class, t.size = Truck, extent{d.between(5800, 9200), d.between(2200, 2500), d.between(2900, 3700)}
		default:
			t.class, t.size = Bus, extent{d.between(9800, 12500), d.between(2480, 2550), d.between(2950, 3250)}
		}
	}
	t.look = *d
	return t
}

// corners are those of the box around a thing.
func (t *thing) corners() [8]ground {
	var out [8]ground
	for i := range out {
		l, w, h := t.size.l/2, t.size.w/2, int64(0)
		if i&1 > 0 {
			l = -l
		}
		if i&2 > 0 {
			w = -w
		}
		if i&4 > 0 {
			h = t.size.h
		}
		out[i] = t.place(l, w, h)
	}
	return out
}

// place is where a point of a thing is in the street: so far to its front, to
// its right, and up.
func (t *thing) place(l, w, h int64) ground {
	return ground{
		right: t.at.right + (l*t.fr+w*t.fa)/unit,
		along: t.at.along + (l*t.fa-w*t.fr)/unit,
		up:    h,
	}
}

// inView reports whether a thing may be in the picture, and sets its distance.
func (s *scene) inView(t *thing) bool {
	c := &s.cam
	first := true
	var lo, hi point
	for _, g := range t.corners() {
		v := c.turn(g)
		if first || v.z < t.near {
			t.near = v.z
		}
		v.z = max(v.z, nearest)
		p := c.project(v)
		if first {
			lo, hi = p, p
		}
		first = false
		lo, hi = point{min(lo.x, p.x), min(lo.y, p.y)}, point{max(hi.x, p.x), max(hi.y, p.y)}
	}
	t.near, t.lo, t.hi = max(t.near, nearest), lo, hi
	return hi.x > 0 && lo.x < c.w*sub && hi.y > 0 && lo.y < c.h*sub && s.ahead(t)
}

// ahead reports whether any part of a thing is before the camera.
func (s *scene) ahead(t *thing) bool {
	v := s.cam.turn(t.at)
	return v.z > nearest-t.size.l/2 && v.y > -14*metre
}
