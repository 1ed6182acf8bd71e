package source

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pion/mediadevices/pkg/driver"
	"github.com/pion/mediadevices/pkg/frame"
	mediavideo "github.com/pion/mediadevices/pkg/io/video"
	"github.com/pion/mediadevices/pkg/prop"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering/sourceuri"
)

func TestVideoTestShowsColourBars(t *testing.T) {
	src := mustOpen(t, Config{URI: "videotest:?width=140&height=80"})
	for range 2 { // the device can be opened again
		frames, err := collect(t, src, 3)
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, want context.Canceled", err)
		}
		checkFrames(t, frames)
		img := frames[0].Image
		if img.Format != pipeline.BGR || img.Width != 140 || img.Height != 80 || len(img.Data) != 3*140*80 {
			t.Fatalf("%s %d×%d, %d bytes", img.Format, img.Width, img.Height, len(img.Data))
		}
		// The seven bars are grey, yellow, cyan, green, magenta, red, blue.
		var got []string
		for bar := range 7 {
			at := 3 * (10*140 + bar*20 + 10)
			name := ""
			for i, c := range "BGR" {
				if img.Data[at+i] > 100 {
					name += string(c)
				}
			}
			got = append(got, name)
		}
		if want := []string{"BGR", "GR", "BG", "G", "BR", "R", "B"}; !slices.Equal(got, want) {
			t.Errorf("bars %q, want %q", got, want)
		}
	}
}

// Several sources read one device; each has its own rate, and the device is
// closed after the last.
func TestDeviceIsShared(t *testing.T) {
	devices := NewDevices(logger(t))
	var wg sync.WaitGroup
	for _, n := range []int{2, 4, 6} {
		src := mustOpen(t, Config{URI: "videotest:", Devices: devices})
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			got := 0
			err := src.Run(ctx, func(*pipeline.Frame) {
				if got++; got == n {
					cancel()
				}
			})
			if got < n || !errors.Is(err, context.Canceled) {
				t.Errorf("%d frames, want %d: %v", got, n, err)
			}
		})
	}
	wg.Wait()
	if n := len(devices.open); n != 0 {
		t.Errorf("%d devices are still open", n)
	}
}

func TestDeviceInAnotherSize(t *testing.T) {
	devices := NewDevices(logger(t))
	first := mustOpen(t, Config{URI: "videotest:?width=320&height=240", Devices: devices})
	second := mustOpen(t, Config{URI: "videotest:?width=640&height=480", Devices: devices})
	var once sync.Once
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_ = first.Run(ctx, func(*pipeline.Frame) {
		once.Do(func() {
			defer cancel()
			_, err := collect(t, second, 1)
			if err == nil || !strings.Contains(err.Error(), "another source reads videotest at 320×240") {
				t.Errorf("got %v", err)
			}
		})
	})
}

func TestNoSuchCamera(t *testing.T) {
	path := "/dev/video77"
	if _, err := os.Stat(path); err == nil {
		t.Skipf("%s exists", path)
	}
	_, err := collect(t, mustOpen(t, Config{URI: "v4l2:" + path}), 1)
	if !errors.Is(err, ErrDevice) || !strings.Contains(err.Error(), path+": no such camera; this machine has ") {
		t.Errorf("got %v", err)
	}
	// A device file that is no camera makes the registry look again; nothing
	// may get lost over that.
	if _, err := collect(t, mustOpen(t, Config{URI: "v4l2:/dev/null"}), 1); !errors.Is(err, ErrDevice) {
		t.Errorf("/dev/null: got %v, want ErrDevice", err)
	}
	if frames, err := collect(t, mustOpen(t, Config{URI: "videotest:"}), 1); len(frames) != 1 {
		t.Errorf("the colour bars are gone: %v", err)
	}
}

// fakeCamera is a driver as mediadevices registers them for V4L2.
type fakeCamera struct {
	modes []prop.Media
	reads func(n int) (image.Image, error)
	opens int
}

func (c *fakeCamera) Open() error              { c.opens++; return nil }
func (c *fakeCamera) Close() error             { return nil }
func (c *fakeCamera) Properties() []prop.Media { return c.modes }
func (c *fakeCamera) VideoRecord(prop.Media) (mediavideo.Reader, error) {
	n := 0
	return mediavideo.ReaderFunc(func() (image.Image, func(), error) {
		n++
		img, err := c.reads(n)
		return img, func() {}, err
	}), nil
}

func mode(w, h int, rate float32, format frame.Format) prop.Media {
	return prop.Media{Video: prop.Video{Width: w, Height: h, FrameRate: rate, FrameFormat: format}}
}

// register plugs the camera in as /dev/<name> until the test ends.
func register(t *testing.T, name string, c *fakeCamera) {
	t.Helper()
	m := driver.GetManager()
	if err := m.Register(c, driver.Info{Label: "usb-cam;" + name, Name: "Fake Cam;usb-1", DeviceType: driver.Camera}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, d := range m.Query(driver.FilterVideoRecorder()) {
			if strings.HasSuffix(d.Info().Label, ";"+name) {
				m.Delete(d.ID())
			}
		}
	})
}

// A damaged picture is survived, a camera that is unplugged is reported, and
// it can be opened again afterwards.
func TestCameraFails(t *testing.T) {
	unplugged := errors.New("no such device")
	cam := &fakeCamera{modes: []prop.Media{mode(4, 2, 30, frame.FormatYUYV)}}
	cam.reads = func(n int) (image.Image, error) {
		switch {
		case n == 2:
			return nil, errors.New("invalid JPEG")
		case n > 4:
			return nil, unplugged
		}
		return image.NewYCbCr(image.Rect(0, 0, 4, 2), image.YCbCrSubsampleRatio422), nil
	}
	register(t, "weft0", cam)
	// The path is a link, as in /dev/v4l/by-id.
	link := filepath.Join(t.TempDir(), "usb-cam")
	if err := os.Symlink("weft0", link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(link), "weft0"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	src := mustOpen(t, Config{URI: "v4l2:" + link})
	for i := range 2 {
		_, err := collect(t, src, 100)
		if !errors.Is(err, unplugged) || !errors.Is(err, ErrLost) {
			t.Fatalf("got %v, want %v", err, unplugged)
		}
		if cam.opens != i+1 {
			t.Fatalf("opened %d times, want %d", cam.opens, i+1)
		}
	}
	if _, err := collect(t, mustOpen(t, Config{URI: "v4l2:/dev/weft7"}), 1); err == nil || !strings.Contains(err.Error(), "this machine has /dev/weft0 Fake Cam") {
		t.Errorf("another one: %v", err)
	}
	if _, err := collect(t, mustOpen(t, Config{URI: "v4l2:/dev/weft0?width=640&height=480"}), 1); err == nil || !strings.Contains(err.Error(), "it does not offer 640×480; it offers 4×2") {
		t.Errorf("another size: %v", err)
	}
}

// A camera that has died within a read does not hold up the source's end.
func TestSilentCamera(t *testing.T) {
	gone := make(chan struct{})
	cam := &fakeCamera{modes: []prop.Media{mode(4, 2, 30, frame.FormatYUYV)}}
	cam.reads = func(n int) (image.Image, error) {
		if n > 1 {
			<-gone
			return nil, io.EOF
		}
		return image.NewYCbCr(image.Rect(0, 0, 4, 2), image.YCbCrSubsampleRatio422), nil
	}
	register(t, "weft1", cam)
	devices := NewDevices(logger(t))
	src := mustOpen(t, Config{URI: "v4l2:weft1", Devices: devices})
	if frames, err := collect(t, src, 1); len(frames) != 1 || !errors.Is(err, context.Canceled) {
		t.Fatalf("%d frames, %v", len(frames), err)
	}
	if _, err := collect(t, src, 1); err == nil || !strings.Contains(err.Error(), "being closed") {
		t.Errorf("while it is silent: %v", err)
	}
	close(gone)
	eventually(t, "the camera is closed", func() bool {
		devices.mu.Lock()
		defer devices.mu.Unlock()
		return len(devices.open) == 0
	})
}

func TestChooseMode(t *testing.T) {
	modes := []prop.Media{
		mode(1920, 1080, 30, frame.FormatMJPEG),
		mode(1920, 1080, 5, frame.FormatYUYV),
		mode(640, 480, 15, frame.FormatYUYV),
		mode(640, 480, 30, frame.FormatMJPEG),
		mode(640, 480, 30, frame.FormatYUYV),
		mode(640, 480, 120, frame.FormatYUYV),
		mode(320, 240, 30, frame.FormatYUYV),
		mode(848, 480, 30, frame.FormatZ16),
	}
	for _, tc := range []struct {
		uri  string
		want string
	}{
		{"v4l2:video0", "640×480 30 YUYV"},
		{"v4l2:video0?width=1920&height=1080", "1920×1080 30 MJPEG"},
		{"v4l2:video0?width=320&height=240", "320×240 30 YUYV"},
		{"v4l2:video0?width=848&height=480", "it does not offer 848×480; it offers 1920×1080, 320×240, 640×480"},
	} {
		spec, err := sourceuri.Parse(tc.uri)
		if err != nil {
			t.Fatal(err)
		}
		m, err := chooseMode(modes, spec)
		got := fmt.Sprintf("%d×%d %g %s", m.Width, m.Height, m.FrameRate, m.FrameFormat)
		if err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("%s: %s, want %s", tc.uri, got, tc.want)
		}
	}
}

func TestToBGR(t *testing.T) {
	rgba := image.NewRGBA(image.Rect(1, 1, 3, 2))
	rgba.Set(1, 1, color.RGBA{1, 2, 3, 255})
	rgba.Set(2, 1, color.RGBA{4, 5, 6, 255})
	if got := toBGR(rgba); !slices.Equal(got.Data, []byte{3, 2, 1, 6, 5, 4}) || got.Width != 2 || got.Height != 1 {
		t.Errorf("RGBA: %+v", got)
	}
	ycc := image.NewYCbCr(image.Rect(0, 0, 3, 3), image.YCbCrSubsampleRatio420)
	for i := range ycc.Y {
		ycc.Y[i] = byte(20 * i)
	}
	for i := range ycc.Cb {
		ycc.Cb[i], ycc.Cr[i] = byte(60*i), byte(255-60*i)
	}
	got := toBGR(ycc)
	for y := range 3 {
		for x := range 3 {
			r, g, b, _ := ycc.At(x, y).RGBA()
			at := 3 * (3*y + x)
			if want := []byte{byte(b >> 8), byte(g >> 8), byte(r >> 8)}; !slices.Equal(got.Data[at:at+3], want) {
				t.Errorf("YCbCr at %d,%d: %v, want %v", x, y, got.Data[at:at+3], want)
			}
		}
	}
}
