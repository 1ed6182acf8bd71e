package coordinator

import (
	"context"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/coordinator/state"
)

// CreateToken stores a token, of which it sets the times. It is valid for the
// lifetime by this coordinator's clock; 0: until it is revoked.
func (c *Coordinator) CreateToken(ctx context.Context, t state.Token, lifetime time.Duration) (*state.Token, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if lifetime < 0 {
		return nil, fmt.Errorf("%w: a token for %v", ErrInvalid, lifetime)
	}
	if err := c.mustLead(); err != nil {
		return nil, err
	}
	at := now()
	cmd := &state.PutToken{ID: t.ID, Name: t.Name, Scope: t.Scope, Hash: t.Hash, At: at, By: t.By}
	if lifetime > 0 {
		cmd.Expires = at.Add(lifetime)
	}
	if err := cmd.Check(); err != nil {
		return nil, err
	}
	if _, err := c.apply(cmd); err != nil {
		return nil, err
	}
	t.Created, t.Expires = cmd.At, cmd.Expires
	return &t, nil
}

// RevokeToken makes the token of that name invalid.
func (c *Coordinator) RevokeToken(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.mustLead(); err != nil {
		return err
	}
	cmd := &state.DeleteToken{Name: name, At: now()}
	if err := cmd.Check(); err != nil {
		return err
	}
	_, err := c.apply(cmd)
	return err
}
