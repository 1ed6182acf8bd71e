package source

// #include "capture.h"
import "C"

import "os"

// Quiet stops OpenCV and FFmpeg from writing to standard error, where they
// complain of each damaged frame and show the password of a stream's URL. What
// goes wrong is in the errors of Run. It changes the process's environment, so
// main calls it before the first Open. Who sets OPENCV_LOG_LEVEL or
// OPENCV_FFMPEG_LOGLEVEL gets to see that log nevertheless.
func Quiet() error {
	const ffmpegLevel = "OPENCV_FFMPEG_LOGLEVEL" // read when the first video is opened
	if os.Getenv("OPENCV_LOG_LEVEL") == "" {
		C.weft_capture_quiet()
	}
	if os.Getenv(ffmpegLevel) != "" {
		return nil
	}
	return os.Setenv(ffmpegLevel, "-8") // AV_LOG_QUIET
}
