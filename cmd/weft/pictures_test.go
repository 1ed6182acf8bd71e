package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/tiering"
)

// TestChoose: as many as asked for, each once, fair to every source, oldest
// first, and to the end of the time.
func TestChoose(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(1, 30), 0, 5).Draw(t, "sizes")
		n := rapid.IntRange(1, 40).Draw(t, "n")
		var all []picture
		for s, size := range sizes {
			for i := range size {
				all = append(all, picture{Source: fmt.Sprint("s", s), Seq: uint64(i), age: time.Duration(1000 - i)})
			}
		}
		total := len(all)
		all = rapid.Permutation(all).Draw(t, "order")
		chosen := choose(all, n)
		if len(chosen) != min(n, total) {
			t.Fatalf("%d of %d chosen, want %d", len(chosen), total, n)
		}
		got := map[string][]picture{}
		for _, p := range chosen {
			if had := got[p.Source]; len(had) > 0 && had[len(had)-1].Seq >= p.Seq {
				t.Fatalf("%s: %d after %d", p.Source, p.Seq, had[len(had)-1].Seq)
			}
			got[p.Source] = append(got[p.Source], p)
		}
		for i, size := range sizes {
			mine := len(got[fmt.Sprint("s", i)])
			for j := range sizes {
				if theirs := len(got[fmt.Sprint("s", j)]); mine < size && theirs > mine+1 {
					t.Fatalf("%d of s%d and %d of s%d", mine, i, theirs, j)
				}
			}
			// No gap is much longer than the others: it is spread over the time.
			for k, p := range got[fmt.Sprint("s", i)] {
				if want := k * size / mine; int(p.Seq) != want {
					t.Fatalf("picture %d of %d out of %d is %d, want %d", k, mine, size, p.Seq, want)
				}
			}
		}
	})
}

// jpegOf is a picture in one colour.
func jpegOf(t *testing.T, w, h int, c color.Color) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range img.Pix {
		r, g, b, _ := c.RGBA()
		img.Pix[i] = []byte{byte(r >> 8), byte(g >> 8), byte(b >> 8), 255}[i%4]
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestContactSheet(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, framesDir), 0o755); err != nil {
		t.Fatal(err)
	}
	sheet := filepath.Join(dir, sheetFile)
	red, blue := color.RGBA{R: 255, A: 255}, color.RGBA{B: 255, A: 255}
	var pictures []picture
	for source, content := range map[string][]byte{"gate": jpegOf(t, 80, 60, red), "yard": jpegOf(t, 80, 40, blue)} { // of two shapes
		for i := range 20 {
			p := picture{Source: source, Seq: uint64(i), File: fmt.Sprintf("%s/%s-%d.jpg", framesDir, source, i), age: time.Duration(100 - i)}
			write(t, filepath.Join(dir, p.File), string(content))
			pictures = append(pictures, p)
		}
	}
	if err := writeContactSheet(sheet, dir, pictures); err != nil {
		t.Fatal(err)
	}
	img, err := readPicture(sheet)
	if err != nil {
		t.Fatal(err)
	}
	const cellHeight = 360
	if want := image.Pt(4*(cellWidth+cellGap)+cellGap, 3*(cellHeight+cellGap)+cellGap); img.Bounds().Size() != want {
		t.Errorf("the sheet is %v, want %v", img.Bounds().Size(), want)
	}
	for i := range 12 {
		x, y := cellGap+i%4*(cellWidth+cellGap), cellGap+i/4*(cellHeight+cellGap)
		want, top := red, red
		if i%2 == 1 {
			want, top = blue, color.RGBA{255, 255, 255, 255} // it does not fill the cell
		}
		near(t, img, x+cellWidth/2, y+cellHeight/2, want)
		near(t, img, x+cellWidth/2, y+10, top)
	}

	// What cannot be read is said, and the others are shown.
	write(t, filepath.Join(dir, pictures[0].File), "garbage")
	big := jpegOf(t, 8, 8, red)
	i := bytes.Index(big, []byte{0xff, 0xc0}) // start of frame: height and width follow
	copy(big[i+5:], []byte{0xff, 0xff, 0xff, 0xff})
	write(t, filepath.Join(dir, pictures[1].File), string(big))
	err = writeContactSheet(sheet, dir, pictures[:3])
	if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, pictures[0].File)+": invalid JPEG format") ||
		!strings.Contains(err.Error(), "65535 × 65535 pixels are too many for the contact sheet") {
		t.Errorf("broken pictures: %v", err)
	}
	if img, err := readPicture(sheet); err != nil || img.Bounds().Dx() != cellWidth+2*cellGap {
		t.Errorf("the sheet of what is left: %v", err)
	}
	// Without pictures there is none, not even the last one.
	for range 2 {
		if err := writeContactSheet(sheet, dir, nil); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(sheet); !os.IsNotExist(err) {
			t.Errorf("an old sheet stays: %v", err)
		}
	}
}

