package source

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // for image.Decode
	_ "image/png"

	"github.com/weft-mesh/weft/pipeline"
)

// errPicture reports bytes that are no usable JPEG or PNG.
var errPicture = errors.New("not a JPEG or PNG picture")

const (
	maxBytes  = 64 << 20 // of an encoded picture
	maxPixels = 64 << 20 // of a decoded one: 200 MB as BGR
)

// encoded makes an Image of JPEG or PNG bytes, keeping them as they are; the
// size comes from the header. With whole, the picture is decoded once to see
// that nothing is missing or damaged.
func encoded(data []byte, whole bool) (pipeline.Image, error) {
	if len(data) > maxBytes {
		return pipeline.Image{}, fmt.Errorf("%w that can be taken: %d bytes, at most %d", errPicture, len(data), maxBytes)
	}
	c, format, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return pipeline.Image{}, fmt.Errorf("%w: %w", errPicture, err)
	}
	img := pipeline.Image{Format: pipeline.Format(format), Width: c.Width, Height: c.Height, Data: data}
	if img.Format != pipeline.JPEG && img.Format != pipeline.PNG {
		return pipeline.Image{}, fmt.Errorf("%w but %s", errPicture, format)
	}
	if c.Width < 1 || c.Height < 1 || c.Width > maxPixels/c.Height {
		return pipeline.Image{}, fmt.Errorf("%w that can be taken: %d×%d pixels", errPicture, c.Width, c.Height)
	}
	if whole {
		if _, _, err := image.Decode(bytes.NewReader(data)); err != nil {
			return pipeline.Image{}, fmt.Errorf("%w: %w", errPicture, err)
		}
	}
	return img, nil
}
