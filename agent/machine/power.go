package machine

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/models/profile/bench"
)

// Power measures the energy that the machine draws. RAPL and nvidia-smi say what
// all of the processor or GPU draws, idle or not and whoever uses it; where
// there is neither, a model says what the work alone should take (see Modelled).
type Power struct {
	Powercap  fs.FS  // /sys/class/powercap, or what is to be taken for it
	NvidiaSMI string // the command
	Processor string // the machine's name of it
}

// NewPower measures this machine.
func NewPower(ctx context.Context) *Power {
	return &Power{Powercap: os.DirFS("/sys/class/powercap"), NvidiaSMI: "nvidia-smi", Processor: Processor(ctx)}
}

// Energy begins to measure what a backend draws; end says what that was. It
// implements that part of bench.Machine.
func (p *Power) Energy(ctx context.Context, backend string) (end func(used bench.Use) (joules float64, source profile.EnergySource)) {
	model := func(used bench.Use) (float64, profile.EnergySource) {
		return Modelled(p.Processor, backend, used), profile.Modelled
	}
	if backend == profile.CUDA {
		watts := sample(ctx, p.NvidiaSMI)
		return func(used bench.Use) (float64, profile.EnergySource) {
			if w, ok := watts(); ok {
				return w * used.Elapsed.Seconds(), profile.NVIDIA
			}
			return model(used)
		}
	}
	before := readRAPL(p.Powercap)
	return func(used bench.Use) (float64, profile.EnergySource) {
		if j, ok := before.until(readRAPL(p.Powercap)); ok {
			return j, profile.RAPL
		}
		return model(used)
	}
}

// counters are RAPL's, by the folder of their domain.
type counters map[string]counter

// counter is one, in microjoules. It begins at 0 again after the most that it
// can say.
type counter struct{ now, most uint64 }

// domain is a processor ("package") in powercap, or a part of one.
var domain = regexp.MustCompile(`^intel-rapl:\d+(:\d+)?$`)

// readRAPL reads the counters of processors and of their memory. What else there
// is would count twice: cores and graphics are parts of a processor, and psys is
// all of them. AMD's processors have the same folders. Only root may read them
// as a rule; none that can be read is none.
func readRAPL(powercap fs.FS) counters {
	entries, err := fs.ReadDir(powercap, ".")
	if err != nil {
		return nil
	}
	out := counters{}
	for _, e := range entries {
		if !domain.MatchString(e.Name()) {
			continue
		}
		name, err := fs.ReadFile(powercap, path.Join(e.Name(), "name"))
		kind := strings.TrimSpace(string(name))
		if err != nil || !strings.HasPrefix(kind, "package") && kind != "dram" {
			continue
		}
		now, err := number(powercap, e.Name(), "energy_uj")
		if err != nil {
			return nil // a part of the whole would be taken for it
		}
		most, err := number(powercap, e.Name(), "max_energy_range_uj")
		if err != nil {
			return nil
		}
		out[e.Name()] = counter{now, most}
	}
	return out
}

func number(powercap fs.FS, dir, file string) (uint64, error) {
	b, err := fs.ReadFile(powercap, path.Join(dir, file))
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
}

// until is what was drawn between two readings, in joules. It must be less than
// what a counter can say: at 300 W that is three minutes or more. false: it is
// not known.
func (c counters) until(later counters) (joules float64, ok bool) {
	if len(c) == 0 || len(c) != len(later) {
		return 0, false
	}
	var sum uint64
	for dir, a := range c {
		b, ok := later[dir]
		switch {
		case !ok || a.most != b.most || a.now > a.most || b.now > a.most:
			return 0, false
		case b.now >= a.now:
			sum += b.now - a.now
		default:
			sum += a.most - a.now + b.now
		}
	}
	return float64(sum) / 1e6, sum > 0 // a virtual machine's may stand still
}

// every is how often nvidia-smi says what the GPU draws, in milliseconds.
const every = 100

// sample begins to read what the first GPU draws. The function that it returns
// ends that, and says what it was on average, in watts; false: it is not known.
func sample(ctx context.Context, command string) func() (watts float64, ok bool) {
	ctx, stop := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, command, "--id=0", "--query-gpu=power.draw", "--format=csv,noheader,nounits", "--loop-ms="+strconv.Itoa(every))
	cmd.WaitDelay = time.Second // for who inherited its output
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		stop()
		return func() (float64, bool) { return 0, false }
	}
	var (
		reading sync.WaitGroup
		sum     float64
		n       int
	)
	reading.Go(func() { sum, n = readWatts(out) })
	return func() (float64, bool) {
		stop()
		reading.Wait()
		_ = cmd.Wait() // it was stopped
		return sum / float64(max(n, 1)), n > 0
	}
}

// readWatts adds up the lines that are numbers. nvidia-smi says [N/A], or
// something else of that kind, where it does not know.
func readWatts(r io.Reader) (sum float64, n int) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		w, err := strconv.ParseFloat(strings.TrimSpace(lines.Text()), 64)
		if err == nil && w >= 0 && w < 1e6 {
			sum, n = sum+w, n+1
		}
	}
	return sum, n
}

// cores are what a core of a processor draws when it is busy, in watts: the
// rated power by the number of cores. The first that the name contains counts.
var cores = []struct {
	name  string
	watts float64
}{
	{"Cortex-A53", 0.8}, {"Cortex-A55", 0.8}, {"Cortex-A57", 1.5}, {"Cortex-A72", 1.2}, {"Cortex-A76", 1.8}, {"Cortex-A78", 1.8},
	{"Neoverse", 2.5}, {"Apple", 4}, {"ARM", 1.2}, {"Atom", 2.5}, {"Celeron", 3}, {" N100", 2}, {"EPYC", 4.5}, {"Xeon", 6},
	{"Ryzen", 8}, {"Core", 9},
}

// The watts where the name says nothing: of a core, and of a GPU that works.
const (
	anyCore = 6
	anyGPU  = 150
)

// Modelled is what work should take, in joules: watts of a busy core by the
// processor time used; of a GPU, watts by the time that it took. It is right to
// a factor of two or so, and made for comparing models on one machine.
func Modelled(processor, backend string, used bench.Use) float64 {
	if backend == profile.CUDA {
		return anyGPU * used.Elapsed.Seconds()
	}
	watts := float64(anyCore)
	for _, c := range cores {
		if strings.Contains(processor, c.name) {
			watts = c.watts
			break
		}
	}
	return watts * used.CPU.Seconds()
}

// GPU is what the machine calls its first GPU; empty: nothing.
func GPU(ctx context.Context, command string) string {
	ctx, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	out, err := exec.CommandContext(ctx, command, "--id=0", "--query-gpu=name", "--format=csv,noheader").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(fmt.Sprintf("%.200s", out))
}
