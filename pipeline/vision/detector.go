package vision

import (
	"errors"
	"fmt"
	"image"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"

	"gocv.io/x/gocv"

	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// The conditions that NewDetector reports.
var (
	// ErrModel: the model's files are missing, damaged or not what the
	// catalogue says, or the model does not take the resolution.
	ErrModel = errors.New("model can't be used")
	// ErrBackend: the backend is unknown, or required and not to be had.
	ErrBackend = errors.New("backend can't be used")
)

// DetectorConfig says which detector to load.
type DetectorConfig struct {
	Model      catalog.Model
	Dir        string // of the model's files
	Embedded   fs.FS  // of those that are built into the program; nil: none
	Resolution int    // pixels; one that the model offers
	Backend    tiering.Backend
	Log        *slog.Logger
}

// Detector finds objects in pictures. It is for one goroutine at a time and
// must be closed.
type Detector struct {
	model      catalog.Model
	resolution int
	backend    string
	engine     engine
	canvas     []byte // the picture at the engine's size, used again each time
}

// engine is one kind of detector at one input size.
type engine interface {
	// padded reports whether the input is always square: a picture of another
	// shape is put at its top left and the rest is grey.
	padded() bool
	// detect returns what it finds on a picture of the input size: class,
	// score, and the box in pixels; neither clipped nor thinned out.
	detect(bgr gocv.Mat) ([]pipeline.Detection, error)
	close()
}

// NewDetector loads a detector and tries it once. The error is ErrModel or
// ErrBackend and says what to do.
func NewDetector(cfg DetectorConfig) (*Detector, error) {
	d := &Detector{model: cfg.Model, resolution: cfg.Resolution}
	if err := d.load(cfg); err != nil {
		d.free()
		return nil, fmt.Errorf("model %s at %d: %w", cfg.Model.Name, cfg.Resolution, err)
	}
	cfg.Log.Info("detector loaded", "model", cfg.Model.Name, "resolution", cfg.Resolution,
		"backend", d.backend, "opencv", OpenCVVersion(), "threads", Threads())
	return d, nil
}

func (d *Detector) load(cfg DetectorConfig) error {
	if !cfg.Model.Offers(cfg.Resolution) {
		return fmt.Errorf("%w: it does not offer %d; it offers %s",
			ErrModel, cfg.Resolution, list(cfg.Model.Resolutions))
	}
	if cfg.Model.Fit != tiering.Stretch && cfg.Model.Fit != tiering.Letterbox {
		return fmt.Errorf("%w: unknown fit %q: use stretch or letterbox", ErrModel, cfg.Model.Fit)
	}
	if err := checkBackend(cfg.Backend.Name); err != nil {
		return err
	}
	// On the CPU first: what fails there is the model's fault.
	if err := d.start(cfg, backendCPU); err != nil {
		return fmt.Errorf("%w: %w", ErrModel, err)
	}
	if cfg.Backend.Name != backendCUDA {
		return nil
	}
	why := cudaUnusable(cfg.Model.Format)
	if why == nil {
		if why = d.start(cfg, backendCUDA); why == nil {
			return nil
		}
	}
	if cfg.Backend.Required {
		return fmt.Errorf("%w: cuda is required, but %w", ErrBackend, why)
	}
	if d.backend != backendCPU {
		if err := d.start(cfg, backendCPU); err != nil {
			return fmt.Errorf("%w: %w", ErrModel, err)
		}
	}
	cfg.Log.Warn("detector runs on another backend than asked for", "model", cfg.Model.Name,
		"asked", cfg.Backend.Name, "effective", d.backend, "reason", why)
	return nil
}

// start makes the engine and tries it on a synthetic picture.
func (d *Detector) start(cfg DetectorConfig, backend string) error {
	d.free()
	d.backend = backend
	var err error
	switch cfg.Model.Format {
	case catalog.HOG:
		d.engine, err = newHOG(cfg.Model)
	case catalog.Darknet:
		d.engine, err = newYOLO(cfg, backend)
	case catalog.ONNX:
		d.engine, err = newYOLOX(cfg, backend)
	default:
		err = fmt.Errorf("unknown format %q", cfg.Model.Format)
	}
	if err != nil {
		return err
	}
	if _, err := d.detect(testCard(cfg.Resolution)); err != nil {
		return fmt.Errorf("it fails on a test picture: %w", err)
	}
	return nil
}

// Model is the name of the model.
func (d *Detector) Model() string { return d.model.Name }

// Backend is what the detector really runs on: "cpu" or "cuda".
func (d *Detector) Backend() string { return d.backend }

// Close frees the detector; it may be called more than once.
func (d *Detector) Close() error {
	d.free()
	return nil
}

func (d *Detector) free() {
	if d.engine != nil {
		d.engine.close()
		d.engine = nil
	}
}

// Detect returns the objects in a picture of any size and format, the surest
// first, with boxes in fractions of it. A picture that can't be read is
// pipeline.ErrMalformed or pipeline.ErrOversized.
func (d *Detector) Detect(img pipeline.Image) ([]pipeline.Detection, error) {
	if d.engine == nil {
		return nil, pipeline.ErrClosed
	}
	found, err := d.detect(img)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", d.model.Name, err)
	}
	return found, nil
}

