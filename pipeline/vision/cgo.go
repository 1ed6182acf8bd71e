//go:build !customenv

package vision

// With the tag customenv the flags come from CGO_CPPFLAGS and CGO_LDFLAGS
// alone, as in gocv: pkg-config would link every library of OpenCV.

// #cgo !windows pkg-config: opencv4
import "C"
