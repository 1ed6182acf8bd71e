package sourceuri

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/models/street"
)

// ErrInvalid reports a URI that names no source of frames.
var ErrInvalid = errors.New("invalid source URI")

// Scheme is the kind of a source.
type Scheme string

// The schemes.
const (
	Video     Scheme = "video"
	Images    Scheme = "images"
	RTSP      Scheme = "rtsp"
	RTSPS     Scheme = "rtsps"
	HTTP      Scheme = "http"
	HTTPS     Scheme = "https"
	V4L2      Scheme = "v4l2"
	VideoTest Scheme = "videotest"
	Street    Scheme = "street"
	MQTT      Scheme = "mqtt"
)

const (
	usage   = "use video:PATH, images:DIR, rtsp://…, http(s)://…, v4l2:DEVICE, videotest:, street: or mqtt:TOPIC"
	maxSide = 16384 // pixels
)

// Options are what a URI's query says. The zero Options are the defaults.
type Options struct {
	Loop   bool          // start again at the end
	Start  time.Duration // begin there
	Width  int           // pixels; 0: the device's own
	Height int           // pixels; 0: the device's own

	// Labels is a file of class names: what is in the pictures is in the directory
	// labels beside theirs, in YOLO's form.
	Labels string

	Seed    uint64 // which street
	FPS     int    // frames a second of the street's camera; 0: its own
	Density int    // traffic in percent of the usual; 0: the usual
}

// Spec is a parsed URI.
type Spec struct {
	Scheme Scheme
	Path   string // file, directory, device or topic; empty for network URLs and videotest
	URL    string // rtsp(s) and http(s) only, with credentials
	Options
}

// Network reports whether frames come from a URL.
func (s Spec) Network() bool { return s.URL != "" }

// StreetOptions say which street a street: URI shows.
func (s Spec) StreetOptions() street.Options {
	return street.Options{Seed: s.Seed, Width: s.Width, Height: s.Height, FPS: s.FPS, Density: s.Density}
}

// String returns the URI without the password that it may have.
func (s Spec) String() string {
	if s.Network() {
		u, err := url.Parse(s.URL)
		if err != nil {
			return string(s.Scheme) + "://…"
		}
		return u.Redacted()
	}
	q := url.Values{}
	if s.Loop {
		q.Set("loop", "true")
	}
	if s.Labels != "" {
		q.Set("labels", s.Labels)
	}
	if s.Start > 0 {
		q.Set("start", s.Start.String())
	}
	if s.Width > 0 {
		q.Set("width", strconv.Itoa(s.Width))
	}
	if s.Height > 0 {
		q.Set("height", strconv.Itoa(s.Height))
	}
	if s.Seed > 0 {
		q.Set("seed", strconv.FormatUint(s.Seed, 10))
	}
	if s.FPS > 0 {
		q.Set("fps", strconv.Itoa(s.FPS))
	}
	if s.Density > 0 {
		q.Set("density", strconv.Itoa(s.Density))
	}
	if len(q) == 0 {
		return string(s.Scheme) + ":" + s.Path
	}
	return string(s.Scheme) + ":" + s.Path + "?" + q.Encode()
}

// Parse reads a URI; the error wraps ErrInvalid and says what would be right.
func Parse(uri string) (Spec, error) {
	scheme, rest, ok := strings.Cut(uri, ":")
	if !ok {
		return Spec{}, fmt.Errorf("%w: %q has no scheme; %s", ErrInvalid, uri, usage)
	}
	if i := strings.IndexFunc(uri, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		return Spec{}, fmt.Errorf("%w: control character at byte %d", ErrInvalid, i)
	}
	s := Spec{Scheme: Scheme(scheme)}
	switch s.Scheme {
	case RTSP, RTSPS, HTTP, HTTPS:
		return s.network(uri)
	case Video:
		return s.local(rest, "a file, such as video:street.mp4", "loop", "start")
	case Images:
		return s.local(rest, "a directory, such as images:pictures", "loop", "labels")
	case V4L2:
		return s.local(rest, "a device, such as v4l2:/dev/video0", "width", "height")
	case VideoTest:
		return s.local(rest, "", "width", "height")
	case Street:
		return s.local(rest, "", "seed", "fps", "width", "height", "density")
	case MQTT:
		return s.topic(rest)
	}
	return Spec{}, fmt.Errorf("%w: unknown scheme %q; %s", ErrInvalid, scheme, usage)
}

