package emulation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/weft-mesh/weft/internal/dnslabel"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
)

// Where every weftd is found on its node: the API, where it is a coordinator,
// and on the node itself its metrics.
const (
	APIPort     = "7949"
	HTTPAddress = "127.0.0.1:" + httpPort
	httpPort    = "7950"
)

// The conditions that this package reports.
var (
	ErrUnsupported = errors.New("the emulation needs Linux: `weft sim` runs the same scenario anywhere")
	ErrConfig      = errors.New("invalid testbed")
	ErrMissing     = errors.New("this machine lacks what the emulation needs")
	ErrHeld        = errors.New("the testbed is up already")
	ErrLeftover    = errors.New("something is left of an earlier testbed of this name")
	ErrNotFound    = errors.New("no such testbed")
	ErrNode        = errors.New("no such node")
	ErrState       = errors.New("the node is not in a state for this")
)

// Shaping is how links are emulated.
type Shaping string

// The ways to emulate links.
const (
	Auto   Shaping = "auto"   // Kernel where it has netem, else User
	Kernel Shaping = "kernel" // veth, a bridge and netem
	User   Shaping = "user"   // TUN devices, and packets held back by this process
)

// Config of a Testbed.
type Config struct {
	// Name is the testbed's, unique on this machine: 1 to 24 lower-case
	// letters, digits and hyphens. It is the mesh's name, too.
	Name string
	// Dir is where configurations, keys, data and logs are kept. It must not
	// hold those of an earlier testbed.
	Dir string
	// Weftd is the program that every node runs.
	Weftd   string
	Shaping Shaping // empty: Auto
	// CPUScale times its cores, and the scenario's CPUOverhead, is a node's quota; 0: the
	// scenario's.
	CPUScale float64
	// DataDisk is the size in bytes of a disk of its own for each node's data,
	// which Fill can fill; 0: its data is on this machine's disk. It is kept in
	// memory and is lost with the testbed.
	DataDisk int64
	Version  string // of weft, for the record
	Log      *slog.Logger
	// Progress is told how much of a step of Run is done. It must not call the
	// testbed's methods. May be nil.
	Progress func(what string, done, total int)
	// Linked is called when the links are up and no node runs yet: the time for
	// Check. Its error ends Run. May be nil.
	Linked func(ctx context.Context, t *Testbed) error
	Place  Place // where testbeds are kept track of
}

// maxName leaves room for the names of namespaces, files of at most 255 bytes,
// and for people to type it.
const maxName = 24

func validName(name string) error {
	if len(name) > maxName || !dnslabel.Valid(name) {
		return fmt.Errorf("%w: name %q: use 1 to %d lower-case letters, digits and hyphens", ErrConfig, name, maxName)
	}
	return nil
}

// maxNodes is how many the addresses are for.
const maxNodes = 200

// withDefaults fills in what may be left out.
func (c Config) withDefaults(s *testbed.Scenario) Config {
	c.Shaping = cmp.Or(c.Shaping, Auto)
	c.CPUScale = cmp.Or(c.CPUScale, s.CPUScale, 1)
	if c.Progress == nil {
		c.Progress = func(string, int, int) {}
	}
	c.Place = c.Place.withDefaults()
	return c
}

// check reports every mistake that can be seen without looking at the machine.
func (c Config) check(s *testbed.Scenario) error {
	errs := []error{validName(c.Name)}
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...))
	}
	if c.Dir == "" {
		bad("no directory")
	}
	if c.Log == nil {
		bad("no log")
	}
	switch c.Shaping {
	case Auto, Kernel, User:
	default:
		bad("shaping %q: use %s, %s or %s", c.Shaping, Auto, Kernel, User)
	}
	if !(c.CPUScale > 0 && c.CPUScale <= 1) {
		bad("CPU scale %g: use a factor above 0 and at most 1", c.CPUScale)
	} else if s.CoreSpeed(c.CPUScale) < pipeline.LeastSpeed {
		bad("CPU scale %g: slow cores need at least %g", c.CPUScale, pipeline.LeastSpeed)
	}
	if c.DataDisk < 0 {
		bad("a disk of %d bytes for each node", c.DataDisk)
	}
	if n := len(s.Nodes); n == 0 || n > maxNodes {
		bad("%d nodes: use 1 to %d", n, maxNodes)
	}
	coordinators := 0
	seen := map[string]bool{}
	for _, n := range s.Nodes {
		if n.Coordinator {
			coordinators++
		}
		if seen[n.Name] {
			bad("two nodes are called %s", n.Name)
		}
		seen[n.Name] = true
		if !dnslabel.Valid(n.Name) {
			bad("node name %q: use 1 to 63 lower-case letters, digits and hyphens", n.Name)
		}
		if n.Cores <= 0 || n.Memory <= 0 {
			bad("node %s: %d thousandths of a core and %d bytes of memory: both must be positive", n.Name, n.Cores, n.Memory)
		}
	}
	if coordinators%2 == 0 {
		bad("%d coordinators: use an odd number, so that a majority survives a partition", coordinators)
	}
	return errors.Join(errs...)
}

// LinkState is one direction between two nodes.
type LinkState struct {
	From, To string
	Link     testbed.Link
	Pass     bool // false: no packet passes
	Counters LinkCounters
}

// LinkCounters are packets of one direction since the testbed came up.
type LinkCounters struct {
	Packets, Bytes uint64 // delivered; bytes of IP, headers included
	UnderWay       uint64 // waiting for the rate, or delayed
	// Dropped, by reason.
	Queue uint64 // too many waited for the rate
	Loss  uint64 // by the link's loss
	Cut   uint64 // the link did not pass
	Other uint64 // the emulation could not keep up
}

// few lists some of many, for messages.
func few(items []string) string {
	const most = 4
	if len(items) <= most {
		return strings.Join(items, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(items[:most], ", "), len(items)-most)
}
