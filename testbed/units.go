package testbed

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/internal/yamlfile"
)

// rate reads 500kbit, 30Mbit, 1Gbit or unshaped as bits a second; unshaped is 0.
type rate int64

const (
	unshaped = "unshaped"
	minRate  = 1e3  // bits a second: a packet takes 12 s
	maxRate  = 1e12 // bits a second
)

var rateUnits = []struct {
	name string
	bits float64
}{{"kbit", 1e3}, {"Mbit", 1e6}, {"Gbit", 1e9}, {"bit", 1}}

// UnmarshalText reads a rate.
func (r *rate) UnmarshalText(text []byte) error {
	const want = "want a rate such as 500kbit, 30Mbit or 1Gbit, or unshaped"
	if string(text) == unshaped {
		*r = 0
		return nil
	}
	i := strings.LastIndexAny(string(text), "0123456789.") + 1
	number, unit := string(text[:i]), strings.TrimSuffix(strings.TrimSpace(string(text[i:])), "/s")
	n, ok := decimal(number)
	if !ok {
		return fmt.Errorf("%q is no rate; %s", text, want)
	}
	scale, known := 0.0, []string(nil)
	for _, u := range rateUnits {
		known = append(known, u.name)
		if u.name == unit {
			scale = u.bits
		}
	}
	bits := math.Round(n * scale)
	switch {
	case n < 0:
		return fmt.Errorf("%q: a rate can't be negative; %s", text, want)
	case n == 0:
		return fmt.Errorf("%q lets nothing pass; use a partition in the timeline for that, or write unshaped for no limit", text)
	case unit == "":
		return fmt.Errorf("%q has no unit; %s", text, want)
	case scale == 0:
		return fmt.Errorf("unknown unit %q%s %s", unit, cmp.Or(yamlfile.DidYouMean(unit, known), ";"), want)
	case bits < minRate || bits > maxRate:
		return fmt.Errorf("%q is out of range; use %s to %s, or unshaped", text, FormatRate(minRate), FormatRate(maxRate))
	}
	*r = rate(bits)
	return nil
}

// fraction reads 0.005 or 0.5% as a number from 0 to 1.
type fraction float64

// UnmarshalText reads a fraction.
func (f *fraction) UnmarshalText(text []byte) error {
	const want = "want a fraction from 0 to 1 such as 0.005, or a percentage such as 0.5%"
	number, percent := strings.CutSuffix(string(text), "%")
	x, ok := decimal(strings.TrimSpace(number))
	if !ok {
		return fmt.Errorf("%q is no fraction; %s", text, want)
	}
	if percent {
		x /= 100
	}
	if x < 0 || x > 1 {
		return fmt.Errorf("%q is out of range; %s", text, want)
	}
	*f = fraction(x)
	return nil
}

// difference reads +5 or -3: a number with its sign.
type difference int

// UnmarshalText reads a difference.
func (d *difference) UnmarshalText(text []byte) error {
	const want = "want how many more or fewer there are to be, such as +5 or -3"
	n, err := strconv.Atoi(string(text))
	if err != nil || !strings.ContainsAny(string(text), "+-") || n < -maxSources || n > maxSources {
		return fmt.Errorf("%q: %s", text, want)
	}
	if n == 0 {
		return fmt.Errorf("%q changes nothing; %s", text, want)
	}
	*d = difference(n)
	return nil
}

// places reads names of nodes and tiers, separated by commas.
type places []string

// UnmarshalText reads places.
func (p *places) UnmarshalText(text []byte) error {
	*p = nil
	for name := range strings.SplitSeq(string(text), ",") {
		*p = append(*p, strings.TrimSpace(name))
	}
	return nil
}

// decimal reads a number in plain decimal notation.
func decimal(text string) (float64, bool) {
	const most = 24 // characters; a float64 has no more to say
	if len(text) > most || strings.Trim(text, "+-.0123456789") != "" {
		return 0, false
	}
	x, err := strconv.ParseFloat(text, 64)
	return x, err == nil
}