func (d *Detector) detect(img pipeline.Image) ([]pipeline.Detection, error) {
	img, err := Codec{}.Decode(img)
	if err != nil {
		return nil, err
	}
	src, err := view(img.Data, img.Width, img.Height)
	if err != nil {
		return nil, err
	}
	defer src.close()

	w, h := fitted(img.Width, img.Height, d.resolution, d.model.Fit)
	input := src
	if n := d.resolution; d.engine.padded() && (w != n || h != n) {
		input, err = d.pad(src, w, h, n)
	} else if w != img.Width || h != img.Height {
		input, err = d.scale(src, w, h)
	}
	if err != nil {
		return nil, err
	}
	if input != src {
		defer input.close()
	}
	found, err := d.engine.detect(input.Mat)
	if err != nil {
		return nil, err
	}
	return finish(found, w, h, d.model), nil
}

// scale brings src to w × h on the canvas.
func (d *Detector) scale(src *pixels, w, h int) (*pixels, error) {
	d.canvas = grow(d.canvas, w*h*3)
	dst, err := view(d.canvas, w, h)
	if err != nil {
		return nil, err
	}
	resizeTo(src.Mat, &dst.Mat, w, h)
	return dst, nil
}

// pad brings src to w × h at the top left of an n × n canvas, the rest of
// which has the grey that YOLOX was trained with.
func (d *Detector) pad(src *pixels, w, h, n int) (*pixels, error) {
	d.canvas = grow(d.canvas, n*n*3)
	dst, err := view(d.canvas, n, n)
	if err != nil {
		return nil, err
	}
	dst.SetTo(gocv.NewScalar(114, 114, 114, 0))
	at := dst.Region(image.Rect(0, 0, w, h))
	defer at.Close()
	resizeTo(src.Mat, &at, w, h)
	return dst, nil
}

// grow returns b with the length n, its content undefined.
func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

// testCard is a picture with gradients and edges.
func testCard(side int) pipeline.Image {
	data := make([]byte, 0, side*side*3)
	for y := range side {
		for x := range side {
			data = append(data, byte(x), byte(y), byte(x/32^y/32)*16)
		}
	}
	return pipeline.Image{Format: pipeline.BGR, Width: side, Height: side, Data: data}
}

// list formats numbers for people: "320, 416 and 512".
func list(numbers []int) string {
	var s []string
	for _, n := range numbers {
		s = append(s, strconv.Itoa(n))
	}
	if len(s) < 2 {
		return strings.Join(s, "")
	}
	return strings.Join(s[:len(s)-1], ", ") + " and " + s[len(s)-1]
}
