package main

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"slices"

	"golang.org/x/image/draw"

	"github.com/weft-mesh/weft/models/street"
)

// A contact sheet has this many pictures in a row, this wide.
const (
	columns = 4
	cell    = 480
)

// boxColours are those of the classes' boxes.
var boxColours = []color.RGBA{{255, 60, 60, 255}, {255, 170, 0, 255}, {255, 255, 0, 255}, {0, 255, 90, 255}, {0, 200, 255, 255}}

// sheet writes the frames side by side, with the boxes of what is in them.
// What is to be ignored has a grey box.
func (j job) sheet(file string) error {
	var cells []image.Image
	err := j.each(func(s *street.Street, _ uint64, bgr []byte, objects []street.Object) error {
		img := picture(s.Options(), bgr)
		wide := cell
		if j.size > 0 {
			wide = j.size
		}
		small := image.NewRGBA(image.Rect(0, 0, wide, wide*img.Rect.Dy()/img.Rect.Dx()))
		draw.ApproxBiLinear.Scale(small, small.Rect, img, img.Rect, draw.Src, nil)
		for _, o := range objects {
			frame(small, o)
		}
		cells = append(cells, small)
		return nil
	})
	if err != nil {
		return err
	}
	across := min(columns, len(cells))
	size := cells[0].Bounds().Size()
	all := image.NewRGBA(image.Rect(0, 0, across*(size.X+4), (len(cells)+across-1)/across*(size.Y+4)))
	for i, c := range cells {
		at := image.Pt(i%across*(size.X+4), i/across*(size.Y+4))
		draw.Copy(all, at, c, c.Bounds(), draw.Src, nil)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(png.Encode(f, all), f.Close())
}

func picture(o street.Options, bgr []byte) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, o.Width, o.Height))
	for i := range o.Width * o.Height {
		img.Pix[4*i], img.Pix[4*i+1], img.Pix[4*i+2], img.Pix[4*i+3] = bgr[3*i+2], bgr[3*i+1], bgr[3*i], 255
	}
	return img
}

func frame(img *image.RGBA, o street.Object) {
	col := boxColours[o.Class]
	if o.Ignore {
		col = color.RGBA{150, 150, 150, 255}
	}
	w, h := float64(img.Rect.Dx()), float64(img.Rect.Dy())
	x0, y0 := int(o.Box.X*w)-1, int(o.Box.Y*h)-1
	x1, y1 := int((o.Box.X+o.Box.W)*w)+1, int((o.Box.Y+o.Box.H)*h)+1
	for x := x0; x <= x1; x++ {
		img.SetRGBA(x, y0, col)
		img.SetRGBA(x, y1, col)
	}
	for y := y0; y <= y1; y++ {
		img.SetRGBA(x0, y, col)
		img.SetRGBA(x1, y, col)
	}
}

// stats counts objects by class and height.
func (j job) stats(out io.Writer) error {
	edges := []float64{8, 12, 16, 24, 32, 48, 64, 96, 128, 513} // 512ths of the picture's height
	counts := make([][]int, len(street.Classes()))
	for i := range counts {
		counts[i] = make([]int, len(edges))
	}
	var heights []float64
	frames, empty, ignored := 0, 0, 0
	var perFrame []int
	err := j.each(func(_ *street.Street, _ uint64, _ []byte, objects []street.Object) error {
		frames++
		n := 0
		for _, o := range objects {
			if o.Ignore {
				ignored++
				continue
			}
			n++
			at, _ := slices.BinarySearch(edges, o.Box.H*512)
			counts[o.Class][min(at, len(edges)-1)]++
			heights = append(heights, o.Box.H*512)
		}
		if n == 0 {
			empty++
		}
		perFrame = append(perFrame, n)
		return nil
	})
	if err != nil {
		return err
	}
	slices.Sort(heights)
	slices.Sort(perFrame)
	fmt.Fprintf(out, "%d frames, %d empty; %d objects and %d to be ignored\n", frames, empty, len(heights), ignored)
	if len(heights) == 0 {
		return nil
	}
	at := func(q int) float64 { return heights[(len(heights)-1)*q/100] }
	fmt.Fprintf(out, "objects a frame: median %d, most %d\n", perFrame[len(perFrame)/2], perFrame[len(perFrame)-1])
	fmt.Fprintf(out, "height in 512ths of the picture's: p10 %.1f, p25 %.1f, median %.1f, p75 %.1f, p90 %.1f\n", at(10), at(25), at(50), at(75), at(90))
	fmt.Fprintf(out, "%-8s", "up to")
	for _, e := range edges {
		fmt.Fprintf(out, "%7.0f", e)
	}
	fmt.Fprintln(out)
	for class, row := range counts {
		fmt.Fprintf(out, "%-8s", street.Class(class))
		for _, n := range row {
			fmt.Fprintf(out, "%7d", n)
		}
		fmt.Fprintln(out)
	}
	return nil
}
