package quality

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// A floor above what can be reached: the newest source is refused, with the
// numbers; the others run on; and when the floor can be reached, it is admitted
// without asking again.
func TestAdmission(t *testing.T) {
	r := start(t, DefaultParams())
	r.params.MinAccuracy = 0.68
	r.decide(useCase(16, 1e9))
	if len(r.last.Refused) != 0 {
		t.Fatalf("of 16 sources these are refused: %+v", r.last.Refused)
	}
	d := r.decide(useCase(30, 1e9))
	if len(d.Sources) <= 16 || len(d.Refused) == 0 {
		t.Fatalf("%d of 30 sources are admitted", len(d.Sources))
	}
	first := len(d.Sources)
	for i, f := range d.Refused { // the newest
		if f.Source != fmt.Sprintf("cam%05d", first+i) || !strings.Contains(f.Why, "the most accurate reaches 0.6") || !strings.Contains(f.Why, "0.6800 is asked for") {
			t.Errorf("refused: %+v", f)
		}
	}
	more := useCase(30, 1e9)
	more.Stations[3].Servers = 6
	if d = r.decide(more); len(d.Sources) != first || !strings.Contains(d.Refused[0].Why, "it can be admitted") {
		t.Errorf("with twice the servers, %d sources are admitted at once, though that may be chance: %+v", len(d.Sources)-first, d.Refused)
	}
	if d = r.decide(more); len(d.Refused) != 0 {
		t.Errorf("with twice the servers, %d sources are still refused: %s", len(d.Refused), d.Refused[0].Why)
	}
	// What was admitted stays, whatever happens.
	r.params.MinAccuracy = 0.9
	d = r.decide(useCase(31, 1e9))
	if len(d.Sources) != 30 || len(d.Refused) != 1 || d.Refused[0].Source != "cam00030" {
		t.Errorf("with a floor that nothing reaches, %d sources run and %+v", len(d.Sources), d.Refused)
	}
	if empty := start(t, r.params).decide(useCase(3, 1e9)); len(empty.Sources) != 0 || empty.Why != "no source is admitted" {
		t.Errorf("with a floor that nothing reaches, %d sources start: %s", len(empty.Sources), empty.Why)
	}
}

// A mesh that has room for one more now and then, as what is measured varies, does
// not admit one more each time, until none has what it was promised.
func TestAdmissionIsNotByChance(t *testing.T) {
	r := start(t, DefaultParams())
	r.params.MinAccuracy = 0.68
	first := len(r.decide(useCase(30, 1e9)).Sources)
	for i := range 20 {
		v := useCase(30, 1e9)
		v.Classes[0].Options[0].Path[1].Execution.Service = ms([]float64{170, 190}[i%2])
		if fresh := start(t, r.params).decide(v); i == 0 && len(fresh.Sources) <= first {
			t.Fatalf("%d sources fit as well as %d: this test shows nothing", len(fresh.Sources), first)
		}
		r.decide(v)
	}
	if n := len(r.last.Sources); n != first {
		t.Errorf("%d sources are admitted in the end, %d were at first", n, first)
	}
}

// A class that cannot be served does not keep the others from joining. Where all
// that it offers is accurate enough, it gives what its modem carries.
func TestAdmissionIsByClass(t *testing.T) {
	v := useCase(2, 1e9)
	slow := v.Classes[0]
	slow.Name, slow.Sources = "slow", names("slow", 2)
	slow.Options = slices.Clone(slow.Options)
	v.Stations = append(v.Stations, Station{Name: "modem", Servers: 1, Each: 1})
	for i := range slow.Options {
		slow.Options[i].Path = slices.Clone(slow.Options[i].Path)
		slow.Options[i].Path[1].Transfer = []Visit{{"modem", ms(float64(3000 - 100*i)), 0}}
	}
	v.Classes = append([]Class{slow}, v.Classes...)
	params := DefaultParams()
	params.MinAccuracy = 0.65 // 416 has 0.6382
	d := start(t, params).decide(v)
	if len(d.Sources) != 2 || len(d.Refused) != 2 || !strings.Contains(d.Refused[0].Why, "modem would be loaded to 300 %") {
		t.Errorf("%+v, refused %+v", d.Sources, d.Refused)
	}
	params.MinAccuracy = 0.5
	d = start(t, params).decide(v)
	if got := shares(d.Distribution); len(d.Sources) != 4 || len(d.Refused) != 0 || got["yolo@416"] != 2 {
		t.Errorf("with the least load on the modem: %+v, refused %+v", d.Distribution, d.Refused)
	}
}

