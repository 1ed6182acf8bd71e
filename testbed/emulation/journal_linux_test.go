package emulation

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestJournalRemembersTheLastLines(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.StringOfN(rapid.SampledFrom([]rune("ab\n")), 0, 200, -1).Draw(rt, "text")
		j, err := openJournal(filepath.Join(t.TempDir(), "log"))
		if err != nil {
			rt.Fatal(err)
		}
		for rest := text; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(rt, "write")
			if m, err := j.Write([]byte(rest[:n])); m != n || err != nil {
				rt.Fatalf("wrote %d of %d bytes, %v", m, n, err)
			}
			rest = rest[n:]
		}
		want := strings.Split(text, "\n")
		part := want[len(want)-1]
		want = want[:len(want)-1]
		want = want[max(0, len(want)-tailLines):]
		if part != "" {
			want = append(want, part)
		}
		if got := j.last(); !slices.Equal(got, want) {
			rt.Fatalf("of %q it remembers %q, want %q", text, got, want)
		}
		if err := j.Close(); err != nil {
			rt.Fatal(err)
		}
		if b, err := os.ReadFile(j.path); err != nil || string(b) != text {
			rt.Fatalf("file has %q, %v, want %q", b, err, text)
		}
	})
}

func TestJournalIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	j, err := openJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	chunk := bytes.Repeat([]byte("x"), 1<<20)
	for range 3 * journalBytes / len(chunk) {
		if _, err := j.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{path, path + ".1"} {
		if info, err := os.Stat(f); err != nil || info.Size() > journalBytes {
			t.Errorf("%s: %v, %v", f, info, err)
		}
	}
	if got := j.last(); len(got) != 1 || len(got[0]) != tailBytes {
		t.Errorf("an endless line is remembered as %d lines", len(got))
	}
}
