package server

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/state"
)

// maxLifetime bounds how long a token is valid that is not valid for ever.
const maxLifetime = 100 * 365 * 24 * time.Hour

func (s *Server) getTokens(w http.ResponseWriter, _ *http.Request) error {
	out := []api.Token{}
	for _, t := range s.control.Snapshot().Tokens() {
		out = append(out, shown(t))
	}
	return s.reply(w, http.StatusOK, out)
}

// postToken draws the secret, which is in the answer and nowhere else.
func (s *Server) postToken(w http.ResponseWriter, r *http.Request) error {
	var ask api.TokenRequest
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&ask); err != nil {
		return badBody(err)
	}
	about(r, ask.Name)
	if ask.LifetimeS < 0 || ask.LifetimeS > int64(maxLifetime/time.Second) {
		return invalid("lifetime_s: %d: use 1 to %d seconds, or 0 for a token that does not expire", ask.LifetimeS, int64(maxLifetime/time.Second))
	}
	secret := api.NewSecret()
	t, err := s.control.CreateToken(r.Context(),
		state.Token{ID: secret.ID, Name: ask.Name, Scope: ask.Scope, Hash: secret.Hash(), By: callerOf(r).name},
		time.Duration(ask.LifetimeS)*time.Second)
	if err != nil {
		return err
	}
	return s.reply(w, http.StatusCreated, api.NewToken{Token: shown(t), Secret: secret.Reveal()})
}

func (s *Server) deleteToken(w http.ResponseWriter, r *http.Request) error {
	if err := s.control.RevokeToken(r.Context(), r.PathValue("token")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// shown is a token without its hash.
func shown(t *state.Token) api.Token {
	out := api.Token{ID: t.ID, Name: t.Name, Scope: t.Scope, Created: t.Created, CreatedBy: t.By}
	if !t.Expires.IsZero() {
		out.Expires = &t.Expires
	}
	return out
}
