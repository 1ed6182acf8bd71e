package street

// light is a scene's weather and time of day.
type light struct {
	dusk, rain, sunny bool
	ambient           tone  // of which 256 leaves a colour as it is
	haze              tone  // what distance turns colours into
	clear             int64 // distance at which half is haze
	skyTop, skyLow    tone
	sun               int64 // where the sun is: an angle in the street
	sides             [4]int64
	noise             int64 // standard deviation of the sensor's, in 1/16 of a step
	drops             int64 // streaks of rain in a picture
}

func newLight(d *dice) light {
	l := light{ambient: tone{256, 256, 256}, clear: d.between(350, 900) * metre, sun: d.below(circle)}
	l.noise = d.between(16, 72)
	switch {
	case d.percent(duskScenes):
		l.dusk = true
		k := d.between(95, 165)
		l.ambient = tone{k * 98 / 100, k * 98 / 100, k * 112 / 100}
		l.skyTop, l.skyLow = tone{30, 38, 70}.scale(k*2), tone{150, 112, 104}.scale(k*2)
		l.haze = tone{84, 80, 96}.scale(k * 2)
		l.noise += d.between(16, 80)
	case d.percent(overcastScenes):
		l.ambient = tone{225, 230, 240}.scale(d.between(215, 256))
		l.skyTop, l.skyLow = tone{176, 184, 194}, tone{206, 210, 214}
		l.haze = tone{196, 202, 208}
	default:
		l.sunny = true
		l.ambient = tone{270, 262, 246}.scale(d.between(225, 270))
		l.skyTop, l.skyLow = tone{92, 142, 206}, tone{192, 212, 230}
		l.haze = tone{190, 206, 222}
	}
	if d.percent(rainyScenes) {
		l.rain = true
		l.sunny = false
		grey := tone{150, 156, 164}
		if l.dusk {
			grey = grey.scale(110)
		} else {
			l.ambient = l.ambient.tint(tone{196, 202, 214})
		}
		l.skyTop, l.skyLow, l.haze = l.skyTop.blend(grey, 200), l.skyLow.blend(grey, 200), l.haze.blend(grey, 200)
		l.clear = d.between(110, 260) * metre
		l.drops = d.between(150, 700)
	}
	// How bright upright faces are that look right, along, left and back.
	for i := range l.sides {
		l.sides[i] = 205
		if l.sunny {
			l.sides[i] += 62 * cosine(l.sun-int64(i)*circle/4) / unit
		}
	}
	return l
}

// see is a colour as it looks in this light (k of 256 of it) at a distance.
func (l *light) see(t tone, k, z int64) tone {
	t = t.tint(l.ambient).scale(k)
	return t.blend(l.haze, min(z*256/(z+l.clear), 235))
}

// glow is how something that shines looks at a distance.
func (l *light) glow(t tone, z int64) tone {
	return t.blend(l.haze, min(z*128/(z+l.clear), 200))
}

// facing is how bright an upright face is whose outside looks this way.
func (l *light) facing(right, along int64) int64 {
	var sum, weight int64
	for i, d := range [4]int64{right, along, -right, -along} {
		if d > 0 {
			sum += l.sides[i] * d
			weight += d
		}
	}
	return sum / max(weight, 1)
}
