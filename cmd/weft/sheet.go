package main

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/image/draw"
)

// A contact sheet shows this many pictures of this width, in pixels.
const (
	sheetColumns = 4
	sheetRows    = 3
	cellWidth    = 480
	cellGap      = 6
	sheetQuality = 88

	// maxPixels bounds a picture that is decoded: 4 bytes each.
	maxPixels = 64 << 20
)

// writeContactSheet shows some of the pictures, which are in dir, side by
// side: each row goes through the sources, and time goes down. Without
// pictures there is no sheet, not even an old one.
func writeContactSheet(file, dir string, pictures []picture) error {
	var (
		cells  []image.Image
		broken []error
	)
	for _, p := range choose(pictures, sheetColumns*sheetRows) {
		img, err := readPicture(filepath.Join(dir, filepath.FromSlash(p.File)))
		if err != nil {
			broken = append(broken, err)
			continue
		}
		cells = append(cells, img)
	}
	if len(cells) == 0 {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			broken = append(broken, err)
		}
		return errors.Join(broken...)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, contactSheet(cells), &jpeg.Options{Quality: sheetQuality}); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return errors.Join(append(broken, os.WriteFile(file, b.Bytes(), 0o644))...)
}

func readPicture(file string) (image.Image, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	size, err := jpeg.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if size.Width*size.Height > maxPixels {
		return nil, fmt.Errorf("%s: %d × %d pixels are too many for the contact sheet", file, size.Width, size.Height)
	}
	img, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return img, nil
}

// contactSheet is the pictures in rows, in cells of the first one's shape.
func contactSheet(cells []image.Image) image.Image {
	first := cells[0].Bounds()
	cellHeight := max(cellWidth*first.Dy()/first.Dx(), 1)
	columns := min(sheetColumns, len(cells))
	rows := (len(cells) + columns - 1) / columns
	sheet := image.NewRGBA(image.Rect(0, 0, columns*(cellWidth+cellGap)+cellGap, rows*(cellHeight+cellGap)+cellGap))
	draw.Draw(sheet, sheet.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
	for i, img := range cells {
		x, y := cellGap+i%columns*(cellWidth+cellGap), cellGap+i/columns*(cellHeight+cellGap)
		draw.CatmullRom.Scale(sheet, fit(img.Bounds(), image.Rect(x, y, x+cellWidth, y+cellHeight)), img, img.Bounds(), draw.Src, nil)
	}
	return sheet
}

// fit is the largest rectangle of a picture's shape in the middle of a cell.
func fit(picture, cell image.Rectangle) image.Rectangle {
	w, h := cell.Dx(), cell.Dx()*picture.Dy()/picture.Dx()
	if h > cell.Dy() {
		w, h = cell.Dy()*picture.Dx()/picture.Dy(), cell.Dy()
	}
	x, y := cell.Min.X+(cell.Dx()-w)/2, cell.Min.Y+(cell.Dy()-h)/2
	return image.Rect(x, y, x+w, y+h)
}
