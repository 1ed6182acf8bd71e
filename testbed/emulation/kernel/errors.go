package kernel

import "errors"

// Errors to match with errors.Is.
var (
	// ErrUnsupported reports a kernel that lacks something; the message names
	// it.
	ErrUnsupported = errors.New("this kernel cannot emulate the links")
	// ErrClosed reports a network that was taken down.
	ErrClosed = errors.New("network is closed")
	// ErrUnknown reports a node that is not attached.
	ErrUnknown = errors.New("node is not attached to the network")
	// ErrAttached reports a node, or its address, that is attached already.
	ErrAttached = errors.New("already attached to the network")
)
