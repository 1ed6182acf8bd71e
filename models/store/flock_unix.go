//go:build unix

package store

import (
	"errors"
	"os"
	"syscall"
)

// lockDir waits until no other process has the directory.
func lockDir(path string) (unlock func(), err error) {
	d, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	for {
		switch err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX); {
		case err == nil:
			return func() { _ = d.Close() }, nil
		case !errors.Is(err, syscall.EINTR):
			return nil, errors.Join(&os.PathError{Op: "lock", Path: path, Err: err}, d.Close())
		}
	}
}

// claim takes a file for this process, until it is closed.
func claim(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrInUse
	}
	return err
}
