package street

// How large people are where a street goes out of sight, in 512ths of the
// picture's height: the main choice of how small the objects get, since a
// street's traffic is spread evenly over its length.
const (
	farPersonLeast = 9
	farPersonMost  = 22
)

// How high the camera is, in millimetres. The higher, the smaller are the
// nearest objects, and the less the objects hide each other.
const (
	cameraLow  = 5500
	cameraHigh = 12000
)

// How a scene's traffic is chosen, in percent of scenes.
const (
	emptyScenes = 10
	quietScenes = 25
	busyScenes  = 25
	parkedCars  = 30
)

// How the light is chosen, in percent of scenes.
const (
	duskScenes     = 28
	overcastScenes = 40 // of those by day
	rainyScenes    = 25
)

// Lengths, in millimetres.
const (
	metre     = 1000
	laneWidth = 3300

	parkingWidth = 2300
	cycleWidth   = 1000 // room for bicycles beside the lanes
	person       = 1750 // a usual one's height
	laneBehind   = 16 * metre
	laneBeyond   = 34 * metre // past the crest

	houseDepth  = 11 * metre
	behindWalls = houseDepth + metre // where nobody sees people set out
)

// use is what moves on a path.
type use uint8

const (
	motor use = iota
	cycling
	walking
	parked
)

// path is a straight way on which objects of one kind go one after another.
type path struct {
	id       uint64
	from     ground
	length   int64
	fr, fa   int64 // direction: to the right and along, in 1/unit
	use      use
	speed    int64 // mm/s; on roads everybody's, so that nobody drives through another
	gap      int64 // between two that may set out, µs
	presence int64 // how many of them do, percent
	spread   int64 // to either side
}

// band is a strip of ground along the street.
type band struct {
	from, to int64
	col      tone
}

// scene is all that a seed decides and that stays.
type scene struct {
	seed    uint64
	cam     camera
	light   light
	bands   []band
	paths   []path
	road    [2]int64 // its edges
	kerbs   [2]int64 // where the pavements begin: farther out than the road with cars parked between
	lanes   []int64  // where its lanes' edges are
	walls   [2]int64 // where the houses begin
	cross   int64    // where another street crosses; 0: nowhere
	crossBy int64    // half its width
	plaza   bool     // open ground before the street
	end     int64    // of the street, past the crest
}

// newScene decides what the street is like.
func newScene(seed uint64, w, h int, density int64) *scene {
	d := roll(seed, 1)
	s := &scene{seed: seed}
	s.place(d, int64(w), int64(h))
	s.light = newLight(d)
	s.layOut(d)
	s.populate(d, density)
	return s
}

// place puts up the camera.
func (s *scene) place(d *dice, w, h int64) {
	c := &s.cam
	c.w, c.h = w, h
	c.focal = h * sub * d.between(100, 165) / 100
	c.centre = w * sub * d.between(35, 65) / 100
	c.horizon = h * sub * d.between(14, 30) / 100
	c.height = d.between(cameraLow, cameraHigh)
	angle := d.between(-circle*18/360, circle*18/360)
	switch k := d.below(100); {
	case k < 18: // across
		s.plaza = true
		angle = d.between(circle*62/360, circle*118/360)
		c.height += 2 * metre
		c.horizon = h * sub * d.between(10, 24) / 100
	case k < 32: // aslant
		s.plaza = true
		angle = d.between(circle*25/360, circle*55/360)
	}
	if d.percent(50) {
		angle = -angle
	}
	c.sin, c.cos = sine(angle), cosine(angle)
	smallest := d.between(farPersonLeast*256, farPersonMost*256)
	if most := int64(farPersonMost * 256); d.percent(50) {
		// More of the long streets than of the short ones.
		smallest = min(smallest, d.between(farPersonLeast*256, most))
	}
	c.crest = c.focal * person / sub * 512 * 256 / (smallest * h)
	c.fall = 55 * metre
	s.end = c.crest + laneBeyond
}

