package terminal_test

import (
	"os"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/terminal"
)

func TestLine(t *testing.T) {
	for _, tt := range []struct {
		name  string
		width int
		want  string
	}{
		{"on a terminal", 6, "\rone\x1b[K\rsecon\x1b[K\r\x1b[Kstays\n\rthree\x1b[K\n"},
		{"elsewhere", 0, "one\nsecond\nstays\nthree\n"},
	} {
		var b strings.Builder
		l := terminal.NewLine(&b, tt.width)
		l.Step("one")
		l.Step("too soon")
		l.Show("second")
		l.Say("stays")
		l.Show("three")
		l.End()
		l.End()
		if b.String() != tt.want {
			t.Errorf("%s: got  %q\nwant %q", tt.name, b.String(), tt.want)
		}
	}
}

func TestBar(t *testing.T) {
	for _, tt := range []struct {
		done, total int
		want        string
	}{{0, 8, "[    ]"}, {2, 8, "[=   ]"}, {7, 8, "[=== ]"}, {8, 8, "[====]"}, {9, 8, "[====]"}, {0, 0, "[====]"}} {
		if got := terminal.Bar(tt.done, tt.total, 4); got != tt.want {
			t.Errorf("%d of %d: %s, want %s", tt.done, tt.total, got, tt.want)
		}
	}
}

func TestFilesAreNoTerminals(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if w := terminal.Width(f); w != 0 {
		t.Errorf("a file is %d wide", w)
	}
}
