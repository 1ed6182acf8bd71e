// What gocv lacks or gets wrong, as C functions for opencv.go.
//
// gocv lets C++ exceptions pass through cgo, which ends the process. Whatever
// depends on bytes from outside (pictures, model files) therefore goes through
// here: every function that can fail returns NULL or a message that the caller
// frees.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#include <opencv2/core.hpp>
extern "C" {
typedef cv::Mat *Mat; // as in gocv's core.h
#else
typedef void *Mat;
#endif

typedef struct WeftNet WeftNet;
typedef struct WeftHOG WeftHOG;

// A rectangle in pixels and the margin of the SVM.
typedef struct {
    int x, y, w, h;
    double margin;
} WeftHit;

void weft_set_threads(int n);
int weft_threads(void);
int weft_cuda_devices(void);

char *weft_decode(const void *data, size_t size, Mat dst);
char *weft_encode(const char *ext, Mat src, const int *params, int count, void **data, size_t *size);

char *weft_net_darknet(const char *cfg, size_t cfgSize, const char *weights, size_t weightsSize, WeftNet **net);
char *weft_net_onnx(const char *model, size_t size, WeftNet **net);
char *weft_net_backend(WeftNet *net, int cuda);
char *weft_net_forward(WeftNet *net, Mat bgr, double scale, int rgb, const float **data, int *rows, int *cols);
void weft_net_close(WeftNet *net);

char *weft_hog_open(WeftHOG **hog);
char *weft_hog_detect(WeftHOG *hog, Mat bgr, const WeftHit **hits, int *count);
void weft_hog_close(WeftHOG *hog);

#ifdef __cplusplus
}
#endif
