// Package layers holds the test of which package may import which. The rule
// is the project's map: imports only go down.
package layers

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/weft-mesh/weft/"

// level is a package's place on the map: it may import packages of its own
// level only where the map says so (below), and of every lower one.
var level = map[string]int{
	"internal/dnslabel":            0,
	"internal/lobby":               0,
	"internal/logtest":             0, // of tests only
	"internal/password":            0,
	"internal/pki":                 0,
	"internal/pki/pkitest":         0, // of tests only
	"internal/quantity":            0,
	"internal/terminal":            0,
	"internal/yamlfile":            0,
	"internal/yamlfile/schematest": 0, // of tests only
	"internal/upgradetest":         0, // of tests only
	"tiering":                      0,
	"models/catalog":               0,
	"models/darknet":               0,
	"models/street":                0,
	"models/profile":               0,
	"models/street/detector":       0, // its files

	"models/store":      1, // a directory; it opens no sockets
	"tiering/workflow":  1,
	"pipeline":          1,
	"tiering/sourceuri": 1,
	"pipeline/gallery":  1,
	"pipeline/linktest": 1,
	"coordinator/state": 1,
	"coordinator/kpi":   1,

	"adaptation/filter":      1,
	"adaptation/quality":     1,
	"adaptation/survey":      1,
	"models/dataset":         1,
	"models/score":           1,
	"models/eval":            1,
	"models/profile/bench":   1,
	"models/score/scoreplot": 1,

	"coordinator/planner":  1,
	"coordinator/adapter":  1,
	"testbed":              1,
	"testbed/baseline":     1,
	"testbed/mininet":      1,
	"testbed/study":        1,
	"testbed/sim/des":      1,
	"testbed/emulation/ns": 1, // names and enters namespaces, and opens nothing in them

	"models/fetch":         2,
	"agent/gossip":         2,
	"agent/journal":        2,
	"agent/library":        3,
	"agent/profiler":       2,
	"agent/machine":        2,
	"coordinator":          2,
	"pipeline/mqtt":        2,
	"pipeline/mqtt/broker": 2,
	"pipeline/quic":        2,
	"pipeline/source":      2,
	"pipeline/vision":      2,

	"agent":                  3,
	"coordinator/api/server": 3,
	"coordinator/api":        2, // the client; it knows no Raft

	"testbed/sim":              2,
	"testbed/emulation/cgroup": 2,
	"testbed/emulation/kernel": 2,
	"testbed/emulation/probe":  2,
	"testbed/emulation/relay":  2,
	"testbed/emulation":        3,
	"testbed/chaos":            3,
	"testbed/experiment":       3,
	"testbed/experiment/live":  3,

	"cmd/weft":              4,
	"cmd/weftd":             4,
	"models/street/dataset": 4, // a tool of whoever trains the detector
	"scripts/bench":         4, // compares the others with what they stand on
}

// heavy are the dependencies that only some packages may reach, even through
// others, and why.
var heavy = []struct {
	dep, why string
	allowed  []string
}{
	{"gocv.io/x/gocv", "OpenCV stays inside vision and source; the weft command installs without it",
		[]string{"pipeline/vision", "pipeline/source", "cmd/weftd", "scripts/bench"}},
	{"github.com/hashicorp/raft", "only the coordinator knows Raft",
		[]string{"coordinator", "coordinator/api/server", "cmd/weftd", "scripts/bench"}},
	{"github.com/hashicorp/serf/serf", "only gossip knows Serf",
		[]string{"agent/gossip", "cmd/weftd", "scripts/bench"}},
	{"github.com/quic-go/quic-go", "only the QUIC link knows QUIC",
		[]string{"pipeline/quic", "cmd/weftd", "scripts/bench"}},
	{"github.com/eclipse/paho.mqtt.golang", "only the MQTT link knows MQTT",
		[]string{"pipeline/mqtt", "cmd/weftd"}},
	{"github.com/pion/mediadevices", "only sources know cameras",
		[]string{"pipeline/source", "cmd/weftd"}},
	{"net/http", "pure packages open no sockets",
		[]string{"agent", "agent/gossip", "agent/library", "agent/machine", "coordinator", "coordinator/api", "coordinator/api/server", "pipeline/gallery", "pipeline/mqtt", "pipeline/mqtt/broker",
			"models/fetch", "pipeline/quic", "pipeline/source", "pipeline/vision", "testbed/chaos", "testbed/experiment/live", "testbed/emulation", "testbed/emulation/cgroup", "cmd/weft", "cmd/weftd", "scripts/bench"}},
	{"github.com/vishvananda/netlink", "only the emulation changes the machine's network",
		[]string{"testbed/emulation", "testbed/emulation/kernel", "testbed/emulation/relay", "cmd/weft", "scripts/bench"}},
	{"github.com/containerd/cgroups/v3", "only the emulation makes cgroups",
		[]string{"testbed/emulation", "testbed/emulation/cgroup", "cmd/weft"}},
	{"google.golang.org/grpc", "it is what links are compared with",
		[]string{"scripts/bench"}},
	{"gonum.org/v1/plot", "only results are drawn",
		[]string{"models/score/scoreplot", "testbed/chaos", "testbed/experiment", "cmd/weft", "cmd/weftd"}},
}

// apart are packages that must not reach each other, whatever their level.
var apart = [][2]string{{"agent", "coordinator"}, {"coordinator", "agent"}, {"coordinator/api/server", "agent"}}

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

// list describes every package of the module as the go command sees it.
func list(t *testing.T) map[string]pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", "-json=ImportPath,Imports,Deps", module+"...").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	pkgs := map[string]pkg{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		if name, ours := strings.CutPrefix(p.ImportPath, module); ours {
			pkgs[name] = p
		}
	}
}

func TestImportsOnlyGoDown(t *testing.T) {
	pkgs := list(t)
	if len(pkgs) < len(level)-1 {
		t.Fatalf("go list saw only %d packages", len(pkgs))
	}
	for name, p := range pkgs {
		if name == "internal/layers" {
			continue
		}
		own, known := level[name]
		if !known {
			t.Errorf("%s is not on the map: give it a level here, and in the README's table", name)
			continue
		}
		for _, imp := range p.Imports {
			dep, ours := strings.CutPrefix(imp, module)
			if !ours {
				continue
			}
			switch l := level[dep]; {
			case l > own:
				t.Errorf("%s (level %d) imports %s (level %d): imports only go down", name, own, dep, l)
			case l == own && own >= 2:
				t.Errorf("%s imports %s: packages of level %d do not know each other", name, dep, own)
			}
		}
	}
}

func TestHeavyDependenciesStayWhereTheyBelong(t *testing.T) {
	for name, p := range list(t) {
		for _, h := range heavy {
			if slices.Contains(p.Deps, h.dep) && !slices.Contains(h.allowed, name) {
				t.Errorf("%s reaches %s: %s", name, h.dep, h.why)
			}
		}
	}
}

func TestAgentAndCoordinatorDoNotKnowEachOther(t *testing.T) {
	pkgs := list(t)
	for _, a := range apart {
		if slices.Contains(pkgs[a[0]].Deps, module+a[1]) {
			t.Errorf("%s reaches %s", a[0], a[1])
		}
	}
}

func TestPurePackagesUseNoC(t *testing.T) {
	for name, p := range list(t) {
		if level[name] <= 1 && slices.Contains(p.Deps, "runtime/cgo") && !slices.Contains(p.Deps, "net") {
			t.Errorf("%s (level %d) uses cgo", name, level[name])
		}
	}
}
