package gallery

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// picture is enough of a JPEG for the gallery, and tells which one it is.
func picture(seq uint64) []byte { return fmt.Appendf([]byte{0xff, 0xd8}, "picture %d", seq) }

func open(t *testing.T, dir string, retain int) *Gallery {
	t.Helper()
	g, err := New(Config{Dir: dir, Retain: retain, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func add(t *testing.T, g *Gallery, workflow, source string, seqs ...uint64) {
	t.Helper()
	for _, seq := range seqs {
		if err := g.Add(workflow, source, seq, picture(seq)); err != nil {
			t.Fatal(err)
		}
	}
}

// onDisk lists the files below dir, in the order of their names.
func onDisk(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, p)
			out = append(out, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func seqs(pictures []Picture) []uint64 {
	var out []uint64
	for _, p := range pictures {
		out = append(out, p.Seq)
	}
	return out
}

func TestNewRefusesBadConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"no directory", Config{Retain: 1}, "no directory given"},
		{"negative", Config{Dir: t.TempDir(), Retain: -1}, "give 0 or more"},
		{"a file", Config{Dir: file, Retain: 1}, "make the directory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.cfg.Log = slog.New(slog.DiscardHandler)
			if _, err := New(tc.cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

// The newest n of each source stay, across restarts, and the file system holds
// what Pictures lists.
func TestRetention(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		retain := rapid.IntRange(0, 4).Draw(rt, "retain")
		g, err := New(Config{Dir: dir, Retain: retain, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = g.Close() }()
		limit := map[string]int{}
		want := map[string][]uint64{}
		for seq := range uint64(rapid.IntRange(0, 30).Draw(rt, "steps")) {
			w := rapid.SampledFrom([]string{"people", "cars"}).Draw(rt, "workflow")
			s := rapid.SampledFrom([]string{"gate", "yard"}).Draw(rt, "source")
			switch rapid.IntRange(0, 9).Draw(rt, "step") {
			case 0: // restart
				if err := g.Close(); err != nil {
					rt.Fatal(err)
				}
				clear(limit)
				if g, err = New(Config{Dir: dir, Retain: retain, Log: slog.New(slog.DiscardHandler)}); err != nil {
					rt.Fatal(err)
				}
			case 1:
				limit[w] = rapid.IntRange(0, 6).Draw(rt, "keep")
				if err := g.Keep(w, limit[w]); err != nil {
					rt.Fatal(err)
				}
			default:
				if err := g.Add(w, s, seq, picture(seq)); err != nil {
					rt.Fatal(err)
				}
				n, ok := limit[w]
				if !ok {
					n = retain
				}
				all := append(want[w+"/"+s], seq)
				want[w+"/"+s] = all[max(len(all)-n, 0):]
			}
		}
		for _, w := range []string{"cars", "people"} {
			expect := slices.Concat(want[w+"/gate"], want[w+"/yard"])
			pictures := g.Pictures(w)
			if got := seqs(pictures); !slices.Equal(got, expect) {
				rt.Fatalf("%s lists %v, want %v", w, got, expect)
			}
			for _, p := range pictures {
				data, err := os.ReadFile(filepath.Join(dir, w, p.Source, p.File))
				if err != nil || string(data) != string(picture(p.Seq)) || p.Bytes != int64(len(data)) {
					rt.Fatalf("%s/%s holds %q (%v), want %q", p.Source, p.File, data, err, picture(p.Seq))
				}
			}
		}
		var total int
		for _, w := range want {
			total += len(w)
		}
		if files := onDisk(t, dir); len(files) != total {
			rt.Fatalf("%d files on disk, want %d: %q", len(files), total, files)
		}
	})
}

func TestRestartKeepsForeignFilesAndRemovesUnfinished(t *testing.T) {
	dir := t.TempDir()
	g := open(t, dir, 3)
	add(t, g, "people", "gate", 1, 2)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(dir, "people", "gate")
	for _, name := range []string{"notes.txt", fileName(time.Unix(9, 0), 9) + unfinished} {
		if err := os.WriteFile(filepath.Join(src, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g = open(t, dir, 3)
	if got := seqs(g.Pictures("people")); !slices.Equal(got, []uint64{1, 2}) {
		t.Fatalf("after the restart %v, want [1 2]", got)
	}
	if _, ok := g.Latest("people", "gate"); ok {
		t.Fatal("a stream is live before its first picture")
	}
	add(t, g, "people", "gate", 1, 2) // a new run counts from 1 again
	if got := seqs(g.Pictures("people")); !slices.Equal(got, []uint64{2, 1, 2}) {
		t.Fatalf("after two more %v, want [2 1 2]", got)
	}
	files := onDisk(t, dir)
	if len(files) != 4 || !slices.Contains(files, "people/gate/notes.txt") {
		t.Fatalf("on disk %q, want three pictures and notes.txt", files)
	}
}

func TestAddRefuses(t *testing.T) {
	dir := t.TempDir()
	g := open(t, filepath.Join(dir, "gallery"), 3)
	for _, name := range []string{"", ".", "..", "../up", "a/b", "a\\b", "/etc", "Upper", "-a", "a-", "a\x00b", "a.b", strings.Repeat("a", 64)} {
		if err := g.Add(name, "gate", 1, picture(1)); !errors.Is(err, ErrName) {
			t.Errorf("workflow %q: got %v, want ErrName", name, err)
		}
		if err := g.Add("people", name, 1, picture(1)); !errors.Is(err, ErrName) {
			t.Errorf("source %q: got %v, want ErrName", name, err)
		}
		if err := g.Keep(name, 1); !errors.Is(err, ErrName) {
			t.Errorf("keep %q: got %v, want ErrName", name, err)
		}
	}
	if err := g.Add("people", "gate", 1, []byte("\x89PNG")); !errors.Is(err, ErrNoJPEG) {
		t.Errorf("a PNG: got %v, want ErrNoJPEG", err)
	}
	if files := onDisk(t, dir); len(files) != 0 {
		t.Errorf("written nevertheless: %q", files)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if err := g.Add("people", "gate", 1, picture(1)); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: got %v, want ErrClosed", err)
	}
}

// A link planted in the gallery does not lead out of it.
func TestAddFollowsNoLinkOut(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "people")); err != nil {
		t.Fatal(err)
	}
	g := open(t, dir, 3)
	add(t, g, "people", "gate", 1)
	if st := g.Stats(); st.Failed != 1 || st.Written != 0 {
		t.Errorf("counted %+v", st)
	}
	if files := onDisk(t, outside); len(files) != 0 {
		t.Errorf("written outside: %q", files)
	}
}

func TestNamesSortWhenTheClockIsSetBack(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	s := newStream(key{"people", "gate"})
	noon := time.Date(2026, 11, 5, 12, 0, 0, 0, time.UTC)
	for seq, at := range []time.Time{noon, noon, noon.Add(-time.Hour), noon.Add(time.Hour)} {
		if _, err := s.store(root, at, uint64(seq), picture(uint64(seq)), 9); err != nil {
			t.Fatal(err)
		}
	}
	reread := newStream(s.key)
	if err := reread.load(root); err != nil {
		t.Fatal(err)
	}
	if got := seqs(reread.pictures()); !slices.Equal(got, []uint64{0, 1, 2, 3}) {
		t.Fatalf("read back in the order %v", got)
	}
	if a, b := s.pictures(), reread.pictures(); !slices.Equal(a, b) {
		t.Fatalf("read back as\n%v, want\n%v", b, a)
	}
}

// What cannot be kept is counted and said once, and shown all the same.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("weft", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("a full disk is made of a tmpfs, and mounting one takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	var log strings.Builder
	g, err := New(Config{Dir: dir, Retain: 100, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	big := append([]byte{0xff, 0xd8}, make([]byte, 30<<10)...)
	for seq := range uint64(4) {
		if err := g.Add("people", "gate", seq, big); err != nil {
			t.Fatalf("a full disk lost a frame: %v", err)
		}
	}
	if n := strings.Count(log.String(), syscall.ENOSPC.Error()); n != 1 {
		t.Fatalf("said %d times that the disk is full:\n%s", n, log.String())
	}
	st := g.Stats()
	if st.Added != 4 || st.Written == 0 || st.Failed == 0 || st.Written+st.Failed != 4 {
		t.Errorf("counted %+v", st)
	}
	if n := len(onDisk(t, dir)); n != int(st.Written) {
		t.Errorf("%d files on disk, %d written", n, st.Written)
	}
	if jpeg, ok := g.Latest("people", "gate"); !ok || len(jpeg) != len(big) {
		t.Error("the stream has stopped")
	}
	if err := g.Keep("people", 1); err != nil { // makes room
		t.Fatal(err)
	}
	if err := g.Add("people", "gate", 9, big); err != nil {
		t.Errorf("after making room: %v", err)
	}
	if !strings.Contains(log.String(), "kept again") || g.Stats().Failed != st.Failed {
		t.Errorf("after making room: %+v\n%s", g.Stats(), log.String())
	}
}

// A source whose pictures cannot be kept says so once, whatever becomes of
// others, kept or not.
func TestTroubleIsSaidOncePerSource(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "people")); err != nil { // out of the gallery
		t.Fatal(err)
	}
	var log strings.Builder
	g, err := New(Config{Dir: dir, Retain: 3, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	if err := g.Keep("cars", 0); err != nil {
		t.Fatal(err)
	}
	said := func(want ...string) {
		t.Helper()
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != len(want) {
			t.Fatalf("said %d lines, want %d:\n%s", len(lines), len(want), log.String())
		}
		for i, w := range want {
			if !strings.Contains(lines[i], w) {
				t.Errorf("line %d is %q, want %q in it", i, lines[i], w)
			}
		}
	}
	for seq := range uint64(5) {
		add(t, g, "people", "gate", seq)
		add(t, g, "people", "yard", seq)
		add(t, g, "cars", "gate", seq) // none is kept
		add(t, g, "bikes", "gate", seq)
	}
	said("not kept", "not kept")
	if err := g.Keep("people", 0); err != nil {
		t.Fatal(err)
	}
	add(t, g, "people", "gate", 5)
	said("not kept", "not kept")
	if err := g.Keep("people", 3); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "people")); err != nil {
		t.Fatal(err)
	}
	add(t, g, "people", "gate", 6)
	add(t, g, "people", "gate", 7)
	said("source=gate", "source=yard", "source=gate")
	said("not kept", "not kept", "kept again")
}

func TestAddRecoversWhenItsDirectoryIsRemoved(t *testing.T) {
	dir := t.TempDir()
	g := open(t, dir, 3)
	add(t, g, "people", "gate", 1)
	if err := os.RemoveAll(filepath.Join(dir, "people")); err != nil {
		t.Fatal(err)
	}
	add(t, g, "people", "gate", 2)
	if st := g.Stats(); st.Failed != 1 {
		t.Errorf("the directory is gone, and counted was %+v", st)
	}
	add(t, g, "people", "gate", 3)
	if files := onDisk(t, dir); len(files) != 1 {
		t.Errorf("on disk %q, want one picture", files)
	}
}

func TestConcurrentAdds(t *testing.T) {
	g := open(t, t.TempDir(), 5)
	const sources, each = 4, 50
	var wg sync.WaitGroup
	for i := range sources {
		wg.Go(func() {
			for seq := range uint64(each) {
				if err := g.Add("people", fmt.Sprintf("gate-%d", i), seq, picture(seq)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	want := Stats{Added: sources * each, Written: sources * each, Removed: sources * (each - 5)}
	if got := g.Stats(); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	if n := len(g.Pictures("people")); n != sources*5 {
		t.Errorf("%d pictures kept, want %d", n, sources*5)
	}
}

func FuzzParseName(f *testing.F) {
	f.Add(fileName(time.Unix(1e9, 5), 42))
	f.Add("../../etc/passwd")
	f.Add("00000101T000000,000000000Z-00000000000000000000.jpg")
	f.Add("20261105T081530.123456789Z-00000000000000000042.jpg.part")
	f.Fuzz(func(t *testing.T, name string) {
		at, seq, ok := parseName(name)
		if ok && fileName(at, seq) != name {
			t.Errorf("%q reads as %v, %d, which is written %q", name, at, seq, fileName(at, seq))
		}
	})
}
