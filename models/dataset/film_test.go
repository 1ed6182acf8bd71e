package dataset_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/models/dataset"
	"github.com/weft-mesh/weft/models/street"
)

// A film's pictures are those of the street, in whatever order they are asked
// for.
func TestFilm(t *testing.T) {
	s, err := dataset.OpenFilm("street:seeds=7-8", dataset.Film{FPS: 5, Frames: 2})
	if err != nil {
		t.Fatal(err)
	}
	if s.Len() != 4 {
		t.Fatalf("%d pictures, want 4", s.Len())
	}
	for _, x := range []struct {
		i    int
		seed uint64
		seq  uint64
		name string
	}{{3, 8, 2, "seed 8, frame 2"}, {1, 7, 2, "seed 7, frame 2"}, {2, 8, 1, "seed 8, frame 1"}} {
		drawn, err := street.New(street.Options{Seed: x.seed, FPS: 5})
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, drawn.Bytes())
		objects := drawn.RenderAt(x.seq, want)
		got, err := s.Load(x.i)
		if err != nil {
			t.Fatal(err)
		}
		if got.Name != x.name || !bytes.Equal(got.Picture.Data, want) || !reflect.DeepEqual(got.Truth, dataset.OfStreet(objects)) {
			t.Errorf("picture %d is %s, and not frame %d of seed %d", x.i, got.Name, x.seq, x.seed)
		}
	}
}

func TestNoFilm(t *testing.T) {
	for _, x := range []struct {
		name string
		film dataset.Film
		want string
	}{
		{"yolo:testdata", dataset.Film{FPS: 5, Frames: 4}, "can't be used"},
		{"street:seeds=1-2", dataset.Film{FPS: 0, Frames: 4}, "0 frames a second; use 1 to 120"},
		{"street:seeds=1-2", dataset.Film{FPS: 500, Frames: 4}, "500 frames a second; use 1 to 120"},
		{"street:seeds=1-2", dataset.Film{FPS: 5}, "a film of 0 frames; use 1 to 65536"},
		{"street:fps=2", dataset.Film{FPS: 5, Frames: 4}, "says no seeds"},
		{"films:x", dataset.Film{FPS: 5, Frames: 4}, `unknown kind "films"`},
	} {
		if _, err := dataset.OpenFilm(x.name, x.film); !errors.Is(err, dataset.ErrDataset) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s, %+v: %v, want %q", x.name, x.film, err, x.want)
		}
	}
}
