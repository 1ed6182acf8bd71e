package profile_test

import (
	"encoding/json"
	"errors"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/weft-mesh/weft/models/profile"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func sample() profile.Profile {
	return profile.Profile{
		Model: "yolov4-tiny", Resolution: 416, Platform: profile.Platform{Backend: "cpu", Processor: "Cortex-A72", Cores: 4},
		ExecuteP50: 120 * time.Millisecond, ExecuteP95: 140 * time.Millisecond, ExecuteMean: 122500 * time.Microsecond,
		Load: 900 * time.Millisecond, Memory: 90 << 20, Energy: profile.Energy{JoulesPerFrame: 0.65, Source: profile.Modelled},
		Frames: 50, At: time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC),
	}
}

func TestJSON(t *testing.T) {
	p := sample()
	got, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	file := filepath.Join("testdata", "profile.json")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var back profile.Profile
	if err := json.Unmarshal(want, &back); err != nil || !reflect.DeepEqual(back, p) {
		t.Errorf("came back as %+v, %v", back, err)
	}
}

func TestValidate(t *testing.T) {
	p := sample()
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*profile.Profile){
		"model":                   func(p *profile.Profile) { p.Model = "" },
		"model ":                  func(p *profile.Profile) { p.Model = "a\nb" },
		"model is \"xxxxx":        func(p *profile.Profile) { p.Model = strings.Repeat("x", 1<<20) },
		"resolution":              func(p *profile.Profile) { p.Resolution = 0 },
		"platform.backend":        func(p *profile.Profile) { p.Platform.Backend = "tpu" },
		"platform.processor":      func(p *profile.Profile) { p.Platform.Processor = "\xff" },
		"platform.cores":          func(p *profile.Profile) { p.Platform.Cores = 0 },
		"execute_p50":             func(p *profile.Profile) { p.ExecuteP50 = 0 },
		"execute_p50 ":            func(p *profile.Profile) { p.ExecuteP95 = p.ExecuteP50 - 1 },
		"execute_p95":             func(p *profile.Profile) { p.ExecuteP95 = 2 * time.Hour },
		"execute_mean":            func(p *profile.Profile) { p.ExecuteMean = -1 },
		"load":                    func(p *profile.Profile) { p.Load = 0 },
		"memory":                  func(p *profile.Profile) { p.Memory = -1 },
		"energy.joules_per_frame": func(p *profile.Profile) { p.Energy.JoulesPerFrame = math.NaN() },
		"energy.joules_per_frame ": func(p *profile.Profile) {
			p.Energy.JoulesPerFrame = math.Inf(1)
		},
		"energy.source": func(p *profile.Profile) { p.Energy.Source = "" },
		"frames":        func(p *profile.Profile) { p.Frames = 0 },
		"at":            func(p *profile.Profile) { p.At = time.Time{} },
		"at ":           func(p *profile.Profile) { p.At = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		bad := sample()
		spoil(&bad)
		err := bad.Validate()
		if !errors.Is(err, profile.ErrInvalid) || !strings.Contains(err.Error(), "invalid profile: "+strings.TrimSpace(what)) || len(err.Error()) > 300 {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestName(t *testing.T) {
	for in, want := range map[string]string{
		"":                                   "",
		"  Intel(R)   Xeon(R)\tCPU\n":        "Intel(R) Xeon(R) CPU",
		"a\x00b\xffc":                        "abc",
		strings.Repeat("ä", 100):             strings.Repeat("ä", 64),
		"x" + strings.Repeat("ä", 100):       "x" + strings.Repeat("ä", 63),
		"ARMv8 Processor rev 3 (v8l), quiet": "ARMv8 Processor rev 3 (v8l), quiet",
	} {
		got := profile.Name(in)
		if got != want || !utf8.ValidString(got) {
			t.Errorf("%q is named %q, want %q", in, got, want)
		}
		p := sample()
		if p.Platform.Processor = got; p.Validate() != nil {
			t.Errorf("%q is refused: %v", got, p.Validate())
		}
	}
}

func TestTimes(t *testing.T) {
	var took []time.Duration
	for _, i := range rand.Perm(100) {
		took = append(took, time.Duration(i+1))
	}
	if p50, p95, mean := profile.Times(took); p50 != 50 || p95 != 95 || mean != 50 {
		t.Errorf("%d, %d, %d", p50, p95, mean)
	}
	if p50, p95, mean := profile.Times([]time.Duration{7}); p50 != 7 || p95 != 7 || mean != 7 {
		t.Errorf("of one: %d, %d, %d", p50, p95, mean)
	}
}

// TestMerge holds Merge against doing it one by one, the slow way.
func TestMerge(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	draw := func() profile.Profile {
		p := sample()
		p.Model = string(rune('a' + rng.IntN(20)))
		p.Resolution = 32 * (1 + rng.IntN(5))
		p.Platform.Backend = []string{profile.CPU, profile.CUDA}[rng.IntN(2)]
		p.At = p.At.Add(time.Duration(rng.IntN(50)) * time.Second)
		p.Frames = 1 + rng.IntN(1000)
		return p
	}
	for round := range 60 {
		var known []profile.Profile
		var want []profile.Profile
		for range 1 + rng.IntN(5) {
			var more []profile.Profile
			for range rng.IntN(60) {
				more = append(more, draw())
			}
			known = profile.Merge(known, more)
			for _, p := range more {
				want = slices.DeleteFunc(want, func(o profile.Profile) bool { return o.Key() == p.Key() })
				want = append(want, p)
			}
			slices.SortFunc(want, func(a, b profile.Profile) int { return a.Key().Compare(b.Key()) })
			for len(want) > profile.MaxEach {
				oldest := 0
				for i := range want {
					if !want[i].At.After(want[oldest].At) { // of the same age the last by key
						oldest = i
					}
				}
				want = slices.Delete(want, oldest, oldest+1)
			}
			if !reflect.DeepEqual(known, want) && len(known)+len(want) > 0 {
				t.Fatalf("round %d: %d profiles, want %d", round, len(known), len(want))
			}
		}
		for _, p := range known {
			if got, ok := profile.Find(known, p.Key()); !ok || !reflect.DeepEqual(got, p) {
				t.Fatalf("%v is not found", p.Key())
			}
		}
	}
	if _, ok := profile.Find(nil, profile.Key{}); ok {
		t.Error("something is found in nothing")
	}
}

func TestDrift(t *testing.T) {
	rule := profile.DefaultDrift()
	if err := rule.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []profile.Drift{{1, 3}, {math.NaN(), 3}, {2, 0}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	const ms = time.Millisecond
	for what, tc := range map[string]struct {
		live []time.Duration // against 100 ms
		want []bool
	}{
		"as it was":        {[]time.Duration{100 * ms, 149 * ms, 67 * ms, 100 * ms}, []bool{false, false, false, false}},
		"slower":           {[]time.Duration{160 * ms, 200 * ms, 151 * ms, 160 * ms}, []bool{false, false, true, false}},
		"faster":           {[]time.Duration{60 * ms, 50 * ms, 10 * ms}, []bool{false, false, true}},
		"once in a while":  {[]time.Duration{200 * ms, 200 * ms, 100 * ms, 200 * ms, 200 * ms}, []bool{false, false, false, false, false}},
		"to and fro":       {[]time.Duration{200 * ms, 200 * ms, 50 * ms, 50 * ms, 50 * ms}, []bool{false, false, false, false, true}},
		"nothing measured": {[]time.Duration{200 * ms, 200 * ms, 0, 200 * ms}, []bool{false, false, false, false}},
	} {
		var w profile.Watch
		for i, live := range tc.live {
			if got := w.Observe(rule, 100*ms, live); got != tc.want[i] {
				t.Errorf("%s: period %d: drifted %t", what, i, got)
			}
		}
	}
	p := sample()
	q := p.Refreshed(1, 2, 3, 4, p.At.Add(time.Hour))
	if q.ExecuteP50 != 1 || q.ExecuteP95 != 2 || q.ExecuteMean != 3 || q.Frames != 4 || !q.Live || q.Load != p.Load || q.Energy != p.Energy || p.Live {
		t.Errorf("%+v", q)
	}
}