// An uplink that two cameras are too much for serves the older one; on another
// node a younger one is served.
func TestAnUplinkServesWhomItCan(t *testing.T) {
	v := useCase(3, 1e9)
	for i, node := range []string{"edge-1", "edge-1", "edge-2"} {
		v.Classes[0].Sources[i].Node = node
	}
	slow := func(x float64) {
		v.Classes[0].Options[0].Path[1].Transfer[0].Service = ms(x)
		v.Classes[0].Options[1].Path[1].Transfer[0].Service = ms(x - 50)
	}
	params := DefaultParams()
	params.MinAccuracy = 0.65 // 416 has 0.6382
	r := start(t, params)
	slow(700)
	d := r.decide(v)
	if len(d.Sources) != 2 || len(d.Refused) != 1 || d.Refused[0].Source != "cam00001" || !strings.Contains(d.Refused[0].Why, "edge-fog would be loaded to 140 % by 2 such sources") {
		t.Errorf("%+v, refused %+v", d.Sources, d.Refused)
	}
	if d.Estimate.Saturated != "" || shares(d.Distribution)["yolo@512"] != 2 {
		t.Errorf("%+v: %+v", d.Distribution, d.Estimate)
	}
	slow(100)
	if d = r.decide(v); len(d.Sources) != 2 || !strings.Contains(d.Refused[0].Why, "it can be admitted") {
		t.Errorf("that may be chance: %+v, refused %+v", d.Sources, d.Refused)
	}
	if d = r.decide(v); len(d.Sources) != 3 {
		t.Errorf("after a period: %+v", d.Refused)
	}
	slow(1200)
	if d = r.decide(v); len(d.Sources) != 0 || len(d.Refused) != 3 {
		t.Errorf("not even one fits: %+v", d.Sources)
	}
	params.MinAccuracy = 0.5
	if d = start(t, params).decide(v); len(d.Sources) != 3 {
		t.Errorf("all qualities are accurate enough: %+v", d.Refused)
	}
}

// Cameras of several classes share the uplink of their node: the oldest of all is
// served where there is room for one.
func TestClassesShareAnUplink(t *testing.T) {
	v := useCase(2, 1e9)
	other := v.Classes[0]
	other.Name, other.Sources = "yard", names("yard", 2)
	other.FPS, other.Own.Resolution = 1.01, 512
	v.Classes = append(v.Classes, other)
	v.Stations[0].Each, v.Stations[1].Each = 4, 4
	for c := range v.Classes {
		v.Classes[c].Sources = slices.Clone(v.Classes[c].Sources)
		v.Classes[c].Options = slices.Clone(v.Classes[c].Options)
		for i := range v.Classes[c].Sources {
			v.Classes[c].Sources[i].Node = "edge-1"
			v.Classes[c].Sources[i].Joined = time.Unix(int64(2*i+c), 0)
		}
		for i := range v.Classes[c].Options {
			v.Classes[c].Options[i].Path = slices.Clone(v.Classes[c].Options[i].Path)
			v.Classes[c].Options[i].Path[1].Transfer = []Visit{{"edge-fog", ms(600), 0}}
		}
	}
	params := DefaultParams()
	params.MinAccuracy = 0.65 // 416 has 0.6382
	d := start(t, params).decide(v)
	if len(d.Sources) != 1 || d.Sources[0].Source != "cam00000" || len(d.Refused) != 3 {
		t.Errorf("%+v, refused %+v", d.Sources, d.Refused)
	}
	// Nobody knows where they are: then none can be told from another.
	for c := range v.Classes {
		for i := range v.Classes[c].Sources {
			v.Classes[c].Sources[i].Node = ""
		}
	}
	if d = start(t, params).decide(v); len(d.Sources) != 4 {
		t.Errorf("without nodes: %+v, refused %+v", d.Sources, d.Refused)
	}
}

func TestNothingCanBeServedAnyMore(t *testing.T) {
	for floor, refused := range map[float64]int{0: 0, 0.65: 1} { // 416 has 0.6382
		params := DefaultParams()
		params.MinAccuracy = floor
		r := start(t, params)
		r.decide(useCase(19, 1e9))
		v := useCase(20, 1e9)
		v.Stations[3].Servers, v.Stations[4].Servers = 1, 1
		r.decide(v)
		d := r.decide(v) // it is left when another has been better for a while
		if len(d.Sources) != 20-refused || d.Estimate.Saturated == "" || !strings.Contains(d.Why, "the most that can be shown") {
			t.Errorf("%d sources, %+v, %q", len(d.Sources), d.Estimate, d.Why)
		}
		if len(d.Refused) != refused || refused > 0 && !strings.Contains(d.Refused[0].Why, "no distribution over 20 sources can be served: at the least, loads") {
			t.Errorf("%+v", d.Refused)
		}
	}
}
