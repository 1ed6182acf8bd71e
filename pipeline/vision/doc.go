// Package vision looks at pictures: the stages Filter, Resize, Detect and Draw, the
// detectors, and the codec of links. It is the frame path's use of OpenCV,
// through gocv and a few C++ functions beside it.
//
//   - [Detector]: OpenCV's HOG people detector (Dalal and Triggs, CVPR 2005),
//     darknet YOLO networks, YOLOX networks in ONNX. A model is checked and
//     tried when it is loaded; what it runs on is found out, not assumed.
//   - [Filter]: skips frames that hardly differ (package adaptation/filter).
//   - [Resize] (T_reduce of Houmani et al., Eq. 1), [Detect], [Draw]: stages.
//   - [Codec]: JPEG, PNG and raw pixels.
//
// # Boxes
//
// Between the stages a picture is only ever scaled, by any factor on each
// axis; padding is added inside a detector and undone there. Fractions of the
// picture in hand are therefore fractions of the captured one, and no stage
// needs to know how the frame got its size.
//
// # Safety
//
// gocv lets C++ exceptions end the process, so whatever depends on bytes from
// outside is called through opencv.cpp, which catches them. The size of a
// picture is known and limited before it is decoded; a model's files are
// compared with the catalogue, and a darknet network's weights with what its
// config asks for, before OpenCV sees them.
//
// # Memory and threads
//
// Pixels live in Go slices; OpenCV works on them in place while they are
// pinned. What it allocates itself is freed before a function returns, except
// a Detector's network, which Close frees. `go test -tags matprofile` counts
// what gocv has not closed. OpenCV's thread pool is one for the whole process:
// see [SetThreads].
//
// Agents make the stages (cmd/weftd hands them over); nobody else imports this
// package, so that everything else builds without OpenCV.
package vision
