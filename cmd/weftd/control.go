package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/weft-mesh/weft/agent"
	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// control is the coordinators as an agent asks them, and those who hear from
// them which models the node is to have and to measure.
type control struct {
	*api.Client
	models   wanter
	profiles follower // nil: nothing is measured here
}

// follower hears what runs on the node, what is to be known of what it costs,
// and what is.
type follower interface {
	Follow(assigned []tiering.Assignment, want []profile.Key, known []profile.Profile)
}

// wanter gets models, and says of those that it could not get why, by name.
type wanter interface {
	Want([]catalog.Model)
	Lacking() map[string]string
}

// Report implements agent.Control.
func (c *control) Report(ctx context.Context, r pipeline.Report) error {
	r.Lacking = c.models.Lacking()
	return c.Client.Report(ctx, r)
}

// Assignments implements agent.Control.
func (c *control) Assignments(ctx context.Context, node string, after uint64) ([]tiering.Assignment, uint64, error) {
	a, err := c.Watch(ctx, node, after)
	if err == nil {
		c.models.Want(a.Models)
		if c.profiles != nil {
			c.profiles.Follow(a.Assignments, a.Measure, a.Profiles)
		}
	}
	return a.Assignments, a.Index, stranger(err)
}

// stranger tells an answer that the node gets nothing from none.
func stranger(err error) error {
	var e *api.Error
	if errors.As(err, &e) && (e.Code == api.CodeNotFound || e.Code == api.CodeForbidden || e.Code == api.CodeUnauthorized) {
		return fmt.Errorf("%w: %w", agent.ErrUnknown, err)
	}
	return err
}
