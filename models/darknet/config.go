package darknet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Config is a darknet .cfg file: [net], then the layers in order.
type Config struct{ sections []section }

type section struct {
	kind string
	line int
	keys []string // in the order of the file
	vals map[string]string
}

// HeadSize is how much of a weights file says how long its head is, in bytes.
const HeadSize = 8

// The limits of a number in a config and of the weights it asks for, far above
// those of any real network.
const (
	maxNumber  = 1 << 20
	maxWeights = 1 << 31
)

// Parse reads a config.
func Parse(text []byte) (*Config, error) {
	c := &Config{}
	n := 0
	for raw := range bytes.Lines(text) {
		n++
		line := strings.Join(strings.Fields(string(raw)), "")
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[':
			kind, ok := strings.CutSuffix(line[1:], "]")
			if !ok {
				return nil, fmt.Errorf("line %d: %q lacks its closing bracket", n, line)
			}
			c.sections = append(c.sections, section{kind: kind, line: n, vals: map[string]string{}})
		case len(c.sections) == 0:
			return nil, fmt.Errorf("line %d: %q comes before the first section; is this a darknet config?", n, line)
		default:
			key, val, ok := strings.Cut(line, "=")
			if !ok {
				return nil, fmt.Errorf("line %d: %q is no key=value", n, line)
			}
			c.sections[len(c.sections)-1].set(key, val)
		}
	}
	if len(c.sections) < 2 || c.sections[0].kind != "net" && c.sections[0].kind != "network" {
		return nil, errors.New("no [net] section with layers after it; is this a darknet config?")
	}
	return c, nil
}

func (s *section) set(key, val string) {
	if _, ok := s.vals[key]; !ok {
		s.keys = append(s.keys, key)
	}
	s.vals[key] = val
}

