package main

import "math"

// linear resizes as OpenCV's INTER_LINEAR does for bytes: two pixels either
// way, weights of 11 bits, nothing averaged.
type linear struct {
	sw, sh, dw, dh int
	x, y           []tap
	rows           [2][]int32
	held           [2]int // which rows of the source these are
}

// tap is the first of two neighbours, and the weights of both, in 1/2048.
type tap struct {
	at   int
	a, b int32
}

func newLinear(sw, sh, dw, dh int) *linear {
	l := &linear{sw: sw, sh: sh, dw: dw, dh: dh, x: taps(sw, dw), y: taps(sh, dh), held: [2]int{-1, -1}}
	for i := range l.rows {
		l.rows[i] = make([]int32, 3*dw)
	}
	return l
}

func taps(from, to int) []tap {
	out := make([]tap, to)
	scale := float64(from) / float64(to)
	for i := range out {
		f := float32((float64(i)+0.5)*scale - 0.5)
		at := int(math.Floor(float64(f)))
		f -= float32(at)
		if at < 0 {
			at, f = 0, 0
		}
		if at >= from-1 {
			at, f = from-1, 0
		}
		out[i] = tap{at, int32(math.RoundToEven(float64((1 - f) * 2048))), int32(math.RoundToEven(float64(f * 2048)))}
	}
	return out
}

// to fills dst with the resized src.
func (l *linear) to(dst, src []byte) {
	if l.sw == l.dw && l.sh == l.dh {
		copy(dst, src)
		return
	}
	l.held = [2]int{-1, -1}
	for y, t := range l.y {
		upper, lower := l.row(src, t.at), l.row(src, min(t.at+1, l.sh-1))
		out := dst[3*y*l.dw:][:3*l.dw]
		for i := range out {
			out[i] = uint8((t.a*(upper[i]>>4)>>16 + t.b*(lower[i]>>4)>>16 + 2) >> 2)
		}
	}
}

// row returns a row of the source, resized in width.
func (l *linear) row(src []byte, y int) []int32 {
	slot := y & 1
	if l.held[slot] == y {
		return l.rows[slot]
	}
	l.held[slot] = y
	row, out := src[3*y*l.sw:][:3*l.sw], l.rows[slot]
	for i, t := range l.x {
		next := min(t.at+1, l.sw-1)
		for k := range 3 {
			out[3*i+k] = int32(row[3*t.at+k])*t.a + int32(row[3*next+k])*t.b
		}
	}
	return out
}
