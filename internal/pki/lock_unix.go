//go:build unix

package pki

import (
	"errors"
	"os"
	"syscall"
)

// lockFile waits until nobody else has the lock, which ends with the file or
// the process.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); {
		case err == nil:
			return f, nil
		case !errors.Is(err, syscall.EINTR):
			return nil, errors.Join(&os.PathError{Op: "lock", Path: path, Err: err}, f.Close())
		}
	}
}
