package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/testbed/experiment/live"
)

func TestNoAnswerIsExplainedWithWhatWasAsked(t *testing.T) {
	e := environment{file: "weft.yaml"}
	silent := fmt.Errorf("%w: %w", api.ErrUnreachable, errors.New("10.0.0.1:7949: no answer in time"))
	said := e.explain(fmt.Errorf("submit workflow streets: %w", silent))
	if want := "weft: submit workflow streets: no coordinator answers\n  10.0.0.1:7949: no answer in time\nare the addresses in weft.yaml right, and is the network up?"; said != want {
		t.Errorf("it says\n%s\nwant\n%s", said, want)
	}
	// An emulated mesh is not that of weft.yaml.
	said = e.explain(fmt.Errorf("%w within 1m: cam-1 is starting: %w", live.ErrNotRunning, silent))
	if !strings.HasPrefix(said, "weft: the workflow does not run within 1m: cam-1 is starting: no coordinator answers") || strings.Contains(said, "weft.yaml") {
		t.Errorf("it says\n%s", said)
	}
}
