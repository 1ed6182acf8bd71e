#include "capture.h"

#include <cmath>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <vector>

#include <opencv2/core.hpp>
#include <opencv2/core/utils/logger.hpp>
#include <opencv2/videoio.hpp>

struct WeftCapture {
    cv::VideoCapture video;
    cv::Mat frame;
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

double known(double v) { return std::isfinite(v) && v > 0 ? v : 0; }

} // namespace

void weft_capture_quiet(void) { cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT); }

char *weft_capture_open(const char *url, int openMilliseconds, int readMilliseconds, WeftCapture **capture, WeftVideo *video) {
    return guarded([&] {
        std::unique_ptr<WeftCapture> c(new WeftCapture);
        // FFmpeg alone: the other backends know no timeouts, and one of them
        // takes the name of a picture for that of a series.
        const std::vector<int> params = {cv::CAP_PROP_OPEN_TIMEOUT_MSEC, openMilliseconds,
                                         cv::CAP_PROP_READ_TIMEOUT_MSEC, readMilliseconds};
        if (!c->video.open(url, cv::CAP_FFMPEG, params)) {
            throw std::runtime_error("cannot be opened as a video");
        }
        video->fps = known(c->video.get(cv::CAP_PROP_FPS));
        video->frames = known(c->video.get(cv::CAP_PROP_FRAME_COUNT));
        *capture = c.release();
    });
}

char *weft_capture_seek(WeftCapture *capture, double milliseconds) {
    return guarded([&] {
        if (!capture->video.set(cv::CAP_PROP_POS_MSEC, milliseconds)) {
            throw std::runtime_error("has no such position");
        }
    });
}

char *weft_capture_grab(WeftCapture *capture, int *ok) {
    return guarded([&] { *ok = capture->video.grab(); });
}

char *weft_capture_retrieve(WeftCapture *capture, const void **data, int *width, int *height) {
    return guarded([&] {
        cv::Mat &frame = capture->frame;
        if (!capture->video.retrieve(frame) || frame.empty()) {
            throw std::runtime_error("a frame without a picture");
        }
        if (frame.type() != CV_8UC3) {
            throw std::runtime_error("a frame that is not 8-bit BGR");
        }
        if (!frame.isContinuous()) {
            frame = frame.clone();
        }
        *data = capture->frame.data;
        *width = capture->frame.cols;
        *height = capture->frame.rows;
    });
}

void weft_capture_close(WeftCapture *capture) {
    try {
        delete capture;
    } catch (...) { // nothing can be done, and Go must not see it
    }
}
