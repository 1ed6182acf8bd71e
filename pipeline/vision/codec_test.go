package vision

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/jpeg"
	"image/png"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

var _ pipeline.Encoder = Codec{}

// gradient is a smooth picture, which JPEG keeps well.
func gradient(w, h int) pipeline.Image {
	data := make([]byte, 0, w*h*3)
	for y := range h {
		for x := range w {
			data = append(data, byte(40+x*150/w), byte(50+y*150/h), 128)
		}
	}
	return pipeline.Image{Format: pipeline.BGR, Width: w, Height: h, Data: data}
}

// worst is the largest difference of two pictures' values.
func worst(t *testing.T, a, b pipeline.Image) int {
	t.Helper()
	if a.Width != b.Width || a.Height != b.Height || len(a.Data) != len(b.Data) {
		t.Fatalf("%d × %d and %d × %d pixels", a.Width, a.Height, b.Width, b.Height)
	}
	most := 0
	for i := range a.Data {
		most = max(most, int(a.Data[i])-int(b.Data[i]), int(b.Data[i])-int(a.Data[i]))
	}
	return most
}

func TestCodecRoundTrips(t *testing.T) {
	raw := gradient(97, 61) // odd on purpose
	for _, test := range []struct {
		to      tiering.Encoding
		format  pipeline.Format
		quality int
		differ  int
	}{
		{tiering.Raw, pipeline.BGR, 0, 0},
		{tiering.PNG, pipeline.PNG, 0, 0},
		{tiering.JPEG, pipeline.JPEG, 0, 6},
		{tiering.JPEG, pipeline.JPEG, 100, 4},
		{tiering.JPEG, pipeline.JPEG, 1000, 4}, // as 100
	} {
		img, err := Codec{}.Encode(raw, test.to, test.quality)
		if err != nil {
			t.Fatal(err)
		}
		if img.Format != test.format || img.Width != 97 || img.Height != 61 {
			t.Errorf("%s: %s of %d × %d", test.to, img.Format, img.Width, img.Height)
		}
		again, err := Codec{}.Encode(img, test.to, test.quality)
		if err != nil || &again.Data[0] != &img.Data[0] {
			t.Errorf("%s: encoded twice, %v", test.to, err)
		}
		back, err := Codec{}.Encode(img, tiering.Raw, 0)
		if err != nil {
			t.Fatal(err)
		}
		if d := worst(t, raw, back); d > test.differ {
			t.Errorf("%s %d: values differ by %d, at most %d expected", test.to, test.quality, d, test.differ)
		}
	}
	if _, err := (Codec{}).Encode(raw, "webp", 0); err == nil || err.Error() != `unknown encoding "webp": use jpeg, png or raw` {
		t.Errorf("unknown encoding: %v", err)
	}
}

func TestJPEGQualityCostsBytes(t *testing.T) {
	sizes := []int{}
	for _, q := range []int{50, 90, 100} {
		img, err := Codec{}.Encode(testCard(128), tiering.JPEG, q)
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(img.Data))
	}
	if !slices.IsSorted(sizes) || sizes[0] == sizes[2] {
		t.Errorf("bytes at the qualities 50, 90 and 100: %v", sizes)
	}
}

// Other programs' pictures come in the right order of colours, grey and
// transparent ones as BGR.
func TestDecodeForeignPictures(t *testing.T) {
	grey := image.NewGray(image.Rect(0, 0, 8, 4))
	clear := image.NewNRGBA(image.Rect(0, 0, 8, 4))
	for i := range clear.Pix {
		clear.Pix[i] = [4]byte{200, 100, 50, 255}[i%4]
	}
	for i := range grey.Pix {
		grey.Pix[i] = 77
	}
	var g, c, j bytes.Buffer
	if err := errors.Join(png.Encode(&g, grey), png.Encode(&c, clear), jpeg.Encode(&j, grey, nil)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		img  pipeline.Image
		want [3]byte
	}{
		{"grey PNG", pipeline.Image{Format: pipeline.PNG, Data: g.Bytes()}, [3]byte{77, 77, 77}},
		{"PNG with alpha", pipeline.Image{Format: pipeline.PNG, Data: c.Bytes()}, [3]byte{50, 100, 200}},
		{"grey JPEG", pipeline.Image{Format: pipeline.JPEG, Data: j.Bytes()}, [3]byte{77, 77, 77}},
	} {
		got, err := Codec{}.Decode(test.img)
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if got.Format != pipeline.BGR || got.Width != 8 || got.Height != 4 || [3]byte(got.Data[:3]) != test.want {
			t.Errorf("%s: %d × %d %s, first pixel %v, want %v", test.name, got.Width, got.Height, got.Format, got.Data[:3], test.want)
		}
	}
}

