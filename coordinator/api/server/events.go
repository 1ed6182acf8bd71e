package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/weft-mesh/weft/coordinator/state"
)

// getEvents streams events as server-sent events, whose id is the index. It
// ends when the caller or this server goes, and with the caller's token.
func (s *Server) getEvents(w http.ResponseWriter, r *http.Request) error {
	after, err := index("after", r.URL.Query().Get("after"))
	if err != nil {
		return err
	}
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		if after, err = index("header Last-Event-ID", last); err != nil {
			return err
		}
	}
	release, err := s.hold(r)
	if err != nil {
		return err
	}
	defer release()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	ctx, cancel := contextUntil(r.Context(), s.done)
	defer cancel()
	who := callerOf(r)
	if !who.until.IsZero() {
		ctx, cancel = context.WithDeadline(ctx, who.until)
		defer cancel()
	}
	for text := []byte(nil); ; {
		if err := s.push(w, text); err != nil {
			return nil
		}
		events, err := s.control.Events(ctx, after)
		if err != nil || !s.still(who, time.Now()) {
			return nil
		}
		if text, err = eventStream(events); err != nil {
			return nil // no event is without a JSON form
		}
		after = events[len(events)-1].Index
	}
}

// push sends a part of a stream. The caller has a while to take it, and then
// for ever until the next.
func (s *Server) push(w http.ResponseWriter, text []byte) error {
	out := http.NewResponseController(w)
	_ = out.SetWriteDeadline(time.Now().Add(s.limits.answer)) // every server's writer has it
	defer func() { _ = out.SetWriteDeadline(time.Time{}) }()
	if _, err := w.Write(text); err != nil {
		return err
	}
	return out.Flush()
}

// eventStream is events in the form of server-sent events. Of those that share
// an index only the last has an id, so that a stream which was cut between
// them is taken up before them: an event may come twice, and none is missed.
func eventStream(events []state.Event) ([]byte, error) {
	var b bytes.Buffer
	for i, e := range events {
		data, err := json.Marshal(e)
		if err != nil {
			return nil, err
		}
		if i+1 == len(events) || events[i+1].Index != e.Index {
			fmt.Fprintf(&b, "id: %d\n", e.Index)
		}
		fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", e.Type, data)
	}
	return b.Bytes(), nil
}

// contextUntil ends with parent or when done is closed.
func contextUntil(parent context.Context, done <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	go func() {
		select {
		case <-done:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
