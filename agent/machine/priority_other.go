//go:build !linux

package machine

// GiveWay does nothing here: threads have no priority of their own.
func GiveWay() error { return nil }
