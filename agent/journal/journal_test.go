package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/internal/upgradetest"
	"github.com/weft-mesh/weft/tiering"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// some is what a node of the farm runs: a camera and a detector. It is also
// what testdata/v1 says, and not to be changed.
func some() []tiering.Assignment {
	link := tiering.Link{From: "resize", To: "detect", Transport: tiering.QUIC, Encoding: tiering.JPEG, Quality: 80}
	goals := tiering.Objectives{MinAccuracy: 0.5, Deadline: 1500 * time.Millisecond}
	one := tiering.Resources{CPU: 1000, Memory: 1 << 30}
	return []tiering.Assignment{
		{
			Placement:  tiering.Placement{ID: "people/gate#0", Workflow: "people", Task: "gate", Source: true, Node: "fog-1", Tier: tiering.Fog, Reason: "attached"},
			Source:     &tiering.Source{Name: "gate", URI: "rtsp://user:secret@10.0.0.9/1", Node: "fog-1", FPS: 12.5, Resolution: 512},
			Objectives: goals, Groups: []string{"resize"},
			Next: []tiering.Offer{{
				Instance: "people/resize#0", Group: "resize", Node: "edge-1", Tier: tiering.Edge, Address: "10.0.0.7:7947",
				Link: link, Accepts: tiering.Data{Type: "image"},
			}},
		},
		{
			Placement: tiering.Placement{
				ID: "people/detect@512#0", Workflow: "people", Task: "detect@512", Node: "fog-1", Tier: tiering.Fog,
				Category: tiering.LI, Requested: one, Reserved: one.Half(), Reason: "first with room",
			},
			Task: &tiering.Task{
				Name: "detect@512", Group: "detect", Type: tiering.DeepModel, Operation: "detect",
				Model:   &tiering.Model{Name: "hog-people", Family: "hog", Resolution: 512, Fit: tiering.Letterbox},
				Backend: tiering.Backend{Name: "cpu"}, Request: one, Replicas: 1, Settings: map[string]string{"publish": "true"},
			},
			Objectives: goals, Groups: []string{}, Next: []tiering.Offer{},
		},
	}
}

func path(t *testing.T) string { return filepath.Join(t.TempDir(), "assignments") }

