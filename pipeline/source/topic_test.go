package source

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/logtest"
	"github.com/weft-mesh/weft/pipeline"
)

// publish is a broker on which the payloads arrive, and which then is lost or
// stays silent until ctx ends.
func publish(lost error, payloads ...[]byte) Subscribe {
	return func(ctx context.Context, topic string, handle func([]byte)) error {
		for _, p := range payloads {
			handle(p)
		}
		if lost == nil {
			<-ctx.Done()
		}
		return lost
	}
}

func TestTopicPassesPictures(t *testing.T) {
	jpg, png := numbered(t, 1), pngOf(t, numbered(t, 2))
	log := &logtest.Book{}
	cfg := Config{URI: "mqtt:cameras/gate", Subscribe: publish(nil, jpg, []byte("{}"), nil, png, jpg[:10], jpg), Log: log.Logger()}
	src, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	frames, err := collect(t, src, 3)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
	checkFrames(t, frames)
	if got := numbers(t, frames); !slices.Equal(got, []int{1, 2, 1}) {
		t.Errorf("frames %v", got)
	}
	if frames[1].Image.Format != pipeline.PNG || !slices.Equal(frames[0].Image.Data, jpg) {
		t.Error("a picture did not pass as it was")
	}
	if n := strings.Count(log.String(), "message skipped"); n != 2 { // the first and the second of three
		t.Errorf("logged %d times:\n%s", n, log)
	}
}

func TestTopicLost(t *testing.T) {
	lost := errors.New("connection to the broker lost")
	src := mustOpen(t, Config{URI: "mqtt:cameras/gate", Subscribe: publish(lost, numbered(t, 1))})
	for range 2 {
		frames, err := collect(t, src, 2)
		if len(frames) != 1 || !errors.Is(err, lost) || !strings.Contains(err.Error(), "mqtt:cameras/gate") {
			t.Fatalf("%d frames, %v", len(frames), err)
		}
	}
}

// A late callback must not emit into a feed that is gone.
func TestTopicEmitsNothingAfterRun(t *testing.T) {
	var late func([]byte)
	src := mustOpen(t, Config{URI: "mqtt:cameras/gate", Subscribe: func(_ context.Context, _ string, handle func([]byte)) error {
		late = handle
		return nil
	}})
	frames := 0
	if err := src.Run(t.Context(), func(*pipeline.Frame) { frames++ }); !errors.Is(err, ErrLost) {
		t.Fatalf("got %v, want ErrLost", err)
	}
	late(numbered(t, 1))
	if frames != 0 {
		t.Error("a frame was emitted after Run")
	}
}

// The rate asked for is kept: of many at once, one.
func TestTopicRate(t *testing.T) {
	var payloads [][]byte
	for n := range 20 {
		payloads = append(payloads, numbered(t, n))
	}
	src := mustOpen(t, Config{URI: "mqtt:cameras/gate", FPS: 0.001, Subscribe: publish(errors.New("over"), payloads...)})
	frames, _ := collect(t, src, 20)
	if got := numbers(t, frames); !slices.Equal(got, []int{0}) {
		t.Errorf("frames %v, want the first", got)
	}
}
