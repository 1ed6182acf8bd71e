// Command dataset draws street scenes for people and programs that learn from
// them. It is a developer's tool; the detector's training reads its stream.
//
//	go run ./models/street/dataset -seeds 1-1000 -size 512 > train.bin
//	go run ./models/street/dataset -seeds 1-12 -sheet sheet.png
//	go run ./models/street/dataset -seeds 1-5000 -stats
//
// # The stream
//
// All numbers are little-endian. A header of 32 bytes: "WEFTSTR1", then as
// uint32 the width, the height, how many records follow, how many classes
// there are, how many objects a record has room for, and zero. Then records of
// one size each:
//
//	uint64  seed
//	uint32  number of the frame, from 1
//	uint32  how many objects there are
//	float32 [room][7] objects: class, x, y, width, height (fractions of the
//	        picture, from its upper left corner), visible share, ignore (0 or 1)
//	uint8   [height][width][3] pixels: red, green, blue
//
// In numpy that is one dtype. With -size N the pictures are stretched to N×N as
// OpenCV's resize with INTER_LINEAR does, which is how the detector gets them;
// with -size 0 they are what the camera sees. Ranges of seeds are independent
// of each other, so that several processes can share the work.
package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/weft-mesh/weft/models/street"
)

const room = 128 // objects in a record

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "dataset:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("dataset", flag.ContinueOnError)
	seeds := flags.String("seeds", "1-16", "which `range` of seeds")
	size := flags.Int("size", 0, "stretch the pictures to a square of this many `pixels`; 0: leave them as they are")
	frames := flags.Int("frames", 1, "how many frames of each seed")
	every := flags.Int("every", 25, "how many frames one lies after the other")
	sheet := flags.String("sheet", "", "write a contact sheet to this PNG `file` instead of the stream")
	stats := flags.Bool("stats", false, "say how many objects of which height there are instead of the stream")
	width := flags.Int("width", 0, "of the camera's picture, in `pixels`")
	height := flags.Int("height", 0, "of the camera's picture, in `pixels`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	first, last, err := street.ParseSeeds(*seeds)
	if err != nil {
		return err
	}
	if *size < 0 || *size > street.MaxSide || *frames < 1 || *every < 1 {
		return errors.New("-size must not be negative, nor -frames or -every below 1")
	}
	job := job{first: first, last: last, frames: *frames, every: *every, size: *size, options: street.Options{Width: *width, Height: *height}}
	switch {
	case *sheet != "":
		return job.sheet(*sheet)
	case *stats:
		return job.stats(out)
	}
	return job.stream(out)
}

// job is which frames to draw.
type job struct {
	first, last   uint64
	frames, every int
	size          int
	options       street.Options
}

// each calls do with every frame; the pixels are good until it returns.
func (j job) each(do func(s *street.Street, seq uint64, bgr []byte, objects []street.Object) error) error {
	var bgr []byte
	for seed := j.first; ; seed++ {
		o := j.options
		o.Seed = seed
		s, err := street.New(o)
		if err != nil {
			return err
		}
		if bgr == nil {
			bgr = make([]byte, s.Bytes())
		}
		for i := range j.frames {
			seq := uint64(1 + i*j.every)
			if err := do(s, seq, bgr, s.RenderAt(seq, bgr)); err != nil {
				return err
			}
		}
		if seed == j.last {
			return nil
		}
	}
}

func (j job) stream(out io.Writer) error {
	w := bufio.NewWriterSize(out, 1<<20)
	s, err := street.New(j.options)
	if err != nil {
		return err
	}
	width, height := s.Options().Width, s.Options().Height
	if j.size > 0 {
		width, height = j.size, j.size
	}
	count := (j.last - j.first + 1) * uint64(j.frames)
	if count > math.MaxUint32 {
		return fmt.Errorf("%d frames do not fit into one stream", count)
	}
	head := []byte("WEFTSTR1")
	for _, v := range []int{width, height, int(count), len(street.Classes()), room, 0} {
		head = binary.LittleEndian.AppendUint32(head, uint32(v))
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	resize := newLinear(s.Options().Width, s.Options().Height, width, height)
	rgb := make([]byte, 3*width*height)
	record := make([]byte, 0, 16+room*7*4)
	err = j.each(func(s *street.Street, seq uint64, bgr []byte, objects []street.Object) error {
		if len(objects) > room {
			return fmt.Errorf("seed %d has %d objects; a record has room for %d", s.Options().Seed, len(objects), room)
		}
		record = binary.LittleEndian.AppendUint64(record[:0], s.Options().Seed)
		record = binary.LittleEndian.AppendUint32(record, uint32(seq))
		record = binary.LittleEndian.AppendUint32(record, uint32(len(objects)))
		for _, o := range objects {
			ignore := 0.0
			if o.Ignore {
				ignore = 1
			}
			for _, v := range []float64{float64(o.Class), o.Box.X, o.Box.Y, o.Box.W, o.Box.H, o.Visible, ignore} {
				record = binary.LittleEndian.AppendUint32(record, math.Float32bits(float32(v)))
			}
		}
		record = append(record, make([]byte, 16+room*7*4-len(record))...)
		if _, err := w.Write(record); err != nil {
			return err
		}
		resize.to(rgb, bgr)
		for i := 0; i < len(rgb); i += 3 {
			rgb[i], rgb[i+2] = rgb[i+2], rgb[i]
		}
		_, err := w.Write(rgb)
		return err
	})
	return errors.Join(err, w.Flush())
}
