package server

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
)

// rotationLimit is for an exchange of the gossip key: six questions to nodes
// that may not answer.
const rotationLimit = 35 * time.Second

func (s *Server) getGossipKeys(w http.ResponseWriter, r *http.Request) error {
	if s.cfg.GossipKeys == nil {
		return notFound("there are no gossip keys: gossip is in plain text")
	}
	keys, err := s.cfg.GossipKeys.Keys(r.Context())
	if err != nil {
		return err
	}
	return s.reply(w, http.StatusOK, keys)
}

// postGossipKey exchanges the key. Where it got stuck is part of the answer;
// the same key again goes on from there.
func (s *Server) postGossipKey(w http.ResponseWriter, r *http.Request) error {
	if s.cfg.GossipKeys == nil {
		return notFound("there are no gossip keys: gossip is in plain text")
	}
	var body api.GossipKey
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		return badBody(err)
	}
	key, err := base64.StdEncoding.DecodeString(body.Key)
	if err != nil || len(key) != api.GossipKeySize {
		return invalid("key: want %d bytes in base64, as `weft keygen` makes them", api.GossipKeySize)
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(rotationLimit + s.limits.answer)) // every server's writer has it
	rotation, err := s.cfg.GossipKeys.RotateKey(r.Context(), key)
	if err != nil {
		return err
	}
	about(r, rotation.Key)
	s.cfg.Log.Info("gossip key exchanged", "key", rotation.Key, "done", rotation.Done, "why", rotation.Why)
	return s.reply(w, http.StatusOK, rotation)
}
