package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/testbed/experiment"
)

// examples is where the scenarios that ship are, wherever a test goes.
var examples, _ = filepath.Abs("../../examples/testbed")

// costs are those of some machine.
const costs = `
capture: 3ms
idle: 0.01
detect: 3s
return: 1s
tasks:
  resize: {work: 2ms, send: 1ms, receive: 1ms, bytes: 60kB, start: 100ms}
  "detect@512": {work: {mean: 60ms, cv: 0.1}, send: 2ms, receive: 1ms, bytes: 60kB, start: 100ms}
  "detect@640": {work: {mean: 90ms, cv: 0.1}, send: 2ms, receive: 1ms, bytes: 80kB, start: 100ms}
  draw: {work: 15ms, send: 1ms, receive: 1ms, bytes: 60kB, start: 100ms}
`

func TestSimulateCompareAndRepeat(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "costs.yaml", costs)
	small := filepath.Join(examples, "small.yaml")
	c := weft(t, "", "sim", "run", small, "--costs", "costs.yaml", "--repeat", "3", "--out", "a")
	c.want(t, exitOK, "simulated 3  seed 3")
	for _, words := range []string{"SIMULATED", "±", filepath.Join("a", "report.md")} {
		if !strings.Contains(c.out, words) {
			t.Errorf("no %q in\n%s", words, c.out)
		}
	}
	s := decode[experiment.Summary](t, weft(t, "", "sim", "run", small, "--costs", "a/costs.yaml", "--repeat", "3", "--out", "b", "-o", "json"))
	if s.Scenario != "small" || len(s.Methods["simulated"].Runs) != 3 {
		t.Errorf("summary %+v", s)
	}

	// The same seeds give the same figures: nothing differs.
	same := decode[experiment.Comparison](t, weft(t, "", "testbed", "compare", "a", "b", "--within", "0.0001", "-o", "json").want(t, exitOK, ""))
	if same.Beyond != 0 || !same.SameScenario {
		t.Errorf("the same seeds: %d figures differ", same.Beyond)
	}
	// The times of the raw tables and figures are the same to the byte.
	for _, file := range []string{"simulated-2/series.csv", "simulated-2/events.csv"} {
		one, err1 := os.ReadFile(filepath.Join("a", file))
		two, err2 := os.ReadFile(filepath.Join("b", file))
		if err1 != nil || err2 != nil || string(one) != string(two) || len(one) == 0 {
			t.Errorf("%s: %v, %v, %d and %d bytes", file, err1, err2, len(one), len(two))
		}
	}
	weft(t, "", "sim", "run", small, "--costs", "costs.yaml", "--load", "20", "--out", "c").want(t, exitOK, "")
	differs := weft(t, "", "testbed", "compare", "a", "c").want(t, exitFailure, "the results differ: ")
	if !strings.Contains(differs.out, "beyond 15 %") {
		t.Errorf("twenty times the load makes no difference:\n%s", differs.out)
	}
}

