package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
)

// hop is where a request is forwarded to.
type hop struct {
	node, addr string
	once       bool // it must not be asked again if it may have been carried out
}

type hopKey struct{}

// newForwarder returns what sends a request on to the hop in its context.
func (s *Server) newForwarder() http.Handler {
	return &httputil.ReverseProxy{
		Transport: s.transport,
		Rewrite: func(p *httputil.ProxyRequest) {
			to, _ := p.In.Context().Value(hopKey{}).(hop)
			p.SetURL(&url.URL{Scheme: "https", Host: to.addr})
			p.Out.Header.Del("Authorization")                      // its secret goes no further
			p.Out.Header.Set(forwardedFor, callerOf(p.In).claim()) // whatever the caller claims
			p.Out.Header.Del("Expect")                             // answered here, once the body is read
			p.Out.Header.Del(requestIDHeader)
			if id := recordOf(p.In).RequestID; id != "" {
				p.Out.Header.Set(requestIDHeader, id) // so that the records of both can be joined
			}
			p.SetXForwarded() // its address is for the record
		},
		ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			to, _ := r.Context().Value(hopKey{}).(hop)
			s.fail(w, r, lostOnTheWay(to, err))
		},
	}
}

// lostOnTheWay words why the leader gave no answer.
func lostOnTheWay(to hop, err error) error {
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return err
	case to.once && !errors.Is(err, api.ErrNotSent):
		return uncertain("the leader %s gave no answer (%v)", to.node, err)
	}
	return noLeader("the leader %s does not answer (%v)", to.node, err)
}

// toLeader forwards a request that this coordinator is not to answer. Once is
// enough: a coordinator that gets a forwarded one and does not lead says so.
func (s *Server) toLeader(w http.ResponseWriter, r *http.Request, p place) error {
	node, addr, ok := s.control.Leader()
	switch {
	case callerOf(r).via != "":
		return noLeader("%s does not lead any more", s.cfg.Node)
	case !ok:
		return noLeader("there is no leader at the moment: an election is under way, or a majority of the coordinators is missing")
	case addr == "" || node == s.cfg.Node:
		return noLeader("%s has only just become the leader", node)
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.limits.forward)
	defer cancel()
	// Every server's writer has it.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.limits.forward + s.limits.answer))
	s.forward.ServeHTTP(w, r.WithContext(context.WithValue(ctx, hopKey{}, hop{node, addr, p == leaderOnce})))
	return nil
}
