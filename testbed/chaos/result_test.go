package chaos

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func verdict(n int, recovery time.Duration, violations ...Violation) *Verdict {
	v := &Verdict{
		Round:   Round{Number: n, Faults: []Fault{{Kind: Pause, Target: "fog-1", At: 2 * time.Second, For: 20 * time.Second}}},
		Targets: []string{"fog-1"}, Gap: 3 * time.Second, Violations: violations, Record: "rounds/001.jsonl",
	}
	if recovery > 0 {
		v.Recovery, v.Whole = &recovery, &recovery
	}
	return v
}

func TestSummaryHasItsKeys(t *testing.T) {
	r := &Result{About: About{Seed: 9}, Plant: plant(), Control: &Verdict{Gap: 400 * time.Millisecond}, Verdicts: []*Verdict{
		verdict(1, time.Second), verdict(2, 4*time.Second), verdict(3, 3*time.Second),
		verdict(4, 0, Violation{Recovers, time.Minute, "not well | ever\nagain"}, Violation{Once, time.Minute, "twice"}),
	}}
	r.Verdicts[3].Waited = time.Minute
	r.Verdicts[3].Lost, r.Verdicts[3].Duplicates = []string{"people"}, []string{"a", "b"}
	for _, u := range []int{0, 10, 20} {
		r.usage = append(r.usage, Usage{At: time.Duration(u) * time.Second, Node: "fog-1", PID: 1 + u/20, Of: map[Resource]float64{Memory: 100}})
	}
	r.Trends = Trends(r.usage)
	dir := t.TempDir()
	if err := r.write(dir); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "summary.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]float64{
		"rounds": 4, "failures": 1, "recovery_s_p50": 3.5, "recovery_s_max": 60, "lost_workflows": 1, "duplicate_tasks": 2, "seed": 9,
	} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "report.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# Chaos: 4 rounds, 1 failed", "| 2 | pause | fog-1 |  | 2.0 s | 20.0 s | 4.0 s | 4.0 s | 3.00 s |", "| 4 | pause | fog-1 |  | 2.0 s | 20.0 s | never | never |",
		"- **recovery** at 60.0 s: not well | ever again", "`rounds/001.jsonl`", "recovery.svg", "soak-memory_mib.svg", "too short to say",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the report does not say %q:\n%s", want, text)
		}
	}
	for _, name := range []string{"recovery.png", "recovery.svg", "soak-goroutines.png"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A run that never got to a round has a report, too.
func TestResultOfNothing(t *testing.T) {
	if err := (&Result{}).write(t.TempDir()); err != nil {
		t.Error(err)
	}
}

func TestClear(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "down")
	if err := Clear(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"rounds/001.jsonl", "report.md", "recovery.svg"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Clear(dir); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*", "*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "report.md")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the report of an earlier run: %v", err)
	}
	for _, name := range []string{"thesis.tex", "holiday.png"} {
		mine := filepath.Join(dir, name)
		if err := os.WriteFile(mine, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Clear(dir); !errors.Is(err, ErrFolder) || !strings.Contains(err.Error(), name) {
			t.Errorf("a directory of somebody else's: %v", err)
		}
		if err := os.Remove(mine); err != nil {
			t.Error(err)
		}
	}
}