func near(t *testing.T, img image.Image, x, y int, want color.RGBA) {
	t.Helper()
	r, g, b, _ := img.At(x, y).RGBA()
	for i, v := range []uint32{r, g, b} {
		w := int([]uint8{want.R, want.G, want.B}[i])
		if d := int(v>>8) - w; d < -40 || d > 40 {
			t.Errorf("pixel %d,%d is %v, want %v", x, y, img.At(x, y), want)
			return
		}
	}
}

// TestGalleries: only what was drawn meanwhile, by the node's own clock; what
// has been replaced by newer pictures is passed over.
func TestGalleries(t *testing.T) {
	ahead := 5 * time.Hour // of ours is the node's clock
	var paths []string
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := time.Now().Add(ahead)
		w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
		paths = append(paths, r.URL.EscapedPath())
		switch r.URL.Path {
		case "/v1/pictures/people":
			_ = json.NewEncoder(w).Encode([]listed{
				{Source: "gate", Seq: 1, File: "old.jpg", Time: now.Add(-time.Minute)},
				{Source: "gate", Seq: 2, File: "gone.jpg", Time: now.Add(-20 * time.Second)},
				{Source: "gate", Seq: 3, File: "good.jpg", Time: now.Add(-10 * time.Second)},
				{Source: "gate", Seq: 3, File: "again.jpg", Time: now.Add(-9 * time.Second)},
				{Source: "../../../etc", Seq: 4, File: "../passwd", Time: now},
			})
		case "/v1/pictures/people/gate/gone.jpg":
			http.NotFound(w, r)
		default:
			_, _ = w.Write([]byte(r.URL.Path))
		}
	}))
	defer node.Close()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, framesDir), 0o755); err != nil {
		t.Fatal(err)
	}
	var warned []string
	g := &galleries{
		web: node.Client(), workflow: "people", since: time.Now().Add(-30 * time.Second), names: map[string]bool{},
		warn: func(err error) { warned = append(warned, err.Error()) },
	}
	found := g.list(t.Context(), api.Node{Node: tiering.Node{ID: "cloud-1", Addresses: tiering.Addresses{HTTP: node.URL}}})
	if len(found) != 3 {
		t.Fatalf("found %+v", found)
	}
	saved := g.save(t.Context(), found, dir)
	if len(saved) != 2 || saved[0].File != "frames/gate-000003.jpg" || saved[1].File != "frames/etc-000004.jpg" || len(warned) > 0 {
		t.Errorf("saved %+v, warned %v", saved, warned)
	}
	if got := read(t, filepath.Join(dir, "frames", "gate-000003.jpg")); got != "/v1/pictures/people/gate/good.jpg" {
		t.Errorf("the picture is of %s", got)
	}
	if last := paths[len(paths)-1]; last != "/v1/pictures/people/..%2F..%2F..%2Fetc/..%2Fpasswd" {
		t.Errorf("asked for %s", last)
	}

	// A node that answers nonsense, and one that does not answer.
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }))
	defer broken.Close()
	nonsense := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }))
	defer nonsense.Close()
	for _, url := range []string{broken.URL, nonsense.URL, "http://127.0.0.1:1", "::"} {
		warned = nil
		if got := g.list(t.Context(), api.Node{Node: tiering.Node{ID: "cloud-1", Addresses: tiering.Addresses{HTTP: url}}}); got != nil || len(warned) != 1 || !strings.HasPrefix(warned[0], "no pictures from cloud-1: ") {
			t.Errorf("%s: %v, %q", url, got, warned)
		}
	}
	// One that is not where weftd speaks plain HTTP, and one that sends us on.
	for _, url := range []string{"http://192.0.2.1:7950", "http://localhost.example", "file:///etc", "ftp://127.0.0.1"} {
		warned = nil
		if got := g.list(t.Context(), api.Node{Node: tiering.Node{ID: "cloud-1", Addresses: tiering.Addresses{HTTP: url}}}); got != nil || len(warned) != 1 || !strings.Contains(warned[0], "is neither https:// nor on loopback") {
			t.Errorf("%s: %v, %q", url, got, warned)
		}
	}
	g.web = newWeb(pkitest.Issue(t, pkitest.CA(t), pki.Operator, "ada"))
	defer g.web.CloseIdleConnections()
	asked := len(paths)
	for _, code := range []int{http.StatusFound, http.StatusTemporaryRedirect} {
		away := httptest.NewServer(http.RedirectHandler(node.URL+"/v1/pictures/people", code))
		defer away.Close()
		warned = nil
		if got := g.list(t.Context(), api.Node{Node: tiering.Node{ID: "cloud-1", Addresses: tiering.Addresses{HTTP: away.URL}}}); got != nil || len(warned) != 1 || len(paths) != asked {
			t.Errorf("a redirection: %v, %q, asked there for %v", got, warned, paths[asked:])
		}
	}
	warned = nil
	if got := g.save(t.Context(), []picture{{url: broken.URL, File: "frames/a.jpg"}, {url: broken.URL, File: "frames/b.jpg"}}, dir); got != nil || len(warned) != 1 {
		t.Errorf("%v, %q", got, warned)
	}
}
