package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/weft-mesh/weft/testbed/emulation/ns"
)

// roleVariable makes this program one of its own helpers, which are processes
// so that they can be killed or live in a network namespace.
const roleVariable = "WEFT_BENCH_ROLE"

// helper is such a process. It ends when its standard input does, and therefore
// with this process, however that ends.
type helper struct {
	cmd    *exec.Cmd
	input  io.Closer
	orders *json.Encoder
	words  *json.Decoder
}

// startHelper starts a helper, in a network namespace where one is named. It is
// killed when ctx ends.
func startHelper(ctx context.Context, role, space string, args ...string) (*helper, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	start := cmd.Start
	if space != "" {
		start = func() error { return ns.Do(space, cmd.Start) }
	}
	if err := start(); err != nil {
		return nil, err
	}
	return &helper{cmd, in, json.NewEncoder(in), json.NewDecoder(out)}, nil
}

// ask gives an order and waits for the answer.
func (h *helper) ask(ctx context.Context, order, to any) error {
	err := h.orders.Encode(order)
	if err == nil {
		err = h.words.Decode(to)
	}
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx) // it has been killed
	}
	return err
}

// end has the helper end by itself.
func (h *helper) end() error { return errors.Join(h.input.Close(), h.cmd.Wait()) }

// play is a helper's life.
func play(ctx context.Context, role string, args []string) error {
	switch {
	case role == "member" && len(args) == 3:
		return playMember(ctx, args[0], args[1], args[2])
	case role == "receiver" && len(args) == 2:
		return playReceiver(ctx, args[0], args[1])
	case role == "sender" && len(args) == 2:
		return playSender(ctx, args[0], args[1])
	}
	return fmt.Errorf("no role %q with %d arguments", role, len(args))
}

// answer writes one value for a helper's words.
func answer(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }
