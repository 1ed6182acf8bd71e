package source

import (
	"image"
	"image/color"

	"github.com/weft-mesh/weft/pipeline"
)

// toBGR converts a decoded picture. Cameras deliver YCbCr.
func toBGR(src image.Image) pipeline.Image {
	b := src.Bounds()
	out := pipeline.Image{Format: pipeline.BGR, Width: b.Dx(), Height: b.Dy(), Data: make([]byte, 3*b.Dx()*b.Dy())}
	if m, ok := src.(*image.YCbCr); ok {
		fromYCbCr(out.Data, m)
		return out
	}
	i := 0
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			r, g, bl, _ := src.At(x, y).RGBA()
			out.Data[i], out.Data[i+1], out.Data[i+2] = byte(bl>>8), byte(g>>8), byte(r>>8)
			i += 3
		}
	}
	return out
}

func fromYCbCr(dst []byte, m *image.YCbCr) {
	i := 0
	for y := m.Rect.Min.Y; y < m.Rect.Max.Y; y++ {
		for x := m.Rect.Min.X; x < m.Rect.Max.X; x++ {
			c := m.COffset(x, y)
			dst[i+2], dst[i+1], dst[i] = color.YCbCrToRGB(m.Y[m.YOffset(x, y)], m.Cb[c], m.Cr[c])
			i += 3
		}
	}
}
