package emulation

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// clockEnv names the file of a clock's offset to a weftd that was built by
// scripts/chaos-weftd; others do not look at it.
const clockEnv = "WEFT_CLOCK"

func (n *node) clock() string { return filepath.Join(n.state.Dir, "clock") }

// makeClock lets a node's clock run right.
func (n *node) makeClock() error {
	if err := os.WriteFile(n.clock(), make([]byte, 8), 0o600); err != nil {
		return fmt.Errorf("clock of node %s: %w", n.spec.Name, err)
	}
	return nil
}

// SetClock has the wall clock of a node's weftd be off by so many seconds from
// now on, also when it starts again. It takes a weftd built for it: see
// scripts/chaos-weftd.
func (t *Testbed) SetClock(node string, off time.Duration) error {
	n, err := t.node(node)
	if err != nil {
		return err
	}
	// In place: weftd has it mapped.
	f, err := os.OpenFile(n.clock(), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("set the clock of node %s: %w", node, err)
	}
	defer f.Close()
	if _, err := f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(int64(off/time.Second))), 0); err != nil {
		return fmt.Errorf("set the clock of node %s: %w", node, err)
	}
	return nil
}