func TestTestbedMistakes(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "costs.yaml", costs)
	if err := os.Mkdir("other", 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, "other/file", "mine")
	small := filepath.Join(examples, "small.yaml")
	chaotic := filepath.Join(examples, "chaos.yaml")
	text, err := os.ReadFile(small)
	if err != nil {
		t.Fatal(err)
	}
	people, err := os.ReadFile(filepath.Join(examples, "people.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, "people.yaml", string(people))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	write(t, "bad.yaml", strings.Replace(string(text), "between: [edge, fog]", "between: [edge, fogg]", 1))
	for _, x := range []struct {
		args string
		code int
		want string
	}{
		{"testbed check " + small, exitOK, ""},
		{"testbed check bad.yaml", exitFailure, `did you mean "fog"?`},
		{"testbed check nowhere.yaml", exitFailure, "nowhere.yaml"},
		{"testbed run bad.yaml --out r", exitFailure, `bad.yaml:`},
		{"testbed run " + small + " --links wireless --out r --weftd " + self, exitFailure, "kernel or user"},
		{"testbed run " + small + " --weftd nowhere/weftd --out r", exitFailure, "make build"},
		{"testbed run " + small + " --within -1", exitUsage, "--within"},
		{"testbed run " + small + " --within 0.1 --no-sim", exitUsage, "--no-sim"},
		{"sim run " + small + " --out r", exitFailure, "costs"},
		{"sim run " + small + " --costs nowhere.yaml --out r", exitFailure, "nowhere.yaml"},
		{"sim run " + small + " --costs people.yaml --out r", exitFailure, "people.yaml:"},
		{"sim run " + small + " --repeat 0", exitUsage, "--repeat"},
		{"sim run " + small + " --load 0", exitUsage, "--load"},
		{"sim run " + small + " --cpu-scale 2", exitUsage, "--cpu-scale"},
		{"sim run " + filepath.Join(examples, "houmani-scaled.yaml") + " --cpu-scale 0.0001", exitFailure, "too little for slow cores; use at least 0.001"},
		{"sim run " + small + " --costs costs.yaml --out other", exitFailure, "other"},
		{"sim run", exitUsage, "usage"},
		{"testbed compare a b", exitFailure, "a"},
		{"testbed compare a b --within 0", exitUsage, "--within"},
		{"testbed chaos " + small + " --print", exitFailure, "the scenario does not serve for chaos"},
		{"testbed chaos " + chaotic + " --rounds 0", exitUsage, "--rounds"},
		{"testbed chaos " + chaotic + " --for -1s", exitUsage, "--for"},
		{"testbed chaos " + chaotic + " --gap 0s", exitUsage, "--gap"},
		{"testbed chaos " + chaotic + " --for 1h --print", exitUsage, "--print"},
		{"testbed chaos " + chaotic + " --only flood", exitUsage, "kill-leader"},
		{"testbed chaos " + chaotic + " --weftd nowhere/weftd --out r", exitFailure, "make build"},
		{"testbed chaos " + chaotic + " --weftd " + self + " --out other", exitFailure, "not a directory for the results of chaos"},
		{"testbed exec edge-1", exitUsage, "usage"},
		{"testbed exec --name no-such-testbed edge-1 -- true", exitFailure, "no such testbed: no-such-testbed"},
		{"testbed status no-such-testbed", exitFailure, "no such testbed"},
		{"testbed down no-such-testbed", exitFailure, "no such testbed"},
		{"testbed down Not_a_name", exitFailure, "lower-case"},
		{"testbed down x --all", exitUsage, "not both"},
		{"testbed upp", exitUsage, `did you mean up?`},
		{"testbed export mininet bad.yaml", exitFailure, "bad.yaml:"},
	} {
		c := weft(t, "", strings.Fields(x.args)...)
		if c.code != x.code || !strings.Contains(c.err, x.want) {
			t.Errorf("weft %s: code %d, want %d; it says\n%s\nwant %q", x.args, c.code, x.code, c.err, x.want)
		}
	}
	if _, err := os.Stat("r"); err == nil {
		t.Error("a run that could not begin has made its folder")
	}
	if mine, err := os.ReadFile("other/file"); err != nil || string(mine) != "mine" {
		t.Errorf("a folder of somebody else's was touched: %v", err)
	}
}

func TestExportMininet(t *testing.T) {
	t.Chdir(t.TempDir())
	small := filepath.Join(examples, "small.yaml")
	printed := weft(t, "", "testbed", "export", "mininet", small).want(t, exitOK, "")
	weft(t, "", "testbed", "export", "mininet", small, "--out", "small.py").want(t, exitOK, "")
	written, err := os.ReadFile("small.py")
	if err != nil || string(written) != printed.out || !strings.HasPrefix(printed.out, "#!") {
		t.Errorf("%v; printed\n%s", err, printed.out)
	}
}

func TestScenarioAsJSON(t *testing.T) {
	c := weft(t, "", "testbed", "check", filepath.Join(examples, "small.yaml"), "-o", "json").want(t, exitOK, "")
	var v map[string]any
	if err := json.Unmarshal([]byte(c.out), &v); err != nil {
		t.Error(err)
	}
}

// The same seed shows the same faults, of which more rounds only add to.
func TestChaosPrint(t *testing.T) {
	t.Chdir(t.TempDir())
	chaotic := filepath.Join(examples, "chaos.yaml")
	many := weft(t, "", "testbed", "chaos", chaotic, "--rounds", "20", "--seed", "4", "--print").want(t, exitOK, "")
	few := weft(t, "", "testbed", "chaos", chaotic, "--rounds", "5", "--seed", "4", "--print").want(t, exitOK, "")
	if !strings.HasPrefix(many.out, few.out) || strings.Count(few.out, "\n") != 5 || !strings.Contains(many.out, "kill-leader leader at ") {
		t.Errorf("20 rounds\n%s\n5 rounds\n%s", many.out, few.out)
	}
	if left, err := os.ReadDir("."); err != nil || len(left) > 0 {
		t.Errorf("--print has made %v, %v", left, err)
	}
}

// What adaptation chooses is as good as the best distribution, by running them
// all; and a single source is left alone.
func TestAdaptationExperiment(t *testing.T) {
	t.Chdir(t.TempDir())
	// In a quarter of the time, which under the race detector is long enough.
	scenario := shortened(t, "adaptation-coco.yaml", "warmup: 60s", "warmup: 20s", "duration: 2m", "duration: 25s")
	s := decode[experiment.ArmsSummary](t, weft(t, "", "testbed", "adaptation", scenario, "--repeat", "1", "--out", "a", "-o", "json").want(t, exitOK, ""))
	if len(s.Arms) != 12+2+3+4+2 || s.Ratio < 0.95 || !s.SingleUnchanged || s.MakespanReduction < 0.5 {
		t.Errorf("%+v", s)
	}
	if s.Floor == nil || !s.Floor.NewestRefused || s.Squeeze == nil || !s.Squeeze.Within {
		t.Errorf("floor %+v, squeeze %+v", s.Floor, s.Squeeze)
	}
	utility := map[string]float64{}
	for _, a := range s.Arms {
		utility[a.Name] = a.Utility
	}
	for _, name := range []string{"crowded with rate", "crowded with model", "crowded with rate and model"} {
		if utility[name] < utility["crowded"]+0.05 {
			t.Errorf("%s has a utility of %g, and without %g", name, utility[name], utility["crowded"])
		}
	}
	for _, file := range []string{"table.md", "raw.csv", "plot.png", "summary.json", "floor.csv", "floor.png", "squeeze.csv", "squeeze.png"} {
		if _, err := os.Stat(filepath.Join("a", file)); err != nil {
			t.Error(err)
		}
	}
	few := shortened(t, "adaptation-coco.yaml", "warmup: 60s", "warmup: 10s", "duration: 2m", "duration: 10s", "{name: cam, count: 11,", "{name: cam, count: 2,")
	weft(t, "", "testbed", "adaptation", few, "--repeat", "1", "--out", "a", "--at-least", "1.5").want(t, exitFailure, "adaptation falls short: it reaches ")

	// Of single arms only what they allow is compared.
	c := weft(t, "", "testbed", "adaptation", few, "--repeat", "1", "--out", "b", "--at-least", "1.5", "--only", "utility", "--only", "single").want(t, exitOK, "")
	if strings.Contains(c.out, "adapted by utility") {
		t.Errorf("it says\n%s", c.out)
	}
	if table := read(t, filepath.Join("b", "table.md")); !strings.Contains(table, "**utility**") || strings.Contains(table, "Best of the fixed") || strings.Contains(table, "A single source") {
		t.Errorf("the table says\n%s", table)
	}
	weft(t, "", "testbed", "adaptation", few, "--only", "utilty").want(t, exitUsage, `--only: there is no arm "utilty"; there are `)
	weft(t, "", "testbed", "adaptation", filepath.Join(examples, "people14.yaml")).want(t, exitFailure, "its sources cam-1 and gate-1 differ in resolution or rate; make them alike")
}

// A study is simulated, and what it misses is said; without what it names, nothing
// is run.
func TestStudy(t *testing.T) {
	t.Chdir(t.TempDir())
	shortened(t, "houmani-street.yaml", "warmup: 1m", "warmup: 20s", "duration: 20m", "duration: 20s", "count: 19,", "count: 12,")
	study := func(target string) string {
		return write(t, "study.yaml", `
apiVersion: weft/v1
kind: Study
metadata: {name: short}
spec:
  experiments: [{name: E1, adapt: off}, {name: E2, adapt: utility}]
  targets: [{experiment: E2, against: E1, makespan: `+target+`}]
  figures: [{name: figure-3, title: Makespan, shows: makespan, experiments: [E1, E2]}]
  runs: [{name: short, scenario: houmani-street.yaml, method: simulated}, {name: other, scenario: houmani-street.yaml, method: simulated}]
`)
	}
	s := decode[experiment.StudySummary](t, weft(t, "", "testbed", "study", study("-30%"), "--repeat", "2", "--only", "short", "--out", "a", "-o", "json").want(t, exitOK, ""))
	if len(s.Experiments) != 2 || s.Experiments[1].Name != "E2" || s.Experiments[1].Seeds != 2 || s.Experiments[1].Makespan > 0.7*s.Experiments[0].Makespan || s.Missed != 0 {
		t.Errorf("%+v", s)
	}
	for _, file := range []string{"report.md", "raw.csv", "summary.json", "figures/figure-3.svg", "figures/figure-3-short-simulated.png"} {
		if _, err := os.Stat(filepath.Join("a", file)); err != nil {
			t.Error(err)
		}
	}
	weft(t, "", "testbed", "study", study("-90%"), "--repeat", "1", "--only", "short", "--out", "a").want(t, exitFailure, "the study falls short: short, simulated: makespan of E2 against E1 −")
	weft(t, "", "testbed", "study", study("-90%"), "--only", "shirt").want(t, exitUsage, "--only shirt: there is no such run; there are short, other")
	weft(t, "", "testbed", "study", study("-90%"), "--emulated", "--out", "a").want(t, exitUsage, "wants none of these runs emulated")
	weft(t, "", "testbed", "study", study("half")).want(t, exitFailure, `study.yaml:7:53: spec.targets[0].makespan: "half": want by which share it may change`)
}

// shortened is one of the scenarios that ship, here, with pairs of texts
// replaced.
func shortened(t *testing.T, name string, pairs ...string) string {
	t.Helper()
	text := read(t, filepath.Join(examples, name))
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("no %q in %s", pairs[i], name)
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	for _, workflow := range []string{"people.yaml", "cameras.yaml", "cameras-coco.yaml", "cameras-small.yaml", "cameras-optimum.yaml", "houmani-cameras.yaml"} {
		write(t, workflow, read(t, filepath.Join(examples, workflow)))
	}
	return write(t, name, text)
}

// A sweep is simulated and judged; what no sweep can be made of is refused before
// anything runs.
func TestSweeps(t *testing.T) {
	t.Chdir(t.TempDir())
	short := func(pairs ...string) string {
		return shortened(t, "optimum.yaml", append([]string{"warmup: 60s", "warmup: 10s", "duration: 60s", "duration: 10s"}, pairs...)...)
	}
	s := decode[experiment.SweepsSummary](t, weft(t, "", "testbed", "sweeps", short(), "--only", "sources", "--values", "1,2", "--repeat", "1", "--at-least", "0.1", "--out", "a", "-o", "json").want(t, exitOK, ""))
	if len(s.Sweeps) != 1 || len(s.Sweeps[0].Points) != 2 || s.Sweeps[0].Points[1].Value != 2 || s.Worst == nil {
		t.Errorf("%+v", s)
	}
	for _, file := range []string{"sweeps.md", "sweeps.json", "raw.csv"} {
		if _, err := os.Stat(filepath.Join("a", file)); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []struct {
		edit []string
		args []string
		exit int
		says string
	}{
		{nil, []string{"--only", "optimum"}, exitUsage, "--only optimum needs a small scenario: --optimum FILE"},
		{nil, []string{"--only", "colour"}, exitUsage, `there is no sweep "colour"; use sources, fog-cloud`},
		{nil, []string{"--values", "1,2"}, exitUsage, "--values needs --only with one parameter"},
		{nil, []string{"--only", "sources", "--values", "1,two"}, exitUsage, `--values: "two" is no number`},
		{nil, []string{"--only", "sources", "--values", "0"}, exitFailure, "0 sources; use a whole number from 1 to 1000"},
		{[]string{"  network:\n", "  network:\n    links: [{between: [fog-1, cloud-1], rate: 1Mbit}]\n"}, []string{"--only", "fog-cloud"}, exitFailure, "leave network.links out"},
		{[]string{"  sources:\n", "  sources:\n    - {name: other, uri: \"street:?seed=7&fps=5\", on: edge, fps: 5, resolution: 416}\n"}, []string{"--only", "theta"}, exitFailure, "give all the same resolution"},
	} {
		weft(t, "", append([]string{"testbed", "sweeps", short(c.edit...), "--out", "b"}, c.args...)...).want(t, c.exit, c.says)
	}
	if _, err := os.Stat("b"); err == nil {
		t.Error("what is refused leaves a folder")
	}
}
