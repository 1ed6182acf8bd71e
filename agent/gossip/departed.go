package gossip

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/serf/serf"
)

// Encrypted gossip can be recorded and sent again. memberlist tells old news
// by their number, but half a minute after a node has left it forgets the
// node, and takes its recorded join for a new one. So every run of a node
// carries a name of its own, and a run that has left does not come back.

// maxRuns is how many runs of one node are remembered.
const maxRuns = 32

// newRun names this run.
func newRun() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// departed are the runs that have left, by node.
type departed struct {
	mu   sync.Mutex
	runs map[string][]string
}

func (d *departed) left(m serf.Member) {
	run := m.Tags[tagRun]
	d.mu.Lock()
	defer d.mu.Unlock()
	if run == "" || slices.Contains(d.runs[m.Name], run) {
		return
	}
	if d.runs == nil {
		d.runs = map[string][]string{}
	}
	known := append(d.runs[m.Name], run)
	d.runs[m.Name] = known[max(len(known)-maxRuns, 0):]
}

// back is an error if the member is a run that has left.
func (d *departed) back(m *serf.Member) error {
	run := m.Tags[tagRun]
	d.mu.Lock()
	defer d.mu.Unlock()
	if run != "" && slices.Contains(d.runs[m.Name], run) {
		return fmt.Errorf("%w: %s has left; this is old news, or a recording", ErrDeparted, m.Name)
	}
	return nil
}
