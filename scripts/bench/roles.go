package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/weft-mesh/weft/testbed/emulation/ns"
)

// roleVariable makes this program one of its own helpers, which are processes
// so that they can be killed or live in a network namespace.
const roleVariable = "WEFT_BENCH_ROLE"

// startRole starts a helper, in a namespace where one is named, and returns it
// with what it says.
func startRole(role string, in *namespace, args ...string) (*exec.Cmd, *json.Decoder, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	start := cmd.Start
	if in != nil {
		if in.input, err = cmd.StdinPipe(); err != nil {
			return nil, nil, err
		}
		start = func() error { return ns.Do(in.name, cmd.Start) }
	}
	if err := start(); err != nil {
		return nil, nil, err
	}
	return cmd, json.NewDecoder(out), nil
}

// namespace is where a helper lives, and how it is told what to do.
type namespace struct {
	name  string
	input io.WriteCloser
}

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

// answer writes one value for the decoder of startRole.
func answer(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }
