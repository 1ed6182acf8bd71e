package source

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/logtest"
	"github.com/weft-mesh/weft/pipeline"
)

func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func pngOf(t *testing.T, jpg []byte) []byte {
	t.Helper()
	m, _, err := image.Decode(bytes.NewReader(jpg))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestImagesInOrder(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "c.jpeg", numbered(t, 3))
	write(t, dir, "a.jpg", numbered(t, 1))
	write(t, dir, "b.PNG", pngOf(t, numbered(t, 2)))
	write(t, dir, "notes.txt", []byte("not a picture, and not looked at"))
	frames, err := collect(t, mustOpen(t, Config{URI: "images:.", MediaDir: dir, FPS: 200}), 1000)
	if !errors.Is(err, pipeline.ErrEnded) {
		t.Fatalf("got %v, want ErrEnded", err)
	}
	checkFrames(t, frames)
	if got := numbers(t, frames); !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("frames %v", got)
	}
	var formats []pipeline.Format
	for _, f := range frames {
		formats = append(formats, f.Image.Format)
	}
	if want := []pipeline.Format{pipeline.JPEG, pipeline.PNG, pipeline.JPEG}; !slices.Equal(formats, want) {
		t.Errorf("formats %v, want %v: pictures pass as they are", formats, want)
	}

	frames, err = collect(t, mustOpen(t, Config{URI: "images:.?loop=true", MediaDir: dir, FPS: 200}), 7)
	if got := numbers(t, frames); !slices.Equal(got, []int{1, 2, 3, 1, 2, 3, 1}) || !errors.Is(err, context.Canceled) {
		t.Errorf("looped: frames %v, %v", got, err)
	}
}

func TestBadImagesAreSkippedAndLogged(t *testing.T) {
	dir := t.TempDir()
	good := numbered(t, 5)
	wholePNG := pngOf(t, good)
	halfPNG := wholePNG[:len(wholePNG)/2]
	write(t, dir, "1-good.jpg", good)
	write(t, dir, "2-half.jpg", good[:len(good)/2])
	write(t, dir, "3-half.png", halfPNG)
	write(t, dir, "4-empty.jpg", nil)
	write(t, dir, "5-text.png", []byte("no picture"))
	write(t, dir, "6-good.jpg", good)
	if err := os.Mkdir(filepath.Join(dir, "7-directory.jpg"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "8-link.jpg")); err != nil {
		t.Fatal(err)
	}
	log := &logtest.Book{}
	src, err := Open(Config{URI: "images:.?loop=true", MediaDir: dir, FPS: 500, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	frames, _ := collect(t, src, 6) // three passes
	if got := numbers(t, frames); !slices.Equal(got, []int{5, 5, 5, 5, 5, 5}) {
		t.Errorf("frames %v", got)
	}
	for _, name := range []string{"2-half.jpg", "3-half.png", "4-empty.jpg", "5-text.png", "7-directory.jpg", "8-link.jpg"} {
		if n := strings.Count(log.String(), "file="+name); n != 1 {
			t.Errorf("%s was logged %d times, want once:\n%s", name, n, log)
		}
	}

	write(t, dir, "1-good.jpg", nil)
	write(t, dir, "6-good.jpg", nil)
	if frames, err := collect(t, src, 1); !errors.Is(err, ErrNoFrames) || !strings.Contains(err.Error(), dir) {
		t.Errorf("without a good picture: %d frames, %v", len(frames), err)
	}
}

// A picture that declares more pixels than memory is not decoded.
func TestEncodedRefuses(t *testing.T) {
	var anim bytes.Buffer
	if err := gif.Encode(&anim, image.NewGray(image.Rect(0, 0, 4, 4)), nil); err != nil {
		t.Fatal(err)
	}
	huge := pngOf(t, numbered(t, 1))
	copy(huge[16:24], []byte{0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff})
	// The header's checksum guards the size; it has to fit.
	fixPNGHeader(huge)
	for name, data := range map[string][]byte{
		"nothing": nil, "gif": anim.Bytes(), "huge": huge, "too many bytes": make([]byte, maxBytes+1),
	} {
		if img, err := encoded(data, true); !errors.Is(err, errPicture) {
			t.Errorf("%s: %v, %v; want errPicture", name, fmt.Sprint(img.Width, "×", img.Height), err)
		}
	}
}

func fixPNGHeader(data []byte) {
	binary.BigEndian.PutUint32(data[29:], crc32.ChecksumIEEE(data[12:29]))
}

func FuzzEncoded(f *testing.F) {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 3, 2))); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	b.Reset()
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 3, 2)), nil); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		img, err := encoded(data, false)
		if err == nil && (img.Width < 1 || img.Height < 1 || img.Width*img.Height > maxPixels || len(img.Data) != len(data)) {
			t.Errorf("taken: %d×%d, %d bytes", img.Width, img.Height, len(img.Data))
		}
	})
}
