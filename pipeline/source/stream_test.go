package source

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pipeline"
)

// rtspServer is GStreamer's RTSP server showing a test pattern.
type rtspServer struct {
	url string
	cmd *exec.Cmd
}

// startRTSP runs the server; port "0" takes a free one.
func startRTSP(t *testing.T, port, encoder, packages string) *rtspServer {
	t.Helper()
	const (
		python  = "/usr/bin/python3" // Debian's: another one doesn't see its packages
		missing = 77
	)
	var complaint bytes.Buffer
	cmd := exec.Command(python, filepath.Join("testdata", "rtspserver.py"), port, encoder)
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); errors.Is(err, fs.ErrNotExist) {
		t.Skipf("needs Debian's packages python3 and %s", packages)
	} else if err != nil {
		t.Fatal(err)
	}
	s := &rtspServer{cmd: cmd}
	t.Cleanup(s.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.kill()
		if cmd.ProcessState.ExitCode() == missing {
			t.Skipf("needs Debian's packages %s: %s", packages, complaint.String())
		}
		t.Fatalf("the RTSP server did not start: %s", complaint.String())
	}
	s.url = strings.TrimSpace(line)
	return s
}

func (s *rtspServer) kill() {
	_ = s.cmd.Process.Kill() // it may be dead already
	_ = s.cmd.Wait()
}

const rtspPackages = "gir1.2-gst-rtsp-server-1.0, python3-gi, gstreamer1.0-plugins-base and gstreamer1.0-plugins-good"

// A stream shows frames, fails when its server dies, and shows frames again
// when the source is run again after the server has come back.
func TestRTSP(t *testing.T) {
	const encoder = "jpegenc ! rtpjpegpay"
	server := startRTSP(t, "0", encoder, rtspPackages)
	src := mustOpen(t, Config{URI: server.url})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var frames []*pipeline.Frame
	err := src.Run(ctx, func(f *pipeline.Frame) {
		if frames = append(frames, f); len(frames) == 5 {
			server.kill()
		}
	})
	if !errors.Is(err, ErrLost) || len(frames) < 5 {
		t.Fatalf("until the server's death %d frames, %v; want 5 and ErrLost", len(frames), err)
	}
	checkTestPattern(t, frames)
	if _, err := collect(t, src, 1); !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("without a server: %v", err)
	}
	u, err := url.Parse(server.url)
	if err != nil {
		t.Fatal(err)
	}
	startRTSP(t, u.Port(), encoder, rtspPackages)
	if frames, err := collect(t, src, 3); len(frames) != 3 || !errors.Is(err, context.Canceled) {
		t.Errorf("after the server's return: %d frames, %v", len(frames), err)
	}
	if _, err := collect(t, mustOpen(t, Config{URI: server.url + "/nothing"}), 1); !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "check the path") {
		t.Errorf("a path that isn't there: %v", err)
	}
}

// H.264 is what most cameras send.
func TestRTSPWithH264(t *testing.T) {
	t.Parallel() // FFmpeg watches the stream for 5 s before it plays it
	server := startRTSP(t, "0", "openh264enc ! rtph264pay config-interval=-1", rtspPackages+" and gstreamer1.0-plugins-bad")
	frames, err := collect(t, mustOpen(t, Config{URI: server.url, FPS: 10}), 5)
	if len(frames) != 5 || !errors.Is(err, context.Canceled) {
		t.Fatalf("%d frames, %v", len(frames), err)
	}
	checkTestPattern(t, frames)
}

// checkTestPattern looks for the white bar on the left of videotestsrc.
func checkTestPattern(t *testing.T, frames []*pipeline.Frame) {
	t.Helper()
	checkFrames(t, frames)
	const width, height = 160, 120
	for i, f := range frames {
		if img := f.Image; img.Format != pipeline.BGR || img.Width != width || img.Height != height || len(img.Data) != 3*width*height {
			t.Fatalf("frame %d: %s %d×%d, %d bytes", i, img.Format, img.Width, img.Height, len(img.Data))
		}
		at := 3 * (10*width + 10)
		if px := f.Image.Data[at : at+3]; slices.Min(px) < 140 {
			t.Errorf("frame %d: the top left is %v, not white", i, px)
		}
	}
}