func mustSave(t *testing.T, j *Journal, as []tiering.Assignment, index uint64) {
	t.Helper()
	if err := j.Save(as, index); err != nil {
		t.Fatal(err)
	}
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestWhatWasSavedIsLoaded(t *testing.T) {
	p := path(t)
	if as, index, err := New(p, "farm", "fog-1").Load(); as != nil || index != 0 || err != nil {
		t.Errorf("no journal: %v, %d, %v", as, index, err)
	}
	// What a process that was killed has left behind is no obstacle.
	if err := os.WriteFile(p+".tmp", []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	j := New(p, "farm", "fog-1")
	mustSave(t, j, nil, 6)
	mustSave(t, j, some(), 7)
	as, index, err := New(p, "farm", "fog-1").Load()
	if err != nil || index != 7 || !reflect.DeepEqual(as, some()) {
		t.Errorf("loaded %+v, %d, %v", as, index, err)
	}
	info, err := os.Stat(p)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the journal holds passwords, and its mode is %v (%v)", info.Mode(), err)
	}
	if got := files(t, filepath.Dir(p)); len(got) != 1 {
		t.Errorf("there is more than the journal: %v", got)
	}
}

// A journal that the first release with one wrote is read; the file is never
// written anew.
func TestJournalOfVersion1IsRead(t *testing.T) {
	c, err := decode(upgradetest.Read(t, "testdata/v1/assignments"))
	if err != nil || c.Mesh != "farm" || c.Node != "fog-1" || c.Index != 7 || !reflect.DeepEqual(c.Assignments, some()) {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestWhatCannotBeUsedIsKept(t *testing.T) {
	good, err := encode(content{Mesh: "farm", Node: "fog-1", Index: 7, Assignments: some()})
	if err != nil {
		t.Fatal(err)
	}
	seal := func(body string) []byte {
		return fmt.Appendf(nil, "%s %d %08x\n%s", magic, version, checksum([]byte(body)), body)
	}
	foreign := func(mesh, node string) []byte {
		b, err := encode(content{Mesh: mesh, Node: node, Index: 7})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, c := range map[string]struct {
		file []byte
		err  error
		says string
	}{
		"empty":                {nil, ErrDamaged, `does not start with "weft-assignments"`},
		"something else":       {[]byte("\x7fELF"), ErrDamaged, "does not start with"},
		"torn":                 {good[:len(good)/2], ErrDamaged, "checksum does not match: it was cut short or changed"},
		"torn in its header":   {good[:20], ErrDamaged, "checksum"},
		"changed":              {bytes.Replace(good, []byte("512"), []byte("513"), 1), ErrDamaged, "checksum"},
		"longer":               {append(bytes.Clone(good), '\n'), ErrDamaged, "checksum"},
		"newer":                {[]byte(magic + " 2 sha256 zstd\n\x28\xb5"), ErrVersion, "version 2, this weftd reads 1"},
		"of no version":        {[]byte(magic + " one\n"), ErrDamaged, `version "one"`},
		"of another mesh":      {foreign("ranch", "fog-1"), ErrForeign, `of node "fog-1" in mesh "ranch", this is node "fog-1" in mesh "farm"`},
		"of another node":      {foreign("farm", "fog-2"), ErrForeign, `of node "fog-2"`},
		"no JSON":              {seal("{"), ErrDamaged, "unexpected end of JSON"},
		"no index":             {seal(`{"mesh":"farm","node":"fog-1"}`), ErrDamaged, "no index"},
		"of a contradiction":   {seal(`{"mesh":"farm","node":"fog-1","index":1,"assignments":[{"placement":{"id":"a/b#0","node":"fog-2"}}]}`), ErrDamaged, `assignments[0] places "a/b#0" on node "fog-2"`},
		"of a nameless thing":  {seal(`{"mesh":"farm","node":"fog-1","index":1,"assignments":[{"placement":{"node":"fog-1"}}]}`), ErrDamaged, "assignments[0]"},
		"larger than anything": {make([]byte, maxSize+1), ErrDamaged, "more than 16777216 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			p := path(t)
			if err := os.WriteFile(p, c.file, 0o600); err != nil {
				t.Fatal(err)
			}
			j := New(p, "farm", "fog-1")
			as, index, err := j.Load()
			kept := p + ".refused-1"
			if as != nil || index != 0 || !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.says) ||
				!strings.HasPrefix(err.Error(), p+": ") || !strings.HasSuffix(err.Error(), "; it is kept as "+kept) {
				t.Errorf("loaded %v, %d, %v", as, index, err)
			}
			mustSave(t, j, some(), 8)
			if was, err := os.ReadFile(kept); err != nil || !bytes.Equal(was, c.file) {
				t.Errorf("%s is not what was refused (%v)", kept, err)
			}
			if _, index, err := New(p, "farm", "fog-1").Load(); index != 8 || err != nil {
				t.Errorf("then it is of index %d, %v", index, err)
			}
		})
	}
}

// When no more refused files are to be kept, the next one stays where it is
// and is not overwritten.
func TestNothingIsOverwritten(t *testing.T) {
	p := path(t)
	j := New(p, "farm", "fog-1")
	for n := range maxRefused + 2 {
		bad := fmt.Appendf(nil, "bad %d", min(n, maxRefused))
		if err := os.WriteFile(p, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := j.Load()
		full := n >= maxRefused
		if !errors.Is(err, ErrDamaged) || strings.Contains(err.Error(), "remove them") != full {
			t.Fatalf("file %d: %v", n, err)
		}
		if err := j.Save(some(), 1); (err != nil) != full {
			t.Fatalf("file %d: saved with %v", n, err)
		}
	}
	if b, err := os.ReadFile(p); err != nil || string(b) != fmt.Sprintf("bad %d", maxRefused) {
		t.Errorf("the last one is now %q, %v", b, err)
	}
	if err := os.Remove(p + ".refused-3"); err != nil {
		t.Fatal(err)
	}
	mustSave(t, j, some(), 1)
	if b, err := os.ReadFile(p + ".refused-3"); err != nil || string(b) != fmt.Sprintf("bad %d", maxRefused) {
		t.Errorf("once there is room it is kept as %q, %v", b, err)
	}
}

// What cannot be written leaves the old journal as it was.
func TestFailedSaveChangesNothing(t *testing.T) {
	p := path(t)
	j := New(p, "farm", "fog-1")
	mustSave(t, j, some(), 7)
	if err := os.MkdirAll(filepath.Join(p+".tmp", "in", "the", "way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := j.Save(nil, 8); err == nil || !strings.Contains(err.Error(), p+".tmp") {
		t.Errorf("saved with %v", err)
	}
	if as, index, err := j.Load(); index != 7 || len(as) != 2 || err != nil {
		t.Errorf("loaded %v, %d, %v", as, index, err)
	}
	many := some()
	many[0].Placement.Reason = strings.Repeat("x", maxSize)
	if err := j.Save(many, 8); err == nil || !strings.Contains(err.Error(), "at most 16777216 are kept") {
		t.Errorf("saved with %.100v", err)
	}
	if err := os.RemoveAll(filepath.Dir(p)); err != nil {
		t.Fatal(err)
	}
	if err := j.Save(nil, 8); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("saved with %v where there is no directory", err)
	}
}

// FuzzDecode feeds bytes as a journal, and as the body of one whose checksum
// matches: they are refused, or they are what comes back from its encoding.
func FuzzDecode(f *testing.F) {
	good, err := encode(content{Mesh: "farm", Node: "fog-1", Index: 7, Assignments: some()})
	if err != nil {
		f.Fatal(err)
	}
	_, body, _ := bytes.Cut(good, []byte("\n"))
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add(body)
	f.Add([]byte(magic + " 2\n"))
	f.Add([]byte(`{"mesh":"farm","node":"n","index":1,"assignments":[{"placement":{"id":"a/b#0","node":"n","tier":"edge"},"task":{"settings":{}}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		sealed := append(fmt.Appendf(nil, "%s %d %08x\n", magic, version, checksum(b)), b...)
		for _, file := range [][]byte{b, sealed} {
			c, err := decode(file)
			if err != nil {
				if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
					t.Fatalf("error %v is of no known kind", err)
				}
				continue
			}
			again, err := encode(c)
			if err != nil {
				t.Fatal(err)
			}
			back, err := decode(again)
			if err != nil {
				t.Fatalf("what was encoded cannot be decoded: %v", err)
			}
			if third, err := encode(back); err != nil || !bytes.Equal(again, third) {
				t.Fatalf("%s came back as %s (%v)", again, third, err)
			}
		}
	})
}
