// Package quantity reads amounts as people write them in YAML: 250m cores, 2GiB.
package quantity

import (
	"cmp"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/weft-mesh/weft/internal/yamlfile"
)

// Cores reads 250m, 1.5 or 2 as thousandths of a core.
type Cores int64

// Bytes reads 512MiB, 2GiB or 500MB as bytes.
type Bytes int64

// Rate reads 500kbit, 30Mbit or 1Gbit as bits a second.
type Rate int64

const (
	maxRate  = 1e15
	maxCores = 1_000_000_000 // a million cores
	maxBytes = 1 << 60
)

// units are the units of Bytes, the binary ones first.
var units = []struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// UnmarshalText reads a number of cores.
func (m *Cores) UnmarshalText(text []byte) error {
	const want = "want cores such as 250m, 0.5 or 2"
	number, milli := strings.CutSuffix(string(text), "m")
	scale := int64(1000)
	if milli {
		scale = 1
	}
	n, err := amount(number, scale, maxCores)
	if err != nil {
		return fmt.Errorf("%q: %w; %s", text, err, want)
	}
	*m = Cores(n)
	return nil
}

// UnmarshalText reads an amount of memory or disk.
func (b *Bytes) UnmarshalText(text []byte) error {
	const want = "want an amount with its unit such as 512MiB, 2GiB or 500MB"
	i := strings.LastIndexAny(string(text), "0123456789.") + 1
	number, unit := string(text[:i]), strings.TrimSpace(string(text[i:]))
	if unit == "" && number == "0" {
		*b = 0
		return nil
	}
	scale, known := int64(0), []string(nil)
	for _, u := range units {
		known = append(known, u.name)
		if u.name == unit {
			scale = u.bytes
		}
	}
	switch {
	case unit == "" && number != "":
		return fmt.Errorf("%q has no unit; %s", text, want)
	case scale == 0 && number != "":
		return fmt.Errorf("unknown unit %q%s %s", unit, cmp.Or(yamlfile.DidYouMean(unit, known), ";"), want)
	}
	n, err := amount(number, scale, maxBytes)
	if err != nil {
		return fmt.Errorf("%q: %w; %s", text, err, want)
	}
	*b = Bytes(n)
	return nil
}

var rates = []struct {
	name string
	bits int64
}{{"kbit", 1e3}, {"Mbit", 1e6}, {"Gbit", 1e9}, {"bit", 1}}

// UnmarshalText reads a rate.
func (r *Rate) UnmarshalText(text []byte) error {
	const want = "want a rate such as 500kbit, 30Mbit or 1Gbit"
	for _, u := range rates {
		number, ok := strings.CutSuffix(string(text), u.name)
		if !ok {
			continue
		}
		n, err := amount(strings.TrimSpace(number), u.bits, maxRate)
		if err != nil {
			return fmt.Errorf("%q: %w; %s", text, err, want)
		}
		*r = Rate(n)
		return nil
	}
	return fmt.Errorf("%q is no rate; %s", text, want)
}

var (
	errNoNumber = errors.New("not a number")
	errNegative = errors.New("can't be negative")
	errTooFine  = errors.New("finer than can be counted")
	errTooLarge = errors.New("too large")
)

// amount returns number × scale, exactly, if it is whole and at most most.
func amount(number string, scale, most int64) (int64, error) {
	if number == "" || len(number) > 24 || strings.Trim(strings.TrimPrefix(number, "-"), "0123456789.") != "" {
		return 0, errNoNumber
	}
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, errNoNumber
	}
	if r.Sign() < 0 {
		return 0, errNegative
	}
	r.Mul(r, new(big.Rat).SetInt64(scale))
	if r.Cmp(new(big.Rat).SetInt64(most)) > 0 {
		return 0, errTooLarge
	}
	if !r.IsInt() {
		return 0, errTooFine
	}
	return r.Num().Int64(), nil
}
