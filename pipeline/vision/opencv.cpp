#include "opencv.h"

#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <opencv2/core/cuda.hpp>
#include <opencv2/dnn.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/objdetect.hpp>

// The outputs of the last forward pass, one below the other.
struct WeftNet {
    cv::dnn::Net net;
    std::vector<cv::String> outputs;
    std::vector<cv::Mat> blobs;
    std::vector<float> data;
};

struct WeftHOG {
    cv::HOGDescriptor hog;
    std::vector<WeftHit> hits;
};

namespace {

// Runs fn and returns what it throws as a message.
template <typename F> char *guarded(F fn) {
    try {
        fn();
        return NULL;
    } catch (const cv::Exception &e) {
        return strdup(e.err.empty() ? e.what() : e.err.c_str());
    } catch (const std::exception &e) {
        return strdup(e.what());
    } catch (...) {
        return strdup("unknown C++ exception");
    }
}

void keep(cv::dnn::Net net, WeftNet **out) {
    if (net.empty()) {
        throw std::runtime_error("the network has no layers");
    }
    std::unique_ptr<WeftNet> n(new WeftNet);
    n->net = net;
    n->outputs = net.getUnconnectedOutLayersNames();
    *out = n.release();
}

} // namespace

#ifdef __GLIBC__
// A call from Go allocates in the heap of whichever thread it runs on, of which
// glibc makes up to eight a core, and each comes to hold room for the pictures
// of every stage: that looks like a leak for an hour. It is set before Go starts
// its first threads, each of which would have a heap already.
//
// A frame's matrices are as large as the last one's. Given back to the kernel in
// between they cost hundreds of page faults a frame, where those are slow a third
// of a detection: the heaps keep what they have.
__attribute__((constructor)) static void weft_heaps(void) {
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_MMAP_THRESHOLD, 32 << 20); // the most that glibc takes
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
}
#endif

void weft_set_threads(int n) { cv::setNumThreads(n); }

int weft_threads(void) { return cv::getNumThreads(); }

int weft_cuda_devices(void) {
    int devices = 0;
    char *failed = guarded([&] {
        if (!cv::dnn::getAvailableTargets(cv::dnn::DNN_BACKEND_CUDA).empty()) {
            devices = cv::cuda::getCudaEnabledDeviceCount(); // negative: the driver is too old
        }
    });
    free(failed);
    return devices > 0 ? devices : 0;
}

char *weft_decode(const void *data, size_t size, Mat dst) {
    return guarded([&] {
        const cv::Mat bytes(1, int(size), CV_8UC1, const_cast<void *>(data));
        *dst = cv::imdecode(bytes, cv::IMREAD_COLOR);
    });
}

char *weft_encode(const char *ext, Mat src, const int *params, int count, void **data, size_t *size) {
    return guarded([&] {
        std::vector<uchar> out;
        if (!cv::imencode(ext, *src, out, std::vector<int>(params, params + count))) {
            throw std::runtime_error("the encoder gave up");
        }
        *data = malloc(out.size());
        if (*data == NULL) {
            throw std::bad_alloc();
        }
        memcpy(*data, out.data(), out.size());
        *size = out.size();
    });
}

char *weft_net_darknet(const char *cfg, size_t cfgSize, const char *weights, size_t weightsSize, WeftNet **net) {
    return guarded([&] { keep(cv::dnn::readNetFromDarknet(cfg, cfgSize, weights, weightsSize), net); });
}

char *weft_net_onnx(const char *model, size_t size, WeftNet **net) {
    return guarded([&] { keep(cv::dnn::readNetFromONNX(model, size), net); });
}

char *weft_net_backend(WeftNet *net, int cuda) {
    return guarded([&] {
        net->net.setPreferableBackend(cuda ? cv::dnn::DNN_BACKEND_CUDA : cv::dnn::DNN_BACKEND_OPENCV);
        net->net.setPreferableTarget(cuda ? cv::dnn::DNN_TARGET_CUDA : cv::dnn::DNN_TARGET_CPU);
    });
}

char *weft_net_forward(WeftNet *net, Mat bgr, double scale, int rgb, const float **data, int *rows, int *cols) {
    return guarded([&] {
        net->net.setInput(cv::dnn::blobFromImage(*bgr, scale, cv::Size(), cv::Scalar(), rgb != 0, false));
        net->net.forward(net->blobs, net->outputs);
        net->data.clear();
        int width = 0;
        for (size_t i = 0; i < net->blobs.size(); i++) {
            const cv::Mat &m = net->blobs[i];
            if (m.depth() != CV_32F || m.dims < 2 || !m.isContinuous()) {
                throw std::runtime_error("an output is no table of 32-bit floats");
            }
            const int last = m.size[m.dims - 1];
            if (last < 1 || (width != 0 && last != width)) {
                throw std::runtime_error("the outputs are of different widths");
            }
            width = last;
            const float *p = m.ptr<float>();
            net->data.insert(net->data.end(), p, p + m.total());
        }
        *data = net->data.data();
        *cols = width;
        *rows = width == 0 ? 0 : int(net->data.size() / width);
    });
}

void weft_net_close(WeftNet *net) { delete net; }

char *weft_hog_open(WeftHOG **hog) {
    return guarded([&] {
        std::unique_ptr<WeftHOG> h(new WeftHOG);
        // gocv wraps the temporary vector without copying it.
        h->hog.setSVMDetector(cv::HOGDescriptor::getDefaultPeopleDetector());
        *hog = h.release();
    });
}

char *weft_hog_detect(WeftHOG *hog, Mat bgr, const WeftHit **hits, int *count) {
    return guarded([&] {
        std::vector<cv::Rect> found;
        std::vector<double> margins;
        // Stride, padding and scale are those of OpenCV's own sample; a person
        // counts once two overlapping windows agree.
        hog->hog.detectMultiScale(*bgr, found, margins, 0, cv::Size(8, 8), cv::Size(), 1.05, 2, false);
        hog->hits.clear();
        for (size_t i = 0; i < found.size(); i++) {
            const cv::Rect &r = found[i];
            const WeftHit hit = {r.x, r.y, r.width, r.height, i < margins.size() ? margins[i] : 0};
            hog->hits.push_back(hit);
        }
        *hits = hog->hits.data();
        *count = int(hog->hits.size());
    });
}

void weft_hog_close(WeftHOG *hog) { delete hog; }
