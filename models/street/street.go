package street

import (
	"errors"
	"fmt"
	"time"
)

// Classes are the names of the classes, in their order.
func Classes() []string { return []string{"car", "truck", "bus", "person", "bicycle"} }

func (c Class) String() string { return Classes()[c] }

// The defaults of Options, and their limits. 4:3, because detectors stretch
// the picture to a square, which makes people in wide pictures narrower than
// any net sees; and just above 608 rows, so that every resolution on offer
// still scales down.
const (
	DefaultWidth   = 960
	DefaultHeight  = 720
	DefaultFPS     = 25
	DefaultDensity = 100

	MinSide    = 64
	MaxSide    = 4096
	MaxFPS     = 120
	MaxDensity = 400
)

// What counts as an object to be found; what is seen less is to be ignored:
// neither found nor missed.
const (
	// MinHeight and MinWidth are the least size in 512ths of the picture's.
	MinHeight = 12
	MinWidth  = 3
	// MinVisible is the least share, in percent, that nothing hides and that
	// is in the picture.
	MinVisible = 40
)

// ErrOptions reports options that make no street.
var ErrOptions = errors.New("no such street")

// Options say which street, and how it is filmed. Zero values are the
// defaults, but for Seed.
type Options struct {
	Seed          uint64
	Width, Height int // pixels
	FPS           int // pictures a second
	Density       int // traffic, in percent of the usual
}

func (o Options) complete() (Options, error) {
	if o.Width == 0 && o.Height == 0 {
		o.Width, o.Height = DefaultWidth, DefaultHeight
	}
	if o.FPS == 0 {
		o.FPS = DefaultFPS
	}
	if o.Density == 0 {
		o.Density = DefaultDensity
	}
	switch {
	case o.Width < MinSide || o.Width > MaxSide || o.Height < MinSide || o.Height > MaxSide:
		return o, fmt.Errorf("%w: %d×%d pixels; use %d to %d on either side", ErrOptions, o.Width, o.Height, MinSide, MaxSide)
	case o.FPS < 0 || o.FPS > MaxFPS:
		return o, fmt.Errorf("%w: %d frames a second; use 1 to %d", ErrOptions, o.FPS, MaxFPS)
	case o.Density < 0 || o.Density > MaxDensity:
		return o, fmt.Errorf("%w: density %d; use 1 to %d percent", ErrOptions, o.Density, MaxDensity)
	}
	return o, nil
}

// Street is a camera on a street. It is not safe for concurrent use: make one
// for each goroutine, they show the same.
type Street struct {
	opts    Options
	scene   *scene
	canvas  canvas
	static  []byte // the background; nil until it is needed
	weather weather
}

// New returns the street of the options.
func New(o Options) (*Street, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	n := o.Width * o.Height
	s := &Street{opts: o, scene: newScene(o.Seed, o.Width, o.Height, int64(o.Density))}
	s.canvas = canvas{w: o.Width, h: o.Height, depth: make([]uint16, n), owner: make([]uint16, n), behind: make([]uint16, n)}
	s.weather = newWeather(&s.scene.light, o.Seed)
	return s, nil
}

// Options returns the options with the defaults filled in.
func (s *Street) Options() Options { return s.opts }

// Object is something to be found in a picture.
type Object struct {
	Class Class
	Box   Box
	// Visible is the share that is in the picture and not hidden, 0 to 1.
	Visible float64
	// Ignore says that it is too small or too much hidden: an evaluation
	// counts it neither as missed nor, when it is found, as wrong.
	Ignore bool
}

// Box is where something is, in fractions of the picture: what of it can be
// seen, the parts between included that something narrow hides.
type Box struct{ X, Y, W, H float64 }

// At is when the frame of this number is taken; the first is 1.
func (s *Street) At(seq uint64) time.Duration {
	n := int64(max(seq, 1) - 1)
	fps := int64(s.opts.FPS)
	return time.Duration(n/fps)*time.Second + time.Duration(n%fps)*time.Second/time.Duration(fps)
}

// TruthAt returns what is in the frame of this number, the first being 1: the
// Seq of a frame that the street: source has delivered.
func (s *Street) TruthAt(seq uint64) []Object { return s.Truth(s.At(seq)) }

// RenderAt draws the frame of this number. See Render.
func (s *Street) RenderAt(seq uint64, dst []byte) []Object { return s.Render(s.At(seq), dst) }

// Truth returns what is in the picture at a time, about the farthest first.
func (s *Street) Truth(at time.Duration) []Object {
	s.prepare()
	s.canvas.pix = nil
	return s.objects(at)
}

// Bytes is how long a picture is.
func (s *Street) Bytes() int { return 3 * s.opts.Width * s.opts.Height }

// Render draws the picture at a time into dst, as blue, green and red bytes,
// rows top down, and returns what is in it. dst has a length of Bytes.
func (s *Street) Render(at time.Duration, dst []byte) []Object {
	if len(dst) != s.Bytes() {
		panic(fmt.Sprintf("street: %d bytes for a picture of %d", len(dst), s.Bytes()))
	}
	s.prepare()
	copy(dst, s.static)
	s.canvas.pix = dst
	out := s.objects(at)
	s.weather.fall(&s.canvas, &s.scene.light, s.opts.Seed, at.Microseconds())
	s.canvas.pix = nil
	return out
}

// prepare draws the background, if it isn't yet.
func (s *Street) prepare() {
	if s.static != nil {
		return
	}
	s.static = make([]byte, s.Bytes())
	s.canvas.pix = s.static
	s.scene.backdrop(&s.canvas)
}

// objects draws what moves, and says what is seen of it.
func (s *Street) objects(at time.Duration) []Object {
	things := s.scene.things(at.Microseconds())
	s.canvas.clearObjects(len(things))
	if s.canvas.pix != nil {
		for i := range things {
			s.scene.artist(&s.canvas, &things[i], 0).shadow()
		}
	}
	for i := range things {
		s.scene.artist(&s.canvas, &things[i], i+1).draw()
	}
	var out []Object
	for i := range things {
		if o, ok := s.canvas.object(i + 1); ok {
			o.Class = things[i].class
			out = append(out, o)
		}
	}
	return out
}
