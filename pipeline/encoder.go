package pipeline

import (
	"fmt"

	"github.com/weft-mesh/weft/tiering"
)

// Encoder brings a picture to the encoding in which it travels, JPEG at the
// quality 1–100. It is safe for concurrent use.
type Encoder interface {
	Encode(img Image, to tiering.Encoding, quality int) (Image, error)
}

// formatOf is the format of a picture that travels in the encoding.
func formatOf(e tiering.Encoding) (Format, error) {
	switch e {
	case tiering.JPEG:
		return JPEG, nil
	case tiering.PNG:
		return PNG, nil
	case tiering.Raw:
		return BGR, nil
	}
	return "", fmt.Errorf("unknown encoding %q: use %s, %s or %s", e, tiering.JPEG, tiering.PNG, tiering.Raw)
}

// encodeFor replaces the frame's picture if it is not yet as it is to travel.
func encodeFor(link tiering.Link, enc Encoder, f *Frame) error {
	want, err := formatOf(link.Encoding)
	if err != nil {
		return err
	}
	if f.Image.Format == want || f.Image.Format == "" {
		return nil
	}
	img, err := enc.Encode(f.Image, link.Encoding, link.Quality)
	if err != nil {
		return fmt.Errorf("encode as %s: %w", link.Encoding, err)
	}
	f.Image = img
	return nil
}