func (s Spec) network(uri string) (Spec, error) {
	u, err := url.Parse(uri)
	if err != nil {
		// url.Error repeats the URI, which may hold a password.
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return Spec{}, fmt.Errorf("%w: %w; write %s://host/path", ErrInvalid, err, s.Scheme)
	}
	if u.Hostname() == "" {
		return Spec{}, fmt.Errorf("%w: no host; write %s://host/path", ErrInvalid, s.Scheme)
	}
	s.URL = uri
	return s, nil
}

// local reads PATH?options; want says what the path is, empty for none.
func (s Spec) local(rest, want string, options ...string) (Spec, error) {
	path, query, _ := strings.Cut(rest, "?")
	if want == "" && path != "" {
		return Spec{}, fmt.Errorf("%w: %q after %s:, which takes only options", ErrInvalid, path, s.Scheme)
	}
	if want != "" && strings.TrimSpace(path) == "" {
		return Spec{}, fmt.Errorf("%w: %s: names %s", ErrInvalid, s.Scheme, want)
	}
	s.Path = path
	values, err := url.ParseQuery(query)
	if err != nil {
		return Spec{}, fmt.Errorf("%w: options %q: %w", ErrInvalid, query, err)
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(options, key) {
			return Spec{}, fmt.Errorf("%w: %s: has no option %q; it takes %s", ErrInvalid, s.Scheme, key, list(options))
		}
		if len(values[key]) > 1 {
			return Spec{}, fmt.Errorf("%w: option %q is given twice", ErrInvalid, key)
		}
		if err := s.set(key, values[key][0]); err != nil {
			return Spec{}, err
		}
	}
	if (s.Width == 0) != (s.Height == 0) {
		return Spec{}, fmt.Errorf("%w: give both width and height, or neither", ErrInvalid)
	}
	return s, nil
}

func (s *Spec) set(key, value string) error {
	bad := func(want string) error {
		return fmt.Errorf("%w: option %s=%s: want %s", ErrInvalid, key, value, want)
	}
	switch key {
	case "loop":
		if value != "true" && value != "false" {
			return bad("true or false")
		}
		s.Loop = value == "true"
	case "start":
		d, err := time.ParseDuration(value)
		if err != nil || d < 0 {
			return bad("a duration such as 40s or 1m30s")
		}
		s.Start = d
	case "labels":
		if strings.TrimSpace(value) == "" {
			return bad("a file with the names of the classes, such as coco.names")
		}
		s.Labels = value
	case "width":
		return s.side(&s.Width, value, bad)
	case "height":
		return s.side(&s.Height, value, bad)
	case "seed":
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return bad("a whole number from 0, such as 7")
		}
		s.Seed = n
	case "fps":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > street.MaxFPS {
			return bad(fmt.Sprintf("a whole number of frames a second, 1 to %d", street.MaxFPS))
		}
		s.FPS = n
	case "density":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > street.MaxDensity {
			return bad(fmt.Sprintf("1 to %d percent of the usual traffic", street.MaxDensity))
		}
		s.Density = n
	}
	return nil
}

// side reads a picture's width or height.
func (s *Spec) side(to *int, value string, bad func(want string) error) error {
	least, most := 1, maxSide
	if s.Scheme == Street {
		least, most = street.MinSide, street.MaxSide
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > most {
		return bad(fmt.Sprintf("%d to %d pixels", least, most))
	}
	*to = n
	return nil
}

// list writes a, b and c.
func list(words []string) string {
	last := len(words) - 1
	if last == 0 {
		return words[0]
	}
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

func (s Spec) topic(topic string) (Spec, error) {
	const most = 65535 // MQTT 3.1.1, section 1.5.3
	if topic == "" || len(topic) > most || strings.ContainsAny(topic, "+#") {
		return Spec{}, fmt.Errorf("%w: mqtt: names one topic, such as mqtt:cameras/gate, without the wildcards + and #", ErrInvalid)
	}
	s.Path = topic
	return s, nil
}