// layOut decides where road, pavements and houses are.
func (s *scene) layOut(d *dice) {
	lanes := d.between(2, 4)
	half := lanes * laneWidth / 2
	s.road = [2]int64{-half - cycleWidth, half + cycleWidth}
	for i := range lanes + 1 {
		s.lanes = append(s.lanes, -half+i*laneWidth)
	}
	s.kerbs = s.road
	for side := range s.kerbs {
		if d.percent(parkedCars) {
			s.kerbs[side] += int64(2*side-1) * parkingWidth
		}
	}
	s.walls = [2]int64{s.kerbs[0] - d.between(2500, 5500), s.kerbs[1] + d.between(2500, 5500)}
	asphalt := tone{92, 93, 97}.scale(d.between(190, 300))
	stone := one(d, []tone{{168, 164, 156}, {150, 148, 146}, {176, 160, 146}, {140, 142, 148}}).scale(d.between(200, 270))
	grass := one(d, []tone{{96, 118, 66}, {110, 122, 78}, stone, stone})
	s.cam.right = d.between(s.walls[0]+2300, s.walls[1]-2300)
	if s.plaza {
		// The camera stands on one side, with open ground between.
		open := d.between(9*metre, 38*metre)
		if s.cam.sin < 0 { // it looks to the left, so it is on the right
			s.walls[1] += open
			s.cam.right = s.walls[1] - 2*metre
		} else {
			s.walls[0] -= open
			s.cam.right = s.walls[0] + 2*metre
		}
	}
	const verge = 900
	kerb := stone.scale(285)
	s.bands = []band{
		{s.walls[0] - 60*metre, s.walls[0], grass},
		{s.walls[0], s.kerbs[0], stone},
		{s.kerbs[0] - 250, s.kerbs[0], kerb},
		{s.kerbs[0], s.kerbs[1], asphalt},
		{s.kerbs[1], s.kerbs[1] + 250, kerb},
		{s.kerbs[1] + 250, s.walls[1], stone},
		{s.walls[1], s.walls[1] + 60*metre, grass},
	}
	if d.percent(25) {
		s.bands = append(s.bands, band{s.kerbs[0] - 250 - verge, s.kerbs[0] - 250, tone{88, 116, 64}})
	}
	if d.percent(62) {
		s.crossBy = d.between(1, 2) * laneWidth
		s.cross = d.between(s.cam.crest*22/100, s.cam.crest*85/100)
		if s.plaza {
			s.cross = d.between(-10*metre, 30*metre)
		}
	}
}

