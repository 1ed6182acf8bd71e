// OpenCV's FFmpeg capture, as C functions for capture.go.
//
// gocv's VideoCapture can't set timeouts on every release that Weft builds
// with, and lets C++ exceptions pass through cgo, which ends the process. Each
// function here returns NULL or a message that the caller frees.
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct WeftCapture WeftCapture;

// What is known of an opened video; 0 where it isn't.
typedef struct {
    double fps;
    double frames;
} WeftVideo;

// quiet stops OpenCV's own log.
void weft_capture_quiet(void);

char *weft_capture_open(const char *url, int openMilliseconds, int readMilliseconds, WeftCapture **capture, WeftVideo *video);
char *weft_capture_seek(WeftCapture *capture, double milliseconds);
// grab decodes the next frame; *ok is 0 when there is none.
char *weft_capture_grab(WeftCapture *capture, int *ok);
// retrieve converts the grabbed frame to BGR without padding; *data is valid
// until the next call.
char *weft_capture_retrieve(WeftCapture *capture, const void **data, int *width, int *height);
void weft_capture_close(WeftCapture *capture);

#ifdef __cplusplus
}
#endif
