package source

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/pipeline"
)

func count(from, to, step int) []int {
	var out []int
	for i := from; i < to; i += step {
		out = append(out, i)
	}
	return out
}

func TestVideoOnce(t *testing.T) {
	dir := t.TempDir()
	writeClip(t, filepath.Join(dir, "clip.avi"), 20, 100)
	src := mustOpen(t, Config{URI: "video:clip.avi", MediaDir: dir})
	for range 2 { // a source may be run again
		frames, err := collect(t, src, 1000)
		if !errors.Is(err, pipeline.ErrEnded) {
			t.Fatalf("got %v, want ErrEnded", err)
		}
		checkFrames(t, frames)
		if got := numbers(t, frames); !slices.Equal(got, count(0, 20, 1)) {
			t.Fatalf("frames %v", got)
		}
	}
}

func TestVideoLoopsFromStart(t *testing.T) {
	dir := t.TempDir()
	writeClip(t, filepath.Join(dir, "clip.avi"), 20, 100)
	src := mustOpen(t, Config{URI: "video:clip.avi?loop=true&start=150ms", MediaDir: dir})
	frames, err := collect(t, src, 12)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
	want := slices.Concat(count(15, 20, 1), count(15, 20, 1), []int{15, 16})
	if got := numbers(t, frames); !slices.Equal(got, want) {
		t.Fatalf("frames %v, want %v", got, want)
	}
}

// A lower rate leaves frames out; a higher one repeats none.
func TestVideoRate(t *testing.T) {
	dir := t.TempDir()
	writeClip(t, filepath.Join(dir, "clip.avi"), 20, 100)
	for fps, want := range map[float64][]int{
		50:  count(0, 20, 2),
		25:  count(0, 20, 4),
		300: count(0, 20, 1),
	} {
		frames, err := collect(t, mustOpen(t, Config{URI: "video:clip.avi", FPS: fps, MediaDir: dir}), 1000)
		if !errors.Is(err, pipeline.ErrEnded) {
			t.Fatalf("got %v, want ErrEnded", err)
		}
		if got := numbers(t, frames); !slices.Equal(got, want) {
			t.Errorf("at %g frames a second: %v, want %v", fps, got, want)
		}
	}
}

func TestVideoThatIsNone(t *testing.T) {
	dir := t.TempDir()
	writeClip(t, filepath.Join(dir, "clip.avi"), 20, 100)
	clip, err := os.ReadFile(filepath.Join(dir, "clip.avi"))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"text.mp4":  []byte(strings.Repeat("this is no video\n", 1000)),
		"empty.avi": nil,
		"zeros.mkv": make([]byte, 1<<16),
		"head.avi":  clip[:64],
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := collect(t, mustOpen(t, Config{URI: "video:" + name + "?loop=true", MediaDir: dir}), 1)
			if !errors.Is(err, ErrNoVideo) && !errors.Is(err, ErrNoFrames) || !strings.Contains(err.Error(), name) {
				t.Fatalf("got %v", err)
			}
		})
	}
	t.Run("start past the end", func(t *testing.T) {
		_, err := collect(t, mustOpen(t, Config{URI: "video:clip.avi?start=40s", MediaDir: dir}), 1)
		if err == nil || !strings.Contains(err.Error(), "clip.avi is 200ms long") {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("removed after Open", func(t *testing.T) {
		src := mustOpen(t, Config{URI: "video:clip.avi", MediaDir: dir})
		if err := os.Remove(filepath.Join(dir, "clip.avi")); err != nil {
			t.Fatal(err)
		}
		if _, err := collect(t, src, 1); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("got %v, want fs.ErrNotExist", err)
		}
	})
}

// Damage of any kind ends in fewer or wrong pictures or an error, never in a
// crash or a hang.
func TestDamagedVideo(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "clip.avi")
	writeClip(t, name, 20, 1000)
	clip, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	played := 0
	for i := range 60 {
		broken := slices.Clone(clip)
		if i%3 == 0 {
			broken = broken[:rng.IntN(len(broken))]
		}
		for range len(broken) / (1 + rng.IntN(400)) {
			broken[rng.IntN(len(broken))] = byte(rng.Uint32())
		}
		if err := os.WriteFile(name, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		frames, err := collect(t, mustOpen(t, Config{URI: "video:clip.avi", MediaDir: dir}), 100)
		if err == nil {
			t.Fatal("ended without a reason")
		}
		checkFrames(t, frames)
		if len(frames) > 0 {
			played++
		}
	}
	if played == 0 {
		t.Error("none of the damaged videos showed a picture: the damage is too great for this test to mean much")
	}
}
