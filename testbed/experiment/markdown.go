package experiment

import (
	"fmt"
	"math"
	"strings"
	"unicode"
)

// markdown is a document for people.
type markdown struct{ strings.Builder }

func (m *markdown) linef(layout string, args ...any) {
	fmt.Fprintf(m, layout, args...)
	m.WriteByte('\n')
}

// table writes rows under a header such as "node|>cores": columns are
// separated by "|", and those marked ">" are aligned to the right. A column in
// which no row has anything is left out.
func (m *markdown) table(header string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	heads := strings.Split(header, "|")
	var keep []int
	for i := range heads {
		for _, r := range rows {
			if r[i] != "" {
				keep = append(keep, i)
				break
			}
		}
	}
	line := func(cell func(i int) string) {
		for _, i := range keep {
			m.WriteString("| " + cell(i) + " ")
		}
		m.WriteString("|\n")
	}
	line(func(i int) string { return strings.TrimPrefix(heads[i], ">") })
	line(func(i int) string {
		if strings.HasPrefix(heads[i], ">") {
			return "---:"
		}
		return "---"
	})
	for _, r := range rows {
		line(func(i int) string { return r[i] })
	}
	m.WriteByte('\n')
}

// safe is a text from elsewhere, on one line and without what Markdown or HTML
// would take for its own.
func safe(s string) string {
	var b strings.Builder
	for _, r := range strings.Join(strings.Fields(s), " ") {
		switch {
		case strings.ContainsRune("\\`*[]<>|~&$", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		}
	}
	return b.String()
}

// code is a text from elsewhere, as code on one line.
func code(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	fence := "`"
	for strings.Contains(s, fence) {
		fence += "`"
	}
	if len(fence) > 1 {
		return fence + " " + s + " " + fence
	}
	return fence + strings.ReplaceAll(s, "|", "\\|") + fence
}

// digits is how many after the point give a figure four significant ones, or
// three where it is below 10.
func digits(x float64) int {
	switch a := math.Abs(x); {
	case a >= 1000:
		return 0
	case a >= 100:
		return 1
	case a >= 1:
		return 2
	case a >= 0.1 || a == 0:
		return 3
	}
	return min(2-int(math.Floor(math.Log10(math.Abs(x)))), 12)
}

func number(x float64) string { return decimal(x, digits(x)) }

// shown is an estimate with its confidence interval, to the same digit.
func (e *Estimate) shown() string {
	if e.CI95 == nil {
		return number(e.Mean)
	}
	d := digits(e.Mean)
	if round(*e.CI95, d) == 0 {
		d = max(d, digits(*e.CI95))
	}
	return number(e.Mean) + " ± " + decimal(*e.CI95, d)
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
