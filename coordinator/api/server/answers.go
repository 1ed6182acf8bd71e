package server

import (
	"encoding/json"
	"net/http"
	"time"
)

// reply answers with v.
func (s *Server) reply(w http.ResponseWriter, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	s.send(w, status, "application/json", append(b, '\n'))
	return nil
}

// send answers with a body; the caller has a while to take it.
func (s *Server) send(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.limits.answer)) // every server's writer has it
	w.WriteHeader(status)
	_, _ = w.Write(body) // the caller has gone
}

// orEmpty is the list, which JSON is not to show as null.
func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
