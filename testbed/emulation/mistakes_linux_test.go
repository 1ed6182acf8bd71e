package emulation

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/emulation/ns"
)

func TestMistakes(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*Config, *testbed.Scenario)
		want string
	}{
		"name":         {func(c *Config, _ *testbed.Scenario) { c.Name = "Big Farm" }, `name "Big Farm": use 1 to 24 lower-case letters`},
		"long name":    {func(c *Config, _ *testbed.Scenario) { c.Name = strings.Repeat("a", 25) }, "use 1 to 24"},
		"directory":    {func(c *Config, _ *testbed.Scenario) { c.Dir = "" }, "no directory"},
		"shaping":      {func(c *Config, _ *testbed.Scenario) { c.Shaping = "magic" }, `shaping "magic": use auto, kernel or user`},
		"scale":        {func(c *Config, _ *testbed.Scenario) { c.CPUScale = -1 }, "CPU scale -1: use a factor above 0 and at most 1"},
		"slow cores":   {func(c *Config, s *testbed.Scenario) { c.CPUScale, s.SlowCores = 0.0001, true }, "CPU scale 0.0001: slow cores need at least 0.001"},
		"no nodes":     {func(_ *Config, s *testbed.Scenario) { s.Nodes = nil }, "0 nodes: use 1 to 200"},
		"coordinators": {func(_ *Config, s *testbed.Scenario) { s.Nodes[0].Coordinator = true }, "2 coordinators: use an odd number"},
		"twins":        {func(_ *Config, s *testbed.Scenario) { s.Nodes[0].Name = "fog-1" }, "two nodes are called fog-1"},
		"node name":    {func(_ *Config, s *testbed.Scenario) { s.Nodes[0].Name = "a.b" }, `node name "a.b"`},
		"no cores":     {func(_ *Config, s *testbed.Scenario) { s.Nodes[0].Cores = 0 }, "node edge-1: 0 thousandths of a core"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, s := Config{Name: "x", Dir: "x", Log: slog.New(slog.DiscardHandler)}, small()
			c.edit(&cfg, s)
			if err := cfg.withDefaults(s).check(s); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want …%s", err, c.want)
			}
		})
	}
	s := small()
	if err := (Config{Name: "x", Dir: "x", Log: slog.New(slog.DiscardHandler)}).withDefaults(s).check(s); err != nil {
		t.Errorf("nothing wrong: %v", err)
	}
}

func TestMissing(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "weftd")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for weftd, want := range map[string]string{
		"":                           "- no weftd is named: build it with `make build`",
		plain + "-that-is-not-there": "no such file or directory: build it with `make build`",
		plain:                        "- weftd: " + plain + " is not a program",
	} {
		if err := Missing(Config{Weftd: weftd, Shaping: User}); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), want) {
			t.Errorf("weftd %q: %v, want …%s", weftd, err, want)
		}
	}
}

func TestWithoutRoot(t *testing.T) {
	var err, down error
	_ = ns.Thread(func() error {
		if os.Geteuid() == 0 {
			// Of this thread alone, which ends.
			if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), 65534, ^uintptr(0)); e != 0 {
				err = e
				return nil
			}
		}
		err = Missing(Config{Weftd: os.Args[0]})
		down = Place{Run: "/nowhere"}.Down(t.Context(), "x")
		return nil
	})
	if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "- you are not root, who alone makes network namespaces and cgroups: use `sudo weft testbed …`") {
		t.Errorf("without root: %v", err)
	}
	if !errors.Is(down, ErrMissing) || !strings.Contains(down.Error(), "use `sudo weft testbed down`") {
		t.Errorf("down without root: %v", down)
	}
}
