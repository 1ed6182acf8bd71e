package vision

import (
	"bytes"
	"fmt"
	"image"
	_ "image/jpeg" // for DecodeConfig
	_ "image/png"

	"gocv.io/x/gocv"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// The limits of a picture. They bound what a few hostile bytes can make a node
// allocate (about 200 MB).
const (
	maxPixels = 64 << 20
	maxSide   = 16384
)

// DefaultJPEGQuality is used where no quality is asked for. JPEG costs no
// accuracy, but it moves boxes, even at 100, since colours lose half their
// resolution (OpenCV 4.6 can't be told not to). Of 222 boxes that
// yolo-fastest-1.1-xl found on coco64 at 416 with a score of at least 0.5:
//
//	         kB a frame   IoU ≥ 0.95    lost      F1
//	raw             519        100 %     0 %   0.453
//	png             316        100 %     0 %   0.453
//	jpeg 95          73         66 %   1.4 %   0.464
//	jpeg 90          51         50 %   0.9 %   0.450
//	jpeg 85          40         43 %   3.6 %   0.449
//
// Where boxes must be the same to the pixel, the link has to be png or raw.
const DefaultJPEGQuality = 90

// Codec converts pictures between pixels and compressed formats. The zero
// Codec is ready for use, by several goroutines at a time.
type Codec struct{}

// Encode returns img in the encoding; quality is that of JPEG, 1–100, or 0 for
// DefaultJPEGQuality. A picture that already has the format is returned as it
// is. It implements pipeline.Encoder.
func (c Codec) Encode(img pipeline.Image, to tiering.Encoding, quality int) (pipeline.Image, error) {
	want, err := formatOf(to)
	if err != nil {
		return pipeline.Image{}, err
	}
	if img.Format == want {
		return img, nil
	}
	raw, err := c.Decode(img)
	if err != nil || want == pipeline.BGR {
		return raw, err
	}
	src, err := view(raw.Data, raw.Width, raw.Height)
	if err != nil {
		return pipeline.Image{}, fmt.Errorf("encode picture: %w", err)
	}
	defer src.close()
	data, err := encode(src.Mat, want, quality)
	if err != nil {
		return pipeline.Image{}, err
	}
	return pipeline.Image{Format: want, Width: raw.Width, Height: raw.Height, Data: data}, nil
}

// Decode returns img as BGR. Bytes that are no picture, or not the one that
// img says, are pipeline.ErrMalformed; more than 64 Mi pixels are
// pipeline.ErrOversized, found out before anything is decoded.
func (Codec) Decode(img pipeline.Image) (pipeline.Image, error) {
	switch img.Format {
	case pipeline.BGR:
		if err := checkSize(img.Width, img.Height); err != nil {
			return pipeline.Image{}, err
		}
		if want := img.Width * img.Height * 3; len(img.Data) != want {
			return pipeline.Image{}, fmt.Errorf("%w: %d × %d BGR pixels are %d bytes, not %d",
				pipeline.ErrMalformed, img.Width, img.Height, want, len(img.Data))
		}
		return img, nil
	case pipeline.JPEG, pipeline.PNG:
	default:
		return pipeline.Image{}, fmt.Errorf("%w: unknown picture format %q", pipeline.ErrMalformed, img.Format)
	}
	head, kind, err := image.DecodeConfig(bytes.NewReader(img.Data))
	if err != nil {
		return pipeline.Image{}, fmt.Errorf("%w: no readable %s: %w", pipeline.ErrMalformed, img.Format, err)
	}
	if kind != string(img.Format) {
		return pipeline.Image{}, fmt.Errorf("%w: a %s that says it is %s", pipeline.ErrMalformed, kind, img.Format)
	}
	if err := checkSize(head.Width, head.Height); err != nil {
		return pipeline.Image{}, err
	}
	m := gocv.NewMat()
	defer m.Close()
	if err := cvDecode(img.Data, &m); err != nil {
		return pipeline.Image{}, fmt.Errorf("%w: decode %s: %w", pipeline.ErrMalformed, img.Format, err)
	}
	if m.Empty() || m.Type() != gocv.MatTypeCV8UC3 {
		return pipeline.Image{}, fmt.Errorf("%w: decode %s: the data are damaged", pipeline.ErrMalformed, img.Format)
	}
	return pipeline.Image{Format: pipeline.BGR, Width: m.Cols(), Height: m.Rows(), Data: m.ToBytes()}, nil
}

func checkSize(w, h int) error {
	if w < 1 || h < 1 {
		return fmt.Errorf("%w: a picture of %d × %d pixels", pipeline.ErrMalformed, w, h)
	}
	if w > maxSide || h > maxSide || w*h > maxPixels {
		return fmt.Errorf("%w: a picture of %d × %d pixels; at most %d a side and %d in all are taken",
			pipeline.ErrOversized, w, h, maxSide, maxPixels)
	}
	return nil
}

func formatOf(e tiering.Encoding) (pipeline.Format, error) {
	switch e {
	case tiering.JPEG:
		return pipeline.JPEG, nil
	case tiering.PNG:
		return pipeline.PNG, nil
	case tiering.Raw:
		return pipeline.BGR, nil
	}
	return "", fmt.Errorf("unknown encoding %q: use jpeg, png or raw", e)
}

func encode(m gocv.Mat, to pipeline.Format, quality int) ([]byte, error) {
	if quality == 0 {
		quality = DefaultJPEGQuality
	}
	var (
		data []byte
		err  error
	)
	if to == pipeline.PNG {
		data, err = cvEncode(string(gocv.PNGFileExt), m)
	} else {
		data, err = cvEncode(string(gocv.JPEGFileExt), m, gocv.IMWriteJpegQuality, int32(min(max(quality, 1), 100)))
	}
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", to, err)
	}
	return data, nil
}
