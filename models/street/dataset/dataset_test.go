package main

import (
	"bytes"
	"encoding/binary"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/models/street"
)

func TestStream(t *testing.T) {
	var out bytes.Buffer
	if err := run([]string{"-seeds", "3-5", "-size", "64", "-frames", "2", "-every", "10", "-width", "160", "-height", "120"}, &out); err != nil {
		t.Fatal(err)
	}
	const record = 16 + room*7*4 + 64*64*3
	b := out.Bytes()
	if len(b) != 32+6*record || string(b[:8]) != "WEFTSTR1" {
		t.Fatalf("%d bytes, want %d: %q", len(b), 32+6*record, b[:8])
	}
	word := binary.LittleEndian.Uint32
	for i, want := range []uint32{64, 64, 6, uint32(len(street.Classes())), room, 0} {
		if got := word(b[8+4*i:]); got != want {
			t.Errorf("word %d of the header is %d, want %d", i, got, want)
		}
	}
	for i := range 6 {
		r := b[32+i*record:][:record]
		seed, seq := binary.LittleEndian.Uint64(r), word(r[8:])
		if seed != uint64(3+i/2) || seq != uint32(1+i%2*10) {
			t.Errorf("record %d is seed %d frame %d", i, seed, seq)
		}
		s, err := street.New(street.Options{Seed: seed, Width: 160, Height: 120})
		if err != nil {
			t.Fatal(err)
		}
		objects := s.TruthAt(uint64(seq))
		if n := word(r[12:]); int(n) != len(objects) {
			t.Fatalf("record %d has %d objects, want %d", i, n, len(objects))
		}
		for k, o := range objects {
			at := func(j int) float32 { return math.Float32frombits(word(r[16+28*k+4*j:])) }
			if at(0) != float32(o.Class) || at(1) != float32(o.Box.X) || at(4) != float32(o.Box.H) || at(6) == 1 != o.Ignore {
				t.Errorf("record %d object %d is not %+v", i, k, o)
			}
		}
	}
	var again bytes.Buffer
	if err := run([]string{"-seeds", "4-4", "-size", "64", "-frames", "2", "-every", "10", "-width", "160", "-height", "120"}, &again); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Bytes()[32:], b[32+2*record:][:2*record]) {
		t.Error("a range by itself gives other bytes")
	}
}

// What OpenCV 4.6 makes of TestLinear's picture.
var opencv4x3 = []byte{
	43, 46, 96, 228, 102, 193, 209, 157, 97, 147, 147, 224, 73, 172, 189, 4, 176, 106, 168, 190,
	194, 151, 214, 35, 193, 131, 105, 104, 159, 152, 79, 132, 124, 148, 104, 159,
}

func TestLinear(t *testing.T) {
	src := make([]byte, 3*7*5)
	for i := range src {
		src[i] = byte(i * i * 7)
	}
	dst := make([]byte, 3*4*3)
	newLinear(7, 5, 4, 3).to(dst, src)
	if !bytes.Equal(dst, opencv4x3) {
		t.Errorf("got  %v\nwant %v", dst, opencv4x3)
	}
}

func TestSheetAndStats(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sheet.png")
	if err := run([]string{"-seeds", "1-5", "-size", "96", "-sheet", file, "-width", "160", "-height", "120"}, nil); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if c, err := png.DecodeConfig(f); err != nil || c.Width != 4*(96+4) || c.Height != 2*(96*3/4+4) {
		t.Errorf("sheet of %d×%d, %v", c.Width, c.Height, err)
	}
	var out bytes.Buffer
	if err := run([]string{"-seeds", "1-8", "-stats", "-width", "160", "-height", "120"}, &out); err != nil || !strings.Contains(out.String(), "8 frames") {
		t.Errorf("stats %q, %v", out.String(), err)
	}
}

func TestMistakes(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"-seeds 5-1", `seeds "5-1"`},
		{"-size -1", "-size must not be negative"},
		{"-width 10 -height 10", "10×10 pixels"},
	} {
		if err := run(strings.Fields(tc.args), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.args, err, tc.want)
		}
	}
}