// populate decides what goes where.
func (s *scene) populate(d *dice, density int64) {
	presence, walkers := int64(46), int64(50)
	switch k := d.below(100); {
	case k < emptyScenes:
		presence, walkers = 0, 0
	case k < emptyScenes+quietScenes:
		presence, walkers = d.between(8, 22), d.between(4, 22)
	case k >= 100-busyScenes:
		presence, walkers = d.between(55, 78), d.between(60, 85)
	}
	presence, walkers = min(presence*density/100, 100), min(walkers*density/100, 100)
	keepRight := int64(1)
	if d.percent(30) {
		keepRight = -1
	}
	add := func(p path, to ground) {
		p.id = uint64(len(s.paths) + 1)
		dr, da := to.right-p.from.right, to.along-p.from.along
		p.length = root(dr*dr + da*da)
		p.fr, p.fa = dr*unit/p.length, da*unit/p.length
		s.paths = append(s.paths, p)
	}
	begin, end := int64(-laneBehind), s.end
	if s.plaza {
		begin, end = -s.end, s.end
	}
	for i := range s.lanes[1:] {
		at := (s.lanes[i] + s.lanes[i+1]) / 2
		p := path{use: motor, speed: d.between(7*metre, 13*metre), gap: d.between(2600, 5200) * 1000, presence: presence}
		if at*keepRight > 0 {
			p.from = ground{right: at, along: begin}
			add(p, ground{right: at, along: end})
		} else {
			p.from = ground{right: at, along: end}
			add(p, ground{right: at, along: begin})
		}
	}
	for side := range 2 {
		out := int64(2*side - 1) // away from the road
		kerb := s.kerbs[side]
		if kerb != s.road[side] && presence > 0 {
			at := kerb - out*parkingWidth/2
			add(path{use: parked, gap: 6800, presence: presence, from: ground{right: at, along: begin}}, ground{right: at, along: end})
		}
		bike := s.road[side] - out*cycleWidth/2
		p := path{use: cycling, speed: 4200, gap: 9_000_000, presence: presence * 85 / 100, spread: 150, from: ground{right: bike, along: begin}}
		if out*keepRight > 0 {
			add(p, ground{right: bike, along: end})
		} else {
			p.from.along = end
			add(p, ground{right: bike, along: begin})
		}
		width := out*s.walls[side] - out*kerb
		wide := min(width, 5*metre)
		for way := range 2 {
			at := kerb + out*(wide*int64(way+1)/3+200)
			p := path{use: walking, speed: 1300, gap: d.between(7, 14) * 1_000_000, presence: walkers, spread: wide / 6, from: ground{right: at, along: begin}}
			if way == 0 {
				add(p, ground{right: at, along: end})
			} else {
				p.from.along = end
				add(p, ground{right: at, along: begin})
			}
		}
		if width > 7*metre {
			s.square(d, add, side, walkers)
		}
	}
	if s.cross != 0 {
		s.crossing(d, add, presence, walkers, keepRight)
	}
	// People also cross the road, at places of their own.
	for range d.between(1, 3) {
		at := d.between(14*metre, max(s.cam.crest*9/10, 15*metre))
		if s.plaza {
			at = d.between(-20*metre, 20*metre)
		}
		from, to := ground{right: s.walls[0] - behindWalls, along: at}, ground{right: s.walls[1] + behindWalls, along: at + d.between(-2*metre, 2*metre)}
		if d.percent(50) {
			from, to = to, from
		}
		add(path{use: walking, speed: 1350, gap: 9_000_000, presence: walkers * 80 / 100, spread: 900, from: from}, to)
	}
}

// square lets people walk about on open ground.
func (s *scene) square(d *dice, add func(path, ground), side int, walkers int64) {
	near, away := s.kerbs[side], s.walls[side]
	for range d.between(3, 6) {
		from := ground{right: (near*3 + away) / 4, along: -s.end}
		to := ground{right: away, along: s.end}
		from.right = d.between(min(near, away), max(near, away))
		to.right = d.between(min(near, away), max(near, away))
		if d.percent(50) {
			from, to = to, from
		}
		use, speed, gap := walking, int64(1350), d.between(8, 16)*1_000_000
		if d.percent(20) {
			use, speed = cycling, 3600
		}
		add(path{use: use, speed: speed, gap: gap, presence: walkers, spread: 1500, from: from}, to)
	}
}

// crossing lets traffic and people cross the street.
func (s *scene) crossing(d *dice, add func(path, ground), presence, walkers, keepRight int64) {
	reach := s.cross*6/5 + 45*metre
	if s.plaza {
		reach = s.end
	}
	for side := int64(-1); side <= 1; side += 2 {
		from, to := ground{right: -reach, along: s.cross - side*keepRight*s.crossBy/2}, ground{right: reach, along: s.cross - side*keepRight*s.crossBy/2}
		if side < 0 {
			from.right, to.right = reach, -reach
		}
		add(path{use: motor, speed: d.between(7*metre, 11*metre), gap: d.between(2800, 4600) * 1000, presence: presence, from: from}, to)
		off := side * (s.crossBy + 1500)
		from.along, to.along = s.cross+off, s.cross+off
		add(path{use: walking, speed: 1300, gap: d.between(7, 12) * 1_000_000, presence: walkers, spread: 700, from: from}, to)
		if d.percent(50) {
			off = side * (s.crossBy - 700)
			from.along, to.along = s.cross+off, s.cross+off
			add(path{use: cycling, speed: 4300, gap: 11_000_000, presence: walkers, spread: 200, from: from}, to)
		}
	}
}
