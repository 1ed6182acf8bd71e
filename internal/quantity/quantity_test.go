package quantity_test

import (
	"testing"

	"github.com/weft-mesh/weft/internal/quantity"
)

func TestCores(t *testing.T) {
	for text, want := range map[string]quantity.Cores{
		"0": 0, "1": 1000, "2.0": 2000, "0.25": 250, ".5": 500, "250m": 250, "1500m": 1500, "1.001": 1001, "1000000": 1_000_000_000,
	} {
		var got quantity.Cores
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q = %d, %v; want %d", text, got, err, want)
		}
	}
	const remedy = "; want cores such as 250m, 0.5 or 2"
	for text, want := range map[string]string{
		"":        `"": not a number` + remedy,
		"m":       `"m": not a number` + remedy,
		"two":     `"two": not a number` + remedy,
		"1e3":     `"1e3": not a number` + remedy,
		"1.2.3":   `"1.2.3": not a number` + remedy,
		"1/2":     `"1/2": not a number` + remedy,
		"-1":      `"-1": can't be negative` + remedy,
		"0.0005":  `"0.0005": finer than can be counted` + remedy,
		"0.5m":    `"0.5m": finer than can be counted` + remedy,
		"1000001": `"1000001": too large` + remedy,
	} {
		var got quantity.Cores
		if err := got.UnmarshalText([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]quantity.Bytes{
		"0": 0, "0MiB": 0, "7B": 7, "512MiB": 512 << 20, "512 MiB": 512 << 20, "1.5GiB": 3 << 29, "500MB": 500e6, "1kB": 1000, "2TB": 2e12, "1048576TiB": 1 << 60,
	} {
		var got quantity.Bytes
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q = %d, %v; want %d", text, got, err, want)
		}
	}
	const remedy = " want an amount with its unit such as 512MiB, 2GiB or 500MB"
	for text, want := range map[string]string{
		"":           `"": not a number;` + remedy,
		"MiB":        `"MiB": not a number;` + remedy,
		"512":        `"512" has no unit;` + remedy,
		"512M":       `unknown unit "M";` + remedy,
		"512mib":     `unknown unit "mib"; did you mean "MiB"?` + remedy,
		"512 apples": `unknown unit "apples";` + remedy,
		"-1MiB":      `"-1MiB": can't be negative;` + remedy,
		"0.5B":       `"0.5B": finer than can be counted;` + remedy,
		"1048577TiB": `"1048577TiB": too large;` + remedy,
	} {
		var got quantity.Bytes
		if err := got.UnmarshalText([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestRate(t *testing.T) {
	for text, want := range map[string]quantity.Rate{"30Mbit": 30e6, "1.5 Gbit": 15e8, "500kbit": 5e5, "9bit": 9} {
		var got quantity.Rate
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "30", "30Mb", "-1Mbit", "Mbit", "0.5bit", "1e3Mbit"} {
		var got quantity.Rate
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is read as %d", text, got)
		}
	}
}
