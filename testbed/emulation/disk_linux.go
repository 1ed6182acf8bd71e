package emulation

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// dataDir is where a node's weftd keeps its data, below the node's directory.
const dataDir = "data"

// fillFile is what Fill writes.
const fillFile = "filled-by-testbed"

// mountDisk gives a node's data a small disk of its own. The name of its device
// is that of the namespace, by which it is found when there is no record.
func (t *Testbed) mountDisk(n *node) error {
	if t.cfg.DataDisk == 0 {
		return nil
	}
	at := filepath.Join(n.state.Dir, dataDir)
	if err := os.MkdirAll(at, 0o755); err != nil {
		return fmt.Errorf("disk of node %s: %w", n.spec.Name, err)
	}
	options := fmt.Sprintf("size=%d,mode=0755", t.cfg.DataDisk)
	if err := unix.Mount(n.state.Namespace, at, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, options); err != nil {
		return fmt.Errorf("mount a disk for node %s on %s: %w", n.spec.Name, at, err)
	}
	return nil
}

// Fill leaves no byte free on the disk of a node's data. Without
// [Config.DataDisk] the error is ErrState: the disk would be this machine's.
func (t *Testbed) Fill(node string) error {
	n, err := t.node(node)
	if err != nil {
		return err
	}
	if t.cfg.DataDisk == 0 {
		return fmt.Errorf("%w: %s has no disk of its own that could be filled", ErrState, node)
	}
	f, err := os.OpenFile(filepath.Join(n.state.Dir, dataDir, fillFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("fill the disk of node %s: %w", node, err)
	}
	block := make([]byte, 1<<16)
	for len(block) > 0 {
		if _, err = f.Write(block); err != nil {
			block = block[:len(block)/2] // what is left is less than a block
		}
		if err != nil && !errors.Is(err, unix.ENOSPC) {
			return errors.Join(fmt.Errorf("fill the disk of node %s: %w", node, err), f.Close())
		}
	}
	return f.Close()
}

// Free undoes Fill.
func (t *Testbed) Free(node string) error {
	n, err := t.node(node)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(n.state.Dir, dataDir, fillFile)); err != nil {
		return fmt.Errorf("free the disk of node %s: %w", node, err)
	}
	return nil
}

// disk is a mounted disk of a node.
type disk struct{ device, at string }

// disks lists those whose device begins with prefix, the newest first.
func disks(prefix string) ([]disk, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list disks: %w", err)
	}
	defer f.Close()
	var out []disk
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// proc_pid_mountinfo(5): … root, mount point, options, any number of
		// fields, "-", type, device.
		before, after, ok := strings.Cut(lines.Text(), " - ")
		mount, tail := strings.Fields(before), strings.Fields(after)
		if !ok || len(mount) < 5 || len(tail) < 2 || tail[0] != "tmpfs" || !strings.HasPrefix(tail[1], prefix) {
			continue
		}
		out = append(out, disk{tail[1], unescape.Replace(mount[4])})
	}
	slices.Reverse(out)
	return out, lines.Err()
}

// unescape undoes the kernel's writing of what would part fields.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// unmountDisks takes the disks of a testbed's nodes away, with what is on them.
func (p Place) unmountDisks(name string) error {
	all, err := disks(p.namespace(name, ""))
	errs := []error{err}
	for _, d := range all {
		// Who still has a file open on it must not keep it.
		if err := unix.Unmount(d.at, unix.MNT_DETACH); err != nil {
			errs = append(errs, fmt.Errorf("unmount %s: %w", d.at, err))
		}
	}
	return errors.Join(errs...)
}
