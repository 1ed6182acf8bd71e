package state

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/weft-mesh/weft/internal/dnslabel"
)

// Scope is what the bearer of a token may do.
type Scope string

// The scopes. Each includes those before it.
const (
	ScopeRead   Scope = "read"   // look, and plan without committing
	ScopeSubmit Scope = "submit" // submit and stop workflows
	ScopeAdmin  Scope = "admin"  // change the mesh itself: nodes, tokens, keys
)

// Scopes lists the scopes, the smallest first.
func Scopes() []Scope { return []Scope{ScopeRead, ScopeSubmit, ScopeAdmin} }

// Includes reports whether who has s may do what needs o.
func (s Scope) Includes(o Scope) bool {
	own, need := slices.Index(Scopes(), s), slices.Index(Scopes(), o)
	return need >= 0 && own >= need
}

// Token lets its bearer use the API without a certificate. The secret itself
// is nowhere in the state.
type Token struct {
	ID    string `json:"id"`   // the public part of what the bearer shows
	Name  string `json:"name"` // what people call it
	Scope Scope  `json:"scope"`
	// Hash is the SHA-256 of the secret. A password would need a slow, salted
	// hash, since it can be guessed; 256 random bits cannot, however fast the
	// hash is, and a slow one would cost each request.
	Hash        []byte    `json:"hash"`
	Created     time.Time `json:"created"`
	Expires     time.Time `json:"expires"` // zero: never
	CreateIndex uint64    `json:"create_index"`
	By          string    `json:"by,omitempty"` // who made it; empty for those from before this was kept
}

// Expired reports whether the token is no longer valid at a time.
func (t *Token) Expired(at time.Time) bool { return !t.Expires.IsZero() && !at.Before(t.Expires) }

// maxTokens bounds what tokens add to the state.
const maxTokens = 1024

var tokenID = regexp.MustCompile(`^[0-9a-f]{16}$`)

// PutToken adds a token. Its name is free, or that of one that has expired,
// which makes way.
type PutToken struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Scope   Scope     `json:"scope"`
	Hash    []byte    `json:"hash"`
	Expires time.Time `json:"expires"` // zero: never
	At      time.Time `json:"at"`
	By      string    `json:"by,omitempty"` // who makes it
}

// DeleteToken revokes the token of a name.
type DeleteToken struct {
	Name string    `json:"name"`
	At   time.Time `json:"at"`
}

func (*PutToken) kind() kind    { return kindPutToken }
func (*DeleteToken) kind() kind { return kindDeleteToken }

// Check says what is wrong with the command whatever the state is, for those
// who would commit it: what is in the log stays there, and a token given in
// place of its name is a secret.
func (c *PutToken) Check() error {
	switch {
	case !dnslabel.Valid(c.Name):
		return fmt.Errorf("%w: token name %q: use 1 to 63 lower-case letters, digits and hyphens", ErrInvalid, c.Name)
	case !tokenID.MatchString(c.ID):
		return fmt.Errorf("%w: token ID %q", ErrInvalid, c.ID)
	case !slices.Contains(Scopes(), c.Scope):
		return fmt.Errorf("%w: scope %q: use read, submit or admin", ErrInvalid, c.Scope)
	case len(c.Hash) != sha256.Size:
		return fmt.Errorf("%w: the hash of a token has %d bytes", ErrInvalid, len(c.Hash))
	case !c.Expires.IsZero() && !c.Expires.After(c.At):
		return fmt.Errorf("%w: token %s would have expired already", ErrInvalid, c.Name)
	}
	return nil
}

// Check is as that of PutToken.
func (c *DeleteToken) Check() error {
	if !dnslabel.Valid(c.Name) {
		return fmt.Errorf("%w: token %q: no token has such a name", ErrNotFound, c.Name)
	}
	return nil
}

func (c *PutToken) apply(tx *change) error {
	tx.at = c.At
	if err := c.Check(); err != nil {
		return err
	}
	if old, ok := get[Token](tx.txn, tableTokens, c.Name); ok {
		if !old.Expired(c.At) {
			return fmt.Errorf("%w: there is a token %s: revoke it first, or use another name", ErrConflict, c.Name)
		}
		tx.remove(tableTokens, old)
	}
	if len(list[Token](tx.txn, tableTokens, byPublicID, c.ID)) > 0 {
		return fmt.Errorf("%w: token ID %s is in use", ErrConflict, c.ID)
	}
	if len(list[Token](tx.txn, tableTokens, byID)) >= maxTokens {
		return fmt.Errorf("%w: there are %d tokens, and no more are kept: revoke some", ErrConflict, maxTokens)
	}
	tx.insert(tableTokens, &Token{
		ID: c.ID, Name: c.Name, Scope: c.Scope, Hash: c.Hash, Created: c.At, Expires: c.Expires, CreateIndex: tx.index, By: c.By,
	})
	tx.event(TokenCreated, c.Name, "token %s (%s) created with scope %s", c.Name, c.ID, c.Scope)
	return nil
}

func (c *DeleteToken) apply(tx *change) error {
	tx.at = c.At
	old, ok := get[Token](tx.txn, tableTokens, c.Name)
	if !ok {
		return fmt.Errorf("%w: token %q", ErrNotFound, c.Name)
	}
	tx.remove(tableTokens, old)
	tx.event(TokenRevoked, c.Name, "token %s (%s) revoked", c.Name, old.ID)
	return nil
}

// Tokens returns every token by name, the expired ones included.
func (s *Snapshot) Tokens() []*Token { return list[Token](s.txn(), tableTokens, byID) }

// Token returns the token of a public ID.
func (s *Snapshot) Token(id string) (*Token, bool) {
	found := list[Token](s.txn(), tableTokens, byPublicID, id)
	if len(found) == 0 {
		return nil, false
	}
	return found[0], true
}
