package quality

import (
	"fmt"
	"math"
	"math/rand/v2"
	"syscall"
	"time"
)

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func ms(x float64) time.Duration { return time.Duration(x * float64(time.Millisecond)) }

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*(1+math.Abs(a)) }

// names returns sources that joined a second after each other.
func names(prefix string, n int) []Source {
	out := make([]Source, n)
	for i := range out {
		out[i] = Source{Name: fmt.Sprintf("%s%05d", prefix, i), Joined: time.Unix(int64(i), 0)}
	}
	return out
}

// drawView draws classes with up to so many sources and qualities each: every
// model and resolution has its own detectors, and all qualities pass a shared
// link and a shared drawing stage, with a size and a time of their own. About a
// third of the views are short of something.
func drawView(r *rand.Rand, classes, sources, qualities int, rates bool) View {
	v := View{Workflow: "w", Stations: []Station{
		{Name: "link", Servers: 1},
		{Name: "draw", Servers: 1 + r.IntN(2), Variability: 0.2 + r.Float64()},
	}}
	total := 0
	for c := range classes {
		n := 1 + r.IntN(sources)
		total += n
		v.Classes = append(v.Classes, Class{Name: fmt.Sprintf("c%d", c), FPS: []float64{5, 10, 25}[r.IntN(3)],
			Sources: names(fmt.Sprintf("c%d-", c), n)})
	}
	// Times such that the whole would load each station to about so much.
	scale := func(utilisation float64) float64 { return utilisation / (12 * float64(total)) }
	link, draw := 1.2*r.Float64(), r.Float64()
	for q := range qualities {
		name := fmt.Sprintf("detect%d", q)
		detect := 3 * r.Float64()
		every := 1
		if rates {
			every += r.IntN(3)
		}
		if q > 0 && rates && r.IntN(2) == 0 { // the same model and resolution at another rate
			name = fmt.Sprintf("detect%d", q-1)
		}
		if len(v.Stations) < 3 || v.Stations[len(v.Stations)-1].Name != name {
			v.Stations = append(v.Stations, Station{Name: name, Servers: 1 + r.IntN(4)})
		}
		servers := float64(v.Stations[len(v.Stations)-1].Servers)
		accuracy := 0.3 + 0.65*r.Float64()
		visits := func(near float64) Path {
			sec := func(x float64) time.Duration { return seconds(x) }
			return Path{
				{Task: name,
					Transfer:  []Visit{{"link", sec(scale(link) * (0.5 + r.Float64())), ms(10 * r.Float64())}},
					Execution: Visit{name, sec(scale(detect) * servers), 0}},
				{Task: "draw", Execution: Visit{"draw", sec(scale(draw) * (0.5 + r.Float64())), ms(near)}},
			}
		}
		for c := range v.Classes {
			v.Classes[c].Options = append(v.Classes[c].Options,
				Option{Quality{Model: "m", Resolution: 100 + q, Every: every}, math.Min(1, accuracy+0.05*r.Float64()), visits(20 * r.Float64())})
		}
	}
	return v
}

// more gives each class of one source n of them, and makes all services as much
// faster, so that the load stays what it was.
func more(v *View, n int) {
	for c := range v.Classes {
		v.Classes[c].Sources = names(v.Classes[c].Name+"-", n)
		for _, o := range v.Classes[c].Options {
			for s := range o.Path {
				o.Path[s].Execution.Service = seconds(o.Path[s].Execution.Service.Seconds() / float64(n))
				for j := range o.Path[s].Transfer {
					o.Path[s].Transfer[j].Service = seconds(o.Path[s].Transfer[j].Service.Seconds() / float64(n))
				}
			}
		}
	}
}

func everyKnob() Params {
	p := DefaultParams()
	p.Knobs = Knobs{true, true, true}
	return p
}

func (v *View) counts() []int {
	out := make([]int, len(v.Classes))
	for c := range v.Classes {
		out[c] = len(v.Classes[c].Sources)
	}
	return out
}

// cpu is the processor time that this process has used, in seconds: on a busy
// machine the time on the clock says little.
func cpu() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}
