package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/weft-mesh/weft/agent"
	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/tiering"
)

// control is the coordinators as an agent asks them.
type control struct{ *api.Client }

// Assignments implements agent.Control.
func (c control) Assignments(ctx context.Context, node string, after uint64) ([]tiering.Assignment, uint64, error) {
	as, index, err := c.Client.Assignments(ctx, node, after)
	return as, index, stranger(err)
}

// stranger tells an answer that the node gets nothing from none.
func stranger(err error) error {
	var e *api.Error
	if errors.As(err, &e) && (e.Code == api.CodeNotFound || e.Code == api.CodeForbidden || e.Code == api.CodeUnauthorized) {
		return fmt.Errorf("%w: %w", agent.ErrUnknown, err)
	}
	return err
}
