package server

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
)

const (
	maxHeader   = 64 << 10 // bytes
	maxDocument = 1 << 20  // bytes
	maxReport   = 4 << 20  // bytes
	maxDrain    = 1 << 10  // bytes
	maxHeld     = 16384    // requests held open at a time
	maxHeldEach = 64       // of one caller

	// A connection on which nothing comes is tried with a ping, so that a
	// request held for a machine that has gone is not held for ever.
	pingAfter, pingTimeout = 30 * time.Second, 15 * time.Second
	// shutdownLimit is for requests under way when the server stops.
	shutdownLimit = 5 * time.Second
)

// limits bound the parts of a request in time. Nothing bounds the whole of
// one: assignments and events are held open.
type limits struct {
	header  time.Duration // the caller to do its part of the handshake, and to send each header
	body    time.Duration // the caller to send it
	answer  time.Duration // the caller to take it
	forward time.Duration // the leader to answer, and the caller to take that
	idle    time.Duration // between requests
}

func defaultLimits() limits {
	return limits{header: 10 * time.Second, body: 30 * time.Second, answer: 30 * time.Second, forward: time.Minute, idle: 2 * time.Minute}
}

// limitBody bounds the body, in bytes and in the time to arrive.
func (s *Server) limitBody(w http.ResponseWriter, r *http.Request, most int64) {
	if r.ContentLength == 0 {
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.limits.body)) // every server's writer has it
	r.Body = http.MaxBytesReader(w, r.Body, most)
}

// badBody words why a body cannot be read.
func badBody(err error) error {
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return err
	case errors.Is(err, io.EOF):
		return invalid("the body is empty")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return invalid("the body did not arrive in time")
	}
	return invalid("the body cannot be read: %v", err)
}

// holds counts the requests that are held open.
type holds struct {
	mu    sync.Mutex
	total int
	each  map[string]int // by caller
}

// take counts one more, until release.
func (h *holds) take(caller string) (release func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.each[caller] >= maxHeldEach:
		return nil, &api.Error{
			Status: http.StatusTooManyRequests, Code: api.CodeTooMany,
			Detail: caller + " has too many requests held open here already: close some",
		}
	case h.total >= maxHeld:
		return nil, &api.Error{
			Status: http.StatusServiceUnavailable, Code: api.CodeNotAvailable,
			Detail: "this coordinator holds as many requests open as it can: ask another",
		}
	}
	h.total++
	h.each[caller]++
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.total--
		if h.each[caller]--; h.each[caller] == 0 {
			delete(h.each, caller)
		}
	}, nil
}
