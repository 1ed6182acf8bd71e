package main

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestTablesFitATerminal(t *testing.T) {
	rows := [][]string{
		{"detect@768", "1", "", "fog is full, cloud next; cloud-1 has most free (6.5 cores)"},
		{"größe", "12.5", "", "short"},
	}
	for _, tc := range []struct {
		width int
		want  string
	}{
		{0, `
TASK        CORES  WHY
detect@768      1  fog is full, cloud next; cloud-1 has most free (6.5 cores)
größe        12.5  short
`},
		{50, `
TASK        CORES  WHY
detect@768      1  fog is full, cloud next;
                   cloud-1 has most free (6.5
                   cores)
größe        12.5  short
`},
		{30, `
TASK        CORES  WHY
detect@768      1  fog is full, cloud next; cloud-1 has most free (6.5 cores)
größe        12.5  short
`}, // too narrow to wrap
	} {
		p := &page{width: tc.width}
		p.table("TASK|>CORES|NOTHING|WHY", rows)
		if got := "\n" + p.String(); got != tc.want {
			t.Errorf("width %d:\n%s\nwant\n%s", tc.width, got, tc.want)
		}
	}
	p := &page{}
	p.table("TASK|>CORES", nil)
	if p.String() != "TASK  CORES\n" {
		t.Errorf("a table without rows: %q", p.String())
	}
}

// TestWrap: no word is lost, no line is longer than it must be.
func TestWrap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[a-zä]{1,12}`), 1, 20).Draw(t, "words")
		width := rapid.IntRange(1, 40).Draw(t, "width")
		lines := wrap(strings.Join(words, " "), width)
		if got, want := strings.Join(lines, " "), strings.Join(words, " "); got != want {
			t.Fatalf("%q became %q", want, got)
		}
		for i, l := range lines {
			if utf8.RuneCountInString(l) > width && strings.Contains(l, " ") {
				t.Fatalf("line %q is longer than %d", l, width)
			}
			if i > 0 {
				first, _, _ := strings.Cut(l, " ")
				if utf8.RuneCountInString(lines[i-1]+" "+first) <= width {
					t.Fatalf("%q had room for %q", lines[i-1], first)
				}
			}
		}
	})
}

func TestAgo(t *testing.T) {
	now := time.Now()
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 0: "0s", 59 * time.Second: "59s", time.Minute: "1m", 59 * time.Minute: "59m",
		time.Hour: "1h", 47 * time.Hour: "47h", 48 * time.Hour: "2d",
	} {
		if got := ago(now, now.Add(-d)); got != want {
			t.Errorf("%v ago is %q, want %q", d, got, want)
		}
	}
	if got := ago(now, time.Time{}); got != "-" {
		t.Errorf("never is %q", got)
	}
}
