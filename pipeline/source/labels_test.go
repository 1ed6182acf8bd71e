package source

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/logtest"
	"github.com/weft-mesh/weft/pipeline"
)

// labelled makes a data set of four pictures.
func labelled(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, d := range []string{"set/images", "set/labels"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range []string{"a.jpg", "b.jpeg", "c.jpg", "d.jpg"} {
		write(t, dir, "set/images/"+name, numbered(t, i+1))
	}
	write(t, dir, "set/names", []byte("person\ncar\n"))
	write(t, dir, "set/labels/a.txt", []byte("1 0.5 0.5 0.25 0.5\n0 0.25 0.25 0.5 0.5\n"))
	write(t, dir, "set/labels/b.txt", nil)
	write(t, dir, "set/labels/d.txt", []byte("2 0.5 0.5 0.25 0.5\n"))
	return dir
}

func TestLabelledImages(t *testing.T) {
	log := &logtest.Book{}
	src, err := Open(Config{URI: "images:set/images?labels=set/names&loop=true", MediaDir: labelled(t), FPS: 200, Log: log.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	frames, _ := collect(t, src, 8)
	var got [][]pipeline.Truth
	for _, f := range frames {
		got = append(got, f.Truth)
	}
	pass := [][]pipeline.Truth{
		{
			{Label: "car", Box: pipeline.Box{X: 0.375, Y: 0.25, W: 0.25, H: 0.5}},
			{Label: "person", Box: pipeline.Box{X: 0, Y: 0, W: 0.5, H: 0.5}},
		},
		{},  // its file is empty
		{},  // it has none
		nil, // nobody knows: a class that has no name
	}
	if want := append(pass, pass...); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if n := log.Count("labels ignored"); n != 1 {
		t.Errorf("complained %d times:\n%s", n, log)
	}
}

func TestLabelsSayWhatIsWrong(t *testing.T) {
	dir := labelled(t)
	write(t, dir, "empty", nil)
	write(t, dir, "big", make([]byte, maxLabels+1))
	write(t, dir, "p.jpg", numbered(t, 1))
	write(t, dir, "outside.names", []byte("car\n"))
	for uri, want := range map[string]string{
		"images:set/images?labels=no.names":      "names of classes: no.names: looked for in " + dir,
		"images:set/images?labels=../etc/passwd": "is outside",
		"images:set/images?labels=set":           "no regular file",
		"images:set/images?labels=empty":         "empty:1:1: no names: want one a line",
		"images:set/images?labels=big":           "more than 1 MiB",
		"images:.?labels=outside.names":          "labels: looked for in " + dir,
		"images:set?labels=set/names":            "labels: looked for in " + dir,
	} {
		_, err := Open(Config{URI: uri, MediaDir: dir, Log: logger(t)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", uri, err, want)
		}
	}
}
