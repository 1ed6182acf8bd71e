//go:build unix

package main

import "syscall"

// newSession has a process outlive the terminal that it was started from.
func newSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