// A file over HTTP is played like one on disk.
func TestHTTPFile(t *testing.T) {
	dir := t.TempDir()
	writeClip(t, filepath.Join(dir, "clip.avi"), 20, 100)
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	frames, err := collect(t, mustOpen(t, Config{URI: server.URL + "/clip.avi", FPS: 50}), 1000)
	if !errors.Is(err, pipeline.ErrEnded) {
		t.Fatalf("got %v, want ErrEnded", err)
	}
	checkFrames(t, frames)
	if got := numbers(t, frames); !slices.Equal(got, count(0, 20, 2)) {
		t.Errorf("frames %v", got)
	}
	if _, err := collect(t, mustOpen(t, Config{URI: server.URL + "/nothing.avi"}), 1); !errors.Is(err, ErrLost) {
		t.Errorf("a file that isn't there: %v, want ErrLost", err)
	}
}

// A transfer that breaks off is no end of the film.
func TestHTTPFileBreaksOff(t *testing.T) {
	name := filepath.Join(t.TempDir(), "clip.avi")
	writeClip(t, name, 60, 25)
	clip, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(clip)))
		_, _ = w.Write(clip[:len(clip)/2])
	}))
	defer server.Close()
	src := mustOpen(t, Config{URI: server.URL + "/clip.avi", ReadTimeout: time.Second})
	if frames, err := collect(t, src, 1000); !errors.Is(err, ErrLost) || len(frames) == 0 {
		t.Fatalf("%d frames, %v; want some and ErrLost", len(frames), err)
	}
}

// mjpeg is a camera that sends the numbered pictures as Motion JPEG, from 0 on,
// 50 a second, and falls silent after some.
func mjpeg(t *testing.T, pictures int, end bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=frame")
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for n := range pictures {
			p := numbered(t, n)
			_, err := fmt.Fprintf(w, "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n", len(p), p)
			if err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
		if !end {
			<-r.Context().Done()
		}
	})
}

// A Motion JPEG stream is live: each frame passes when it arrives, and its end
// is a failure.
func TestHTTPMotionJPEG(t *testing.T) {
	const pictures = 60
	server := httptest.NewServer(mjpeg(t, pictures, true))
	defer server.Close()
	src := mustOpen(t, Config{URI: server.URL + "/camera"})
	for range 2 {
		frames, err := collect(t, src, 1000)
		if !errors.Is(err, ErrLost) || len(frames) == 0 {
			t.Fatalf("%d frames, %v; want some and ErrLost", len(frames), err)
		}
		checkFrames(t, frames)
		// Those that came while FFmpeg got to know the stream are left out.
		if got, want := numbers(t, frames), count(pictures-len(frames), pictures, 1); !slices.Equal(got, want) {
			t.Fatalf("frames %v, want %v", got, want)
		}
	}
}

// A peer that falls silent is given up after the timeout, in whichever phase;
// and a Run that is to end doesn't wait for that.
func TestSilentPeer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() // connections are accepted by the kernel, never answered
	for _, scheme := range []string{"http", "rtsp"} {
		t.Run(scheme, func(t *testing.T) {
			uri := fmt.Sprintf("%s://operator:secret@%s/camera", scheme, listener.Addr())
			src := mustOpen(t, Config{URI: uri, OpenTimeout: 300 * time.Millisecond})
			_, err := collect(t, src, 1)
			if !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "within 300ms") {
				t.Errorf("got %v", err)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
	t.Run("end", func(t *testing.T) {
		src := mustOpen(t, Config{URI: "http://" + listener.Addr().String(), OpenTimeout: 1500 * time.Millisecond})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- src.Run(ctx, func(*pipeline.Frame) {}) }()
		eventually(t, "it reads", func() bool { return len(src.(*video).reading) == 1 })
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		idle(t, src) // the connection is closed with the timeout at the latest
	})
	t.Run("read", func(t *testing.T) {
		server := httptest.NewServer(mjpeg(t, 20, false))
		defer server.Close()
		src := mustOpen(t, Config{URI: server.URL, ReadTimeout: 300 * time.Millisecond})
		if _, err := collect(t, src, 1000); !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "nothing received for 300ms") {
			t.Errorf("got %v", err)
		}
	})
}
