package profile

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// ErrInvalid reports a profile that nobody can have measured.
var ErrInvalid = errors.New("invalid profile")

// The backends that detectors run on in effect.
const (
	CPU  = "cpu"
	CUDA = "cuda"
)

// Platform is what a detector was measured on.
type Platform struct {
	Backend   string `json:"backend"`             // the effective one: cpu or cuda
	Processor string `json:"processor,omitempty"` // what the machine calls it; empty: nothing
	Cores     int    `json:"cores"`               // that a frame may use at a time; of the CPU
}

// Key is what of a node is profiled: a model at a resolution, on a backend.
type Key struct {
	Model      string `json:"model"`
	Resolution int    `json:"resolution"`
	Backend    string `json:"backend"`
}

func (k Key) String() string { return fmt.Sprintf("%s@%d on %s", k.Model, k.Resolution, k.Backend) }

// Compare orders keys: by model, resolution and backend.
func (k Key) Compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Model, o.Model), cmp.Compare(k.Resolution, o.Resolution), cmp.Compare(k.Backend, o.Backend))
}

// EnergySource is how energy was come by.
type EnergySource string

// The sources.
const (
	RAPL     EnergySource = "rapl"       // counters of the processor and its memory, whoever used them
	NVIDIA   EnergySource = "nvidia-smi" // what the GPU drew, whoever used it
	Modelled EnergySource = "model"      // not measured: worked out from the time that was used
)

// Energy is what a frame takes.
type Energy struct {
	JoulesPerFrame float64      `json:"joules_per_frame"`
	Source         EnergySource `json:"source"`
}

// Profile is what a detector costs on a platform. Durations are in nanoseconds
// in JSON.
type Profile struct {
	Model      string   `json:"model"`
	Resolution int      `json:"resolution"` // pixels
	Platform   Platform `json:"platform"`
	// Of a frame that has been brought to the resolution, once the detector is
	// warm.
	ExecuteP50  time.Duration `json:"execute_p50"`
	ExecuteP95  time.Duration `json:"execute_p95"`
	ExecuteMean time.Duration `json:"execute_mean"`
	// Load is the cold start: the detector is made and has seen its first frame.
	Load   time.Duration `json:"load"`
	Memory int64         `json:"memory"` // bytes by which the process grows; 0: not known
	Energy Energy        `json:"energy"`
	Frames int           `json:"frames"` // that the times of execution are of
	// Live: the times of execution are those of frames of workflows, which
	// differed from what had been measured by itself. The rest is as it was.
	Live bool      `json:"live,omitempty"`
	At   time.Time `json:"at"`
}

// Key is what the profile is of.
func (p *Profile) Key() Key { return Key{p.Model, p.Resolution, p.Platform.Backend} }

// The limits of what is believed.
const (
	maxName     = 128
	maxSide     = 1 << 16
	maxCores    = 1 << 16
	maxExecute  = time.Hour
	maxLoad     = 24 * time.Hour
	maxMemory   = 1 << 50
	maxJoules   = 1e9
	maxFrames   = 1e9
	earliestYr  = 1970
	unreachable = 10000 // years that RFC 3339 cannot write
)

// Validate returns ErrInvalid with the field that is wrong.
func (p *Profile) Validate() error {
	for _, c := range []struct {
		ok   bool
		what string
		is   any
	}{
		{p.Model != "" && name(p.Model), "model", bounded(p.Model)},
		{p.Resolution > 0 && p.Resolution <= maxSide, "resolution", p.Resolution},
		{p.Platform.Backend == CPU || p.Platform.Backend == CUDA, "platform.backend", bounded(p.Platform.Backend)},
		{name(p.Platform.Processor), "platform.processor", bounded(p.Platform.Processor)},
		{p.Platform.Cores > 0 && p.Platform.Cores <= maxCores, "platform.cores", p.Platform.Cores},
		{p.ExecuteP50 > 0 && p.ExecuteP50 <= p.ExecuteP95, "execute_p50", p.ExecuteP50},
		{p.ExecuteP95 <= maxExecute, "execute_p95", p.ExecuteP95},
		{p.ExecuteMean > 0 && p.ExecuteMean <= maxExecute, "execute_mean", p.ExecuteMean},
		{p.Load > 0 && p.Load <= maxLoad, "load", p.Load},
		{p.Memory >= 0 && p.Memory <= maxMemory, "memory", p.Memory},
		{p.Energy.JoulesPerFrame >= 0 && p.Energy.JoulesPerFrame <= maxJoules, "energy.joules_per_frame", p.Energy.JoulesPerFrame},
		{slices.Contains([]EnergySource{RAPL, NVIDIA, Modelled}, p.Energy.Source), "energy.source", bounded(string(p.Energy.Source))},
		{p.Frames > 0 && p.Frames <= maxFrames, "frames", p.Frames},
		{p.At.UTC().Year() >= earliestYr && p.At.UTC().Year() < unreachable, "at", p.At},
	} {
		if !c.ok {
			return fmt.Errorf("%w: %s is %v", ErrInvalid, c.what, c.is)
		}
	}
	return nil
}

func name(s string) bool {
	return len(s) <= maxName && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// bounded is s for a message.
func bounded(s string) string { return fmt.Sprintf("%.*q", maxName, s) }

// Name shortens what a machine says of itself to what a profile can hold.
func Name(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "")), " ")
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, s)
	for len(s) > maxName {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

// Times sums up what frames took: the median and the 95th percentile (nearest
// rank), and the mean. It sorts the durations, of which there must be some.
func Times(took []time.Duration) (p50, p95, mean time.Duration) {
	slices.Sort(took)
	rank := func(q float64) time.Duration { return took[max(0, int(math.Ceil(q*float64(len(took))))-1)] }
	var sum time.Duration
	for _, d := range took {
		sum += d
	}
	return rank(0.50), rank(0.95), sum / time.Duration(len(took))
}

// MaxEach is how many profiles of a node are kept.
const MaxEach = 64

// Merge returns the profiles with those that are newly known, each in place of
// the one before of its key, in the order of keys. Of more than MaxEach the
// oldest go.
func Merge(known, more []Profile) []Profile {
	by := map[Key]Profile{}
	for _, p := range slices.Concat(known, more) {
		by[p.Key()] = p
	}
	out := make([]Profile, 0, len(by))
	for _, p := range by {
		out = append(out, p)
	}
	order := func(a, b Profile) int { return a.Key().Compare(b.Key()) }
	if len(out) > MaxEach {
		slices.SortFunc(out, func(a, b Profile) int { return cmp.Or(b.At.Compare(a.At), order(a, b)) })
		out = out[:MaxEach]
	}
	slices.SortFunc(out, order)
	return out
}

// Find returns the profile of a key.
func Find(all []Profile, k Key) (Profile, bool) {
	i := slices.IndexFunc(all, func(p Profile) bool { return p.Key() == k })
	if i < 0 {
		return Profile{}, false
	}
	return all[i], true
}

// Refreshed is the profile with the times of execution that were seen live.
func (p Profile) Refreshed(p50, p95, mean time.Duration, frames int, at time.Time) Profile {
	p.ExecuteP50, p.ExecuteP95, p.ExecuteMean, p.Frames, p.At, p.Live = p50, p95, mean, frames, at, true
	return p
}
