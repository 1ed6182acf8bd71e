package vision

// #cgo CXXFLAGS: -std=c++11
// #include <stdlib.h>
// #include "opencv.h"
import "C"

import (
	"errors"
	"runtime"
	"unsafe"

	"gocv.io/x/gocv"
)

// SetThreads limits how many threads OpenCV uses for one call, in the whole
// process; 0 means one thread, no pool. OpenCV's default is one a core, which
// is too many where several stages run side by side.
func SetThreads(n int) { C.weft_set_threads(C.int(max(n, 0))) }

// Threads is how many threads OpenCV may use for one call.
func Threads() int { return int(C.weft_threads()) }

// OpenCVVersion is the version of the OpenCV library in use.
func OpenCVVersion() string { return gocv.OpenCVVersion() }

// CUDADevices is the number of devices that detectors can use; 0 where OpenCV
// was built without CUDA, as distributions do.
func CUDADevices() int { return int(C.weft_cuda_devices()) }

// thrown makes an error of a message of opencv.h's functions and frees it.
func thrown(msg *C.char) error {
	if msg == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(msg))
	return errors.New("opencv: " + C.GoString(msg))
}

// cvDecode decodes a compressed picture into dst as BGR; dst is empty when it
// can't.
func cvDecode(data []byte, dst *gocv.Mat) error {
	return thrown(C.weft_decode(unsafe.Pointer(unsafe.SliceData(data)), C.size_t(len(data)), C.Mat(unsafe.Pointer(dst.Ptr()))))
}

// cvEncode compresses src; params are pairs of OpenCV's flags and values.
func cvEncode(ext string, src gocv.Mat, params ...int32) ([]byte, error) {
	e := C.CString(ext)
	defer C.free(unsafe.Pointer(e))
	var (
		data unsafe.Pointer
		size C.size_t
	)
	err := thrown(C.weft_encode(e, C.Mat(unsafe.Pointer(src.Ptr())), (*C.int)(unsafe.SliceData(params)), C.int(len(params)), &data, &size))
	if err != nil {
		return nil, err
	}
	defer C.free(data)
	return C.GoBytes(data, C.int(size)), nil
}

// network is an OpenCV DNN.
type network struct{ c *C.WeftNet }

func newDarknetNetwork(cfg, weights []byte) (*network, error) {
	n := &network{}
	return n, thrown(C.weft_net_darknet(
		(*C.char)(unsafe.Pointer(unsafe.SliceData(cfg))), C.size_t(len(cfg)),
		(*C.char)(unsafe.Pointer(unsafe.SliceData(weights))), C.size_t(len(weights)), &n.c))
}

func newONNXNetwork(model []byte) (*network, error) {
	n := &network{}
	return n, thrown(C.weft_net_onnx((*C.char)(unsafe.Pointer(unsafe.SliceData(model))), C.size_t(len(model)), &n.c))
}

// use chooses what runs the network.
func (n *network) use(backend string) error {
	cuda := C.int(0)
	if backend == backendCUDA {
		cuda = 1
	}
	return thrown(C.weft_net_backend(n.c, cuda))
}

// forward runs the network on a BGR picture of its input size, each value
// multiplied by scale, in the order RGB if asked for. It returns all outputs
// as one table, row by row; the table is valid until the next call.
func (n *network) forward(bgr gocv.Mat, scale float64, rgb bool) (data []float32, cols int, err error) {
	var (
		p       *C.float
		rows, w C.int
		swap    C.int
	)
	if rgb {
		swap = 1
	}
	err = thrown(C.weft_net_forward(n.c, C.Mat(unsafe.Pointer(bgr.Ptr())), C.double(scale), swap, &p, &rows, &w))
	if err != nil {
		return nil, 0, err
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(p)), int(rows)*int(w)), int(w), nil
}

func (n *network) close() {
	C.weft_net_close(n.c)
	n.c = nil
}

// hit is a rectangle in pixels that the HOG detector found, with the margin of
// its SVM.
type hit struct {
	x, y, w, h int
	margin     float64
}

// peopleHOG is OpenCV's HOG descriptor with its default people detector.
type peopleHOG struct{ c *C.WeftHOG }

func newPeopleHOG() (*peopleHOG, error) {
	h := &peopleHOG{}
	return h, thrown(C.weft_hog_open(&h.c))
}

func (h *peopleHOG) detect(bgr gocv.Mat) ([]hit, error) {
	var (
		p *C.WeftHit
		n C.int
	)
	if err := thrown(C.weft_hog_detect(h.c, C.Mat(unsafe.Pointer(bgr.Ptr())), &p, &n)); err != nil {
		return nil, err
	}
	out := make([]hit, 0, n)
	for _, c := range unsafe.Slice(p, int(n)) {
		out = append(out, hit{int(c.x), int(c.y), int(c.w), int(c.h), float64(c.margin)})
	}
	return out, nil
}

func (h *peopleHOG) close() {
	C.weft_hog_close(h.c)
	h.c = nil
}

// pixels shows the BGR bytes of a Go slice to OpenCV without copying them.
type pixels struct {
	gocv.Mat
	pin runtime.Pinner
}

// view makes a Mat of the slice, which holds width × height × 3 bytes. It must
// be closed; until then the slice stays where it is.
func view(data []byte, width, height int) (*pixels, error) {
	p := &pixels{}
	p.pin.Pin(unsafe.SliceData(data))
	m, err := gocv.NewMatFromBytes(height, width, gocv.MatTypeCV8UC3, data)
	if err != nil {
		p.pin.Unpin()
		return nil, err
	}
	p.Mat = m
	return p, nil
}

func (p *pixels) close() {
	p.Close()
	p.pin.Unpin()
}
