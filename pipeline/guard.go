package pipeline

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// panicError is a panic of a stage or a source, which costs a frame or an
// attempt and not the daemon.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// guard makes an error of a panic in fn.
func guard(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p, debug.Stack()}
		}
	}()
	return fn()
}

// errorArgs are the attributes by which err is logged: a panic's with its
// stack.
func errorArgs(err error) []any {
	args := []any{"error", err}
	if p, ok := errors.AsType[*panicError](err); ok {
		args = append(args, "stack", string(p.stack))
	}
	return args
}
