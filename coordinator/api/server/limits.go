package server

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	maxHeader   = 64 << 10 // bytes
	maxDocument = 1 << 20  // bytes
	maxReport   = 4 << 20  // bytes
	maxDrain    = 1 << 10  // bytes
	maxSmall    = 4 << 10  // bytes
	maxProfiles = 64 << 10 // bytes

	maxHeld, maxHeldEach     = 16384, 64   // requests held open at a time, and of one caller
	maxBodies, maxBodiesEach = 16384, 16   // with a body, which takes memory while it arrives
	maxBlobs, maxBlobsEach   = 8, 2        // files handed out at a time, and to one caller
	maxConns, maxConnsEach   = 16384, 1024 // connections, and from one address
	// Connections that have not said whose they are.
	maxStrangers, maxStrangersEach = 1024, 256

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

	conns, connsEach         int
	strangers, strangersEach int
}

func defaultLimits() limits {
	return limits{
		header: 10 * time.Second, body: 30 * time.Second, answer: 30 * time.Second, forward: time.Minute, idle: 2 * time.Minute,
		conns: maxConns, connsEach: maxConnsEach, strangers: maxStrangers, strangersEach: maxStrangersEach,
	}
}

// limitTime bounds the time in which a body arrives, also one that nobody reads:
// the server itself waits for the rest of it.
func (s *Server) limitTime(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.limits.body)) // every server's writer has it
	}
}

// limitBody bounds the bytes of a body, and how many of a caller arrive at a
// time. One that says that it is too large is not read.
func (s *Server) limitBody(w http.ResponseWriter, r *http.Request, who caller, most int64) (release func(), err error) {
	if r.ContentLength == 0 {
		return func() {}, nil
	}
	r.Body = http.MaxBytesReader(w, r.Body, most)
	switch {
	case most == 0: // nobody reads it
		return func() {}, nil
	case r.ContentLength > most:
		return nil, &http.MaxBytesError{Limit: most}
	}
	return s.bodies.take(who.name)
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

// holds counts the requests that take something for a while.
type holds struct {
	most, mostEach int

	mu    sync.Mutex
	total int
	each  map[string]int // by caller
}

func newHolds(most, mostEach int) *holds {
	return &holds{most: most, mostEach: mostEach, each: map[string]int{}}
}

// take counts one more, until release.
func (h *holds) take(caller string) (release func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.each[caller] >= h.mostEach:
		return nil, tooMany("%s has too many requests held open here already: close some", caller)
	case h.total >= h.most:
		return nil, unavailable("this coordinator holds as many requests open as it can: ask another")
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
