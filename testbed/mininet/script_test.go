package mininet_test

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/testbed/mininet"
	"github.com/weft-mesh/weft/tiering"
)

var update = flag.Bool("update", false, "write the golden files anew")

const examples = "../../examples/testbed/"

func script(t *testing.T, file string) []byte {
	t.Helper()
	s, err := testbed.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	b, err := mininet.Script(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGolden(t *testing.T) {
	for name, file := range map[string]string{"houmani": examples + "houmani.yaml", "links": "testdata/links.yaml"} {
		got, golden := script(t, file), "testdata/"+name+".py"
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s: got\n%s\nwant %s (-update writes it anew)", file, got, golden)
		}
	}
}

func TestNotJoined(t *testing.T) {
	s := &testbed.Scenario{Nodes: []testbed.Node{{Name: "a", Tier: tiering.Edge}, {Name: "b", Tier: tiering.Fog}}}
	if _, err := mininet.Script(s); !errors.Is(err, mininet.ErrNotJoined) || !strings.Contains(err.Error(), "a and b") {
		t.Errorf("got %v", err)
	}
}

// Every script is Python.
func TestCompile(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 to compile the scripts with")
	}
	for _, file := range []string{examples + "small.yaml", examples + "houmani.yaml", "testdata/links.yaml"} {
		path := filepath.Join(t.TempDir(), "script.py")
		if err := os.WriteFile(path, script(t, file), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(python, "-m", "py_compile", path).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
}

// Mininet itself takes the script: without delays, which need the kernel's
// netem, every host answers every other.
func TestMininet(t *testing.T) {
	if os.Getenv("WEFT_TEST_MININET") == "" {
		t.Skip("Mininet raises limits of the whole machine (sysctl), so it is started only where WEFT_TEST_MININET=1 asks for it")
	}
	if os.Geteuid() != 0 {
		t.Skip("Mininet needs root")
	}
	if err := exec.Command("/usr/bin/python3", "-c", "import mininet.net").Run(); err != nil {
		t.Skipf("no Mininet for /usr/bin/python3 (Debian: apt install mininet): %v", err)
	}
	if _, err := exec.LookPath("ping"); err != nil {
		t.Skip("no ping (Debian: apt install iputils-ping)")
	}
	s, err := testbed.Load(examples + "small.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Network.Tiers {
		l := &s.Network.Tiers[i].Link
		l.Delay, l.Jitter = 0, 0
	}
	b, err := mininet.Script(s)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "script.py")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", path, "--test")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it cleans up
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "*** 12 of 12 pairs answer") {
		t.Fatalf("%v\n%s", err, out)
	}
}
