package source

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A workflow reads what is in the media directory and nothing else.
func TestWhichFiles(t *testing.T) {
	top := t.TempDir()
	dir, outside := filepath.Join(top, "media"), filepath.Join(top, "outside")
	for _, d := range []string{dir, outside, filepath.Join(dir, "yard")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		writeClip(t, filepath.Join(d, "clip.avi"), 2, 100)
	}
	for link, to := range map[string]string{
		"inside.avi":  "yard/clip.avi",
		"escape.avi":  filepath.Join(outside, "clip.avi"),
		"escape":      outside,
		"escape2.avi": "../outside/clip.avi",
	} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		uri  string
		any  bool
		is   error
		want string // in the error; empty: it plays
	}{
		{uri: "video:clip.avi"},
		{uri: "video:yard/clip.avi"},
		{uri: "video:yard/../clip.avi"},
		{uri: "video:inside.avi"},
		{uri: "video:" + filepath.Join(dir, "clip.avi")},
		{uri: "video:" + filepath.Join(outside, "clip.avi"), is: ErrOutside, want: dir},
		{uri: "video:" + filepath.Join(outside, "clip.avi"), any: true},
		{uri: "video:../outside/clip.avi", is: ErrOutside, want: dir},
		{uri: "video:../outside/clip.avi", any: true, is: ErrOutside, want: dir},
		{uri: "video:" + dir + "/../outside/clip.avi", is: ErrOutside, want: dir},
		{uri: "video:escape.avi", want: "escapes"},
		{uri: "video:escape2.avi", want: "escapes"},
		{uri: "video:escape/clip.avi", want: "escapes"},
		{uri: "images:escape", want: "escapes"},
		{uri: "images:..", is: ErrOutside, want: dir},
		{uri: "video:street.mp4", is: fs.ErrNotExist, want: "street.mp4: looked for in " + dir},
		{uri: "video:" + outside + "/street.mp4", any: true, is: fs.ErrNotExist, want: "street.mp4: looked for in " + outside},
		{uri: "images:pictures", is: fs.ErrNotExist, want: "pictures: looked for in " + dir},
		{uri: "video:/dev/zero", any: true, is: ErrNoVideo, want: "no regular file"},
	} {
		t.Run(tc.uri, func(t *testing.T) {
			src, err := Open(Config{URI: tc.uri, MediaDir: dir, AllowAnyPath: tc.any, Log: logger(t)})
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) || tc.is != nil && !errors.Is(err, tc.is) {
					t.Fatalf("got %v, want %v with %q", err, tc.is, tc.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if frames, err := collect(t, src, 1); len(frames) != 1 {
				t.Fatalf("no frame: %v", err)
			}
		})
	}
}
