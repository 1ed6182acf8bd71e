package source

// #include <stdlib.h>
// #include "capture.h"
import "C"

import (
	"errors"
	"time"
	"unsafe"

	"github.com/weft-mesh/weft/pipeline"
)

// capture is a video or stream opened by OpenCV through FFmpeg. One goroutine
// at a time may use it.
type capture struct {
	c *C.WeftCapture
	// What the container says; 0 where it doesn't.
	fps    float64
	frames int
}

// openCapture opens a file or URL. Opening and each read fail when the input
// says nothing for as long as the timeouts.
func openCapture(url string, open, read time.Duration) (*capture, error) {
	u := C.CString(url)
	defer C.free(unsafe.Pointer(u))
	var (
		c *C.WeftCapture
		v C.WeftVideo
	)
	if err := failed(C.weft_capture_open(u, C.int(open.Milliseconds()), C.int(read.Milliseconds()), &c, &v)); err != nil {
		return nil, err
	}
	return &capture{c: c, fps: float64(v.fps), frames: int(v.frames)}, nil
}

// seek makes the frame at the given time the next one.
func (c *capture) seek(to time.Duration) error {
	return failed(C.weft_capture_seek(c.c, C.double(to)/C.double(time.Millisecond)))
}

// grab waits for the next frame and decodes it; false: there is none.
func (c *capture) grab() (bool, error) {
	var ok C.int
	err := failed(C.weft_capture_grab(c.c, &ok))
	return ok != 0, err
}

// retrieve returns the grabbed frame.
func (c *capture) retrieve() (pipeline.Image, error) {
	var (
		data          unsafe.Pointer
		width, height C.int
	)
	if err := failed(C.weft_capture_retrieve(c.c, &data, &width, &height)); err != nil {
		return pipeline.Image{}, err
	}
	w, h := int(width), int(height)
	img := pipeline.Image{Format: pipeline.BGR, Width: w, Height: h, Data: make([]byte, 3*w*h)}
	copy(img.Data, unsafe.Slice((*byte)(data), len(img.Data)))
	return img, nil
}

func (c *capture) close() { C.weft_capture_close(c.c) }

// failed makes an error of a message from capture.cpp and frees it.
func failed(msg *C.char) error {
	if msg == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(msg))
	return errors.New(C.GoString(msg))
}
