package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/weft-mesh/weft/internal/terminal"
)

// format is how results are printed; it is a flag's value.
type format string

const (
	formatText format = "text"
	formatJSON format = "json"
)

// String, Set and Type implement pflag.Value.
func (f *format) String() string { return string(*f) }
func (*format) Type() string     { return "format" }

func (f *format) Set(s string) error {
	switch v := format(s); v {
	case formatText, formatJSON:
		*f = v
		return nil
	}
	return errors.New("use text or json")
}

// print writes v as JSON, or what show writes for people.
func (e *environment) print(w io.Writer, v any, show func(*page)) error {
	if e.output == formatJSON {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false) // it is for scripts and eyes
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	p := &page{width: terminal.Width(w)}
	show(p)
	_, err := io.WriteString(w, p.String())
	return err
}

// page is text for people.
type page struct {
	strings.Builder
	width int // of the terminal that it is for; 0: it is for none
}

func (p *page) linef(layout string, args ...any) {
	fmt.Fprintf(p, layout, args...)
	p.WriteByte('\n')
}

const (
	columnGap = 2
	leastWrap = 20 // a last column narrower than this is not wrapped
)

// table writes rows under a header such as "NODE|>CORES|WHY": columns are
// separated by "|" and those marked ">" are aligned to the right. Columns in
// which no row has anything are left out. On a terminal the last column is
// wrapped.
func (p *page) table(header string, rows [][]string) {
	heads := strings.Split(header, "|")
	cells := make([][]string, len(rows)+1)
	var right []bool
	for i, h := range heads {
		name, isRight := strings.CutPrefix(h, ">")
		column, empty := []string{name}, true
		for _, r := range rows {
			c := clean(r[i])
			column, empty = append(column, c), empty && strings.TrimSpace(c) == ""
		}
		if empty && len(rows) > 0 {
			continue
		}
		right = append(right, isRight)
		for k, c := range column {
			cells[k] = append(cells[k], c)
		}
	}
	widths := make([]int, len(right))
	for _, r := range cells {
		for i, c := range r {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	for _, r := range cells {
		p.row(r, widths, right)
	}
}

func (p *page) row(cells []string, widths []int, right []bool) {
	var line strings.Builder
	last, indent := len(cells)-1, 0
	for i, c := range cells[:last] {
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
		gap := strings.Repeat(" ", columnGap)
		if right[i] {
			line.WriteString(pad + c + gap)
		} else {
			line.WriteString(c + pad + gap)
		}
		indent += widths[i] + columnGap
	}
	if right[last] {
		line.WriteString(strings.Repeat(" ", widths[last]-utf8.RuneCountInString(cells[last])))
	}
	pieces := []string{cells[last]}
	if room := p.width - indent; room >= leastWrap {
		pieces = wrap(cells[last], room)
	}
	for i, piece := range pieces {
		if i > 0 {
			line.Reset()
			line.WriteString(strings.Repeat(" ", indent))
		}
		line.WriteString(piece)
		p.linef("%s", strings.TrimRight(line.String(), " "))
	}
}

// wrap breaks a text between words into lines of a width. A word that is
// wider has a line of its own.
func wrap(s string, width int) []string {
	if utf8.RuneCountInString(s) <= width {
		return []string{s}
	}
	var lines []string
	line, used := "", 0
	for _, word := range strings.Fields(s) {
		n := utf8.RuneCountInString(word)
		switch {
		case used == 0:
			line, used = word, n
		case used+1+n <= width:
			line, used = line+" "+word, used+1+n
		default:
			lines = append(lines, line)
			line, used = word, n
		}
	}
	return append(lines, line)
}

// clean keeps what other machines sent to one line, and from commanding the
// terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}
