package source

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pion/mediadevices/pkg/driver"
	v4l2 "github.com/pion/mediadevices/pkg/driver/camera" // registers the cameras
	_ "github.com/pion/mediadevices/pkg/driver/videotest" // registers the colour bars
	"github.com/pion/mediadevices/pkg/frame"
	"github.com/pion/mediadevices/pkg/prop"

	"github.com/weft-mesh/weft/tiering/sourceuri"
)

// colourBars is the label under which mediadevices registers videotest.
const colourBars = "VideoTest"

// find returns the driver that the URI means and a name for its device, which
// is the same for all paths that lead to it.
func find(spec sourceuri.Spec) (driver.Driver, string, error) {
	if spec.Scheme == sourceuri.VideoTest {
		if d := bars(); d != nil {
			return d, "videotest", nil
		}
		return nil, "", fmt.Errorf("videotest: %w", ErrDevice)
	}
	if d, name, ok := lookUp(spec.Path); ok {
		return d, name, nil
	}
	// The registry holds the cameras that were there when the process started.
	if info, err := os.Stat(spec.Path); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		rescan()
		if d, name, ok := lookUp(spec.Path); ok {
			return d, name, nil
		}
	}
	return nil, "", fmt.Errorf("%s: %w; %s", spec.Path, ErrDevice, available())
}

// rescan looks for cameras. mediadevices forgets the colour bars over it.
func rescan() {
	test := bars()
	v4l2.Initialize()
	if test != nil {
		_ = driver.GetManager().Register(test, test.Info()) // returns nil
	}
}

func bars() driver.Driver {
	for _, d := range driver.GetManager().Query(driver.FilterVideoRecorder()) {
		if d.Info().Label == colourBars {
			return d
		}
	}
	return nil
}

// cameras are the registered V4L2 cameras by the name of their device file.
func cameras() map[string]driver.Driver {
	out := map[string]driver.Driver{}
	for _, d := range driver.GetManager().Query(driver.FilterVideoRecorder()) {
		if _, dev, ok := strings.Cut(d.Info().Label, v4l2.LabelSeparator); ok {
			out[dev] = d
		}
	}
	return out
}

// lookUp finds a camera by its device file or a link to it.
func lookUp(path string) (driver.Driver, string, bool) {
	if to, err := filepath.EvalSymlinks(path); err == nil {
		path = to
	}
	name := filepath.Base(path)
	d, ok := cameras()[name]
	return d, name, ok
}

// available says which cameras there are.
func available() string {
	var out []string
	for dev, d := range cameras() {
		name, _, _ := strings.Cut(d.Info().Name, v4l2.LabelSeparator)
		out = append(out, strings.TrimSpace(fmt.Sprintf("/dev/%s %s", dev, name)))
	}
	if len(out) == 0 {
		return "this machine has no camera at all"
	}
	slices.Sort(out)
	return "this machine has " + strings.Join(out, ", ")
}

// The mode that is preferred where the URI doesn't say.
const (
	usualWidth, usualHeight = 640, 480
	usualRate               = 30
)

// chooseMode picks one of a camera's modes: of the size asked for, or else as
// near as possible to 640×480; of these the one nearest to 30 frames a second;
// of these one that needs no decompression.
func chooseMode(modes []prop.Media, spec sourceuri.Spec) (prop.Media, error) {
	if spec.Scheme == sourceuri.VideoTest && spec.Width != 0 && len(modes) > 0 {
		m := modes[0] // the bars take any size
		m.Width, m.Height = spec.Width, spec.Height
		return m, nil
	}
	var fit []prop.Media
	for _, m := range modes {
		if m.FrameFormat == frame.FormatZ16 { // depth, no picture
			continue
		}
		if spec.Width == 0 || m.Width == spec.Width && m.Height == spec.Height {
			fit = append(fit, m)
		}
	}
	if len(fit) == 0 {
		return prop.Media{}, noMode(modes, spec)
	}
	return slices.MinFunc(fit, func(a, b prop.Media) int {
		return cmp.Or(
			cmp.Compare(distance(a.Width*a.Height, usualWidth*usualHeight), distance(b.Width*b.Height, usualWidth*usualHeight)),
			cmp.Compare(distance(a.FrameRate, usualRate), distance(b.FrameRate, usualRate)),
			cmp.Compare(packed(a), packed(b)),
		)
	}), nil
}

func distance[T int | float32](a, b T) T { return max(a-b, b-a) }

func packed(m prop.Media) int {
	if m.FrameFormat == frame.FormatMJPEG {
		return 1
	}
	return 0
}

func noMode(modes []prop.Media, spec sourceuri.Spec) error {
	var sizes []string
	for _, m := range modes {
		if m.FrameFormat != frame.FormatZ16 {
			sizes = append(sizes, fmt.Sprintf("%d×%d", m.Width, m.Height))
		}
	}
	slices.Sort(sizes)
	sizes = slices.Compact(sizes)
	if len(sizes) == 0 {
		return fmt.Errorf("it offers no picture format that can be read")
	}
	return fmt.Errorf("it does not offer %d×%d; it offers %s", spec.Width, spec.Height, strings.Join(sizes, ", "))
}
