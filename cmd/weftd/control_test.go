package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/weft-mesh/weft/agent"
	"github.com/weft-mesh/weft/coordinator/api"
)

// Only an answer that the node is none of the mesh makes its agent wait.
func TestStranger(t *testing.T) {
	for code, want := range map[api.Code]bool{
		api.CodeNotFound: true, api.CodeForbidden: true, api.CodeUnauthorized: true,
		api.CodeNoLeader: false, api.CodeNotAvailable: false, api.CodeInternal: false, api.CodeTooMany: false,
	} {
		err := fmt.Errorf("assignments: %w", &api.Error{Code: code, Detail: "why"})
		if got := stranger(err); errors.Is(got, agent.ErrUnknown) != want || !errors.Is(got, err) {
			t.Errorf("%s: %v, want it unknown: %v", code, got, want)
		}
	}
	if down := errors.New("connection refused"); stranger(down) != down || stranger(nil) != nil {
		t.Error("what is no answer is taken for one")
	}
}