// number returns the key's whole number within 0 and maxNumber.
func (s *section) number(key string, otherwise int) (int, error) {
	v, ok := s.vals[key]
	if !ok {
		return otherwise, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 || n > maxNumber {
		return 0, fmt.Errorf("line %d: [%s] %s=%s is no usable number", s.line, s.kind, key, v)
	}
	return n, nil
}

// layers returns the key's comma-separated layer numbers; negative ones count
// back from the layer at.
func (s *section) layers(key string, at int) ([]int, error) {
	var out []int
	for v := range strings.SplitSeq(s.vals[key], ",") {
		if v == "" {
			continue
		}
		n, err := strconv.Atoi(v)
		if err == nil && n < 0 {
			n += at
		}
		if err != nil || n < 0 || n >= at {
			return nil, fmt.Errorf("line %d: [%s] %s=%s names no layer before this one", s.line, s.kind, key, v)
		}
		out = append(out, n)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("line %d: [%s] has no %s", s.line, s.kind, key)
	}
	return out, nil
}

// Check returns the number of floats that the layers have as weights and the
// number of classes that the detection layers tell apart.
func (c *Config) Check() (weights int64, classes int, err error) {
	channels, err := c.sections[0].number("channels", 3)
	if err != nil {
		return 0, 0, err
	}
	if channels != 3 {
		return 0, 0, fmt.Errorf("line %d: %d input channels; pictures have 3", c.sections[0].line, channels)
	}
	var outs []int // channels after each layer
	for i := range c.sections[1:] {
		s := &c.sections[i+1]
		switch {
		case s.kind == "convolutional":
			var n int64
			if n, channels, err = s.convolution(channels); err != nil {
				return 0, 0, err
			}
			if weights += n; weights > maxWeights {
				return 0, 0, fmt.Errorf("line %d: more than %d weights", s.line, int64(maxWeights))
			}
		case s.kind == "route":
			if channels, err = s.route(outs); err != nil {
				return 0, 0, err
			}
		case s.kind == "reorg":
			stride, err := s.number("stride", 1)
			if err != nil {
				return 0, 0, err
			}
			channels = min(channels*min(stride, 1<<10)*min(stride, 1<<10), maxNumber)
		case s.kind == "yolo" || s.kind == "region":
			n, err := s.detection(channels)
			if err != nil {
				return 0, 0, err
			}
			if classes != 0 && n != classes {
				return 0, 0, fmt.Errorf("line %d: [%s] has %d classes, an earlier one %d", s.line, s.kind, n, classes)
			}
			classes = n
		case s.passive():
		default:
			return 0, 0, fmt.Errorf("line %d: layers of kind [%s] are not supported", s.line, s.kind)
		}
		outs = append(outs, channels)
	}
	if classes == 0 {
		return 0, 0, errors.New("no [yolo] layer: this is no detector")
	}
	return weights, classes, nil
}

// passive reports whether the layer has no weights and keeps the channels.
func (s *section) passive() bool {
	switch s.kind {
	case "maxpool", "avgpool", "upsample", "dropout", "shortcut", "scale_channels", "sam", "softmax":
		return true
	}
	return false
}

// convolution returns the layer's number of weights and of output channels:
// a bias a filter, three numbers more with batch normalisation, the kernels.
func (s *section) convolution(in int) (weights int64, out int, err error) {
	get := func(key string, otherwise int) int {
		n, e := s.number(key, otherwise)
		err = errors.Join(err, e)
		return n
	}
	filters, size, groups, norm := get("filters", 1), get("size", 1), get("groups", 1), get("batch_normalize", 0)
	if err != nil {
		return 0, 0, err
	}
	if filters < 1 || size < 1 || size > 1<<10 || groups < 1 || in%groups != 0 {
		return 0, 0, fmt.Errorf("line %d: [convolutional] with %d filters of size %d in %d groups on %d channels",
			s.line, filters, size, groups, in)
	}
	weights = int64(filters)
	if norm != 0 {
		weights *= 4
	}
	// filters × channels is below 2^40 and size² at most 2^20: no overflow.
	return weights + int64(filters)*int64(in/groups)*int64(size)*int64(size), filters, nil
}

func (s *section) route(outs []int) (channels int, err error) {
	from, err := s.layers("layers", len(outs))
	if err != nil {
		return 0, err
	}
	for _, l := range from {
		channels = min(channels+outs[l], maxNumber)
	}
	groups, err := s.number("groups", 1)
	if err != nil {
		return 0, err
	}
	if groups < 1 || channels%groups != 0 {
		return 0, fmt.Errorf("line %d: [route] of %d channels in %d groups", s.line, channels, groups)
	}
	return channels / groups, nil
}

// detection returns the number of classes of a detection layer and checks that
// the layer before makes as many channels as its boxes need.
func (s *section) detection(channels int) (classes int, err error) {
	if classes, err = s.number("classes", 20); err != nil {
		return 0, err
	}
	boxes, err := s.number("num", 1)
	if err != nil {
		return 0, err
	}
	if mask := s.vals["mask"]; mask != "" {
		boxes = strings.Count(strings.Trim(mask, ","), ",") + 1
	}
	if want := int64(boxes) * int64(5+classes); int64(channels) != want {
		return 0, fmt.Errorf("line %d: [%s] needs %d channels for %d boxes and %d classes, the layer before makes %d",
			s.line, s.kind, want, boxes, classes, channels)
	}
	return classes, nil
}

// ForInput returns the config's text for a square input. OpenCV is to leave out
// no scores; it would those below 0.2.
func (c *Config) ForInput(resolution int) []byte {
	var b bytes.Buffer
	for i, s := range c.sections {
		fmt.Fprintf(&b, "[%s]\n", s.kind)
		set := map[string]string{}
		switch {
		case i == 0:
			set["width"], set["height"] = strconv.Itoa(resolution), strconv.Itoa(resolution)
		case s.kind == "yolo" || s.kind == "region":
			set["thresh"], set["nms_threshold"] = "0", "0"
		}
		for _, k := range s.keys {
			if _, ok := set[k]; !ok {
				fmt.Fprintf(&b, "%s=%s\n", k, s.vals[k])
			}
		}
		for _, k := range slices.Sorted(maps.Keys(set)) {
			fmt.Fprintf(&b, "%s=%s\n", k, set[k])
		}
	}
	return b.Bytes()
}

// CheckWeights compares the length of a weights file with the number of floats
// that its config asks for. head is its first [HeadSize] bytes, or more.
func CheckWeights(head []byte, size, weights int64) error {
	// Three version numbers, then the number of pictures trained on, which grew
	// to 64 bits with version 0.2.
	skip := int64(16)
	if len(head) >= HeadSize {
		major, minor := binary.LittleEndian.Uint32(head), binary.LittleEndian.Uint32(head[4:])
		if uint64(major)*10+uint64(minor) >= 2 {
			skip = 20
		}
	}
	if want := skip + 4*weights; size != want {
		return fmt.Errorf("%d bytes, but its config needs %d", size, want)
	}
	return nil
}
