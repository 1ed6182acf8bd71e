//go:build !unix

package pki

import "os"

// lockFile cannot lock here: commands that change an authority are to be given
// one after the other.
func lockFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
}