// hugePNG says that it has w × h pixels and holds none.
func hugePNG(w, h uint32) []byte {
	head := []byte("IHDR")
	head = binary.BigEndian.AppendUint32(head, w)
	head = binary.BigEndian.AppendUint32(head, h)
	head = append(head, 8, 2, 0, 0, 0)
	out := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d")
	out = append(out, head...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(head))
}

func TestDecodeRefuses(t *testing.T) {
	good, err := Codec{}.Encode(gradient(64, 64), tiering.JPEG, 90)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		img  pipeline.Image
		want error
	}{
		{"too few bytes", pipeline.Image{Format: pipeline.BGR, Width: 4, Height: 4, Data: make([]byte, 47)}, pipeline.ErrMalformed},
		{"no pixels", pipeline.Image{Format: pipeline.BGR}, pipeline.ErrMalformed},
		{"negative size", pipeline.Image{Format: pipeline.BGR, Width: -4, Height: -1, Data: make([]byte, 12)}, pipeline.ErrMalformed},
		{"huge BGR", pipeline.Image{Format: pipeline.BGR, Width: 1 << 40, Height: 1 << 40}, pipeline.ErrOversized},
		{"unknown format", pipeline.Image{Format: "gif", Data: good.Data}, pipeline.ErrMalformed},
		{"no picture at all", pipeline.Image{}, pipeline.ErrMalformed},
		{"no bytes", pipeline.Image{Format: pipeline.JPEG}, pipeline.ErrMalformed},
		{"not what it says", pipeline.Image{Format: pipeline.PNG, Data: good.Data}, pipeline.ErrMalformed},
		{"a header alone", pipeline.Image{Format: pipeline.JPEG, Data: good.Data[:200]}, pipeline.ErrMalformed},
		{"one side too long", pipeline.Image{Format: pipeline.PNG, Data: hugePNG(16385, 1)}, pipeline.ErrOversized},
		{"too many pixels", pipeline.Image{Format: pipeline.PNG, Data: hugePNG(16384, 16384)}, pipeline.ErrOversized},
		{"PNG without pixels", pipeline.Image{Format: pipeline.PNG, Data: hugePNG(16, 16)}, pipeline.ErrMalformed},
	}
	for _, test := range tests {
		if _, err := (Codec{}).Decode(test.img); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

func TestCodecIsSafeForConcurrentUse(t *testing.T) {
	raw := gradient(200, 100)
	want, err := Codec{}.Encode(raw, tiering.JPEG, 90)
	if err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			for range 10 {
				got, err := Codec{}.Encode(raw, tiering.JPEG, 90)
				if err != nil {
					return err
				}
				if !bytes.Equal(got.Data, want.Data) {
					return errors.New("another picture")
				}
				if _, err := (Codec{}).Decode(got); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, to := range []tiering.Encoding{tiering.JPEG, tiering.PNG} {
		img, err := Codec{}.Encode(gradient(40, 24), to, 80)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(img.Format), img.Data)
		f.Add(string(img.Format), img.Data[:len(img.Data)*3/4])
	}
	f.Add("png", hugePNG(1<<31, 1<<31))
	f.Fuzz(func(t *testing.T, format string, data []byte) {
		img, err := Codec{}.Decode(pipeline.Image{Format: pipeline.Format(format), Width: 4, Height: 4, Data: data})
		if err != nil {
			if !errors.Is(err, pipeline.ErrMalformed) && !errors.Is(err, pipeline.ErrOversized) {
				t.Fatalf("no known condition: %v", err)
			}
			return
		}
		if img.Format != pipeline.BGR || len(img.Data) != img.Width*img.Height*3 || len(img.Data) == 0 {
			t.Fatalf("%d bytes for %d × %d %s", len(img.Data), img.Width, img.Height, img.Format)
		}
	})
}
