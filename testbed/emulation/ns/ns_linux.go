package ns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// dir is where ip-netns(8) keeps named namespaces.
const dir = "/run/netns"

// ErrExists reports a namespace of that name that is there already.
var ErrExists = errors.New("network namespace exists")

// Create makes an empty namespace, with its loopback device down.
func Create(name string) error {
	if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
		return fmt.Errorf("%w: %s", ErrExists, name)
	}
	return Thread(func() error {
		h, err := netns.NewNamed(name)
		if err != nil {
			return fmt.Errorf("make network namespace %s: %w", name, err)
		}
		return h.Close()
	})
}

// Delete removes the name; the namespace goes when no process is in it. One
// that is not there is no error.
func Delete(name string) error {
	err := netns.DeleteNamed(name)
	if errors.Is(err, unix.EINVAL) { // not mounted: whoever made it was killed halfway
		err = os.Remove(Path(name))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove network namespace %s: %w", name, err)
	}
	return nil
}

// Do runs fn on a thread that is in the namespace: sockets and devices that it
// makes belong there, also afterwards and on other threads. fn must not start
// goroutines that are to be in the namespace.
func Do(name string, fn func() error) error {
	return Thread(func() error {
		if err := Enter(name); err != nil {
			return err
		}
		return fn()
	})
}

// Enter takes the calling thread into the namespace, for good: it must be one
// of Thread's.
func Enter(name string) error {
	h, err := netns.GetFromName(name)
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", name, err)
	}
	defer h.Close()
	if err := netns.Set(h); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", name, err)
	}
	return nil
}

// Thread runs fn on a thread of its own, which ends with it: whatever namespace
// it is left in, nothing else ever runs on it.
func Thread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The main thread ends with the process only, and the process would
			// be seen in its namespace. Held here, it cannot be had again.
			defer runtime.UnlockOSThread()
			done <- Thread(fn)
			return
		}
		done <- fn() // never unlocked: the thread ends with the goroutine
	}()
	return <-done
}

// List returns the names that start with prefix.
func List(prefix string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list network namespaces: %w", err)
	}
	var out []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// Path is the file that names the namespace, for nsenter(1).
func Path(name string) string { return filepath.Join(dir, name) }
