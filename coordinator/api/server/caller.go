package server

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/internal/pki"
)

// forwardedFor carries the caller's name from the coordinator that was asked
// to the leader: the subject of a certificate, or the public ID of a token,
// never its secret. Only a coordinator's word is taken for it.
const forwardedFor = "Weft-Forwarded-For"

// tokenClaim is what stands before the ID of a token there.
const tokenClaim = "token:"

// caller is who sent a request, through another coordinator or directly.
type caller struct {
	name    string      // for people, and unique
	subject pki.Subject // of a certificate; zero for a token
	token   string      // its public ID; empty for a certificate
	until   time.Time   // when the token expires; zero: never
	scope   state.Scope // empty for an agent
	via     string      // the coordinator that sent it on; empty: none
}

func (c caller) String() string { return c.name }

// claim is the caller as another coordinator is told of it.
func (c caller) claim() string {
	if c.token != "" {
		return tokenClaim + c.token
	}
	return c.subject.String()
}

type callerKey struct{}

// callerOf is who sent a request that serve has let through.
func callerOf(r *http.Request) caller {
	c, _ := r.Context().Value(callerKey{}).(caller)
	return c
}

func (c caller) in(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), callerKey{}, c))
}

// authenticate finds out who sent a request. With an error the caller has no
// rights, and the name for the record that it gave itself, if any.
func (s *Server) authenticate(r *http.Request, now time.Time) (caller, error) {
	peer, shown := pki.Peer(r.TLS)
	header := r.Header.Values("Authorization")
	switch {
	case shown && len(header) > 0:
		return caller{}, invalid("a certificate and a token: show one of the two, so that it is clear whose rights are meant")
	case len(header) > 0:
		return s.bearer(header, now)
	case !shown:
		return caller{}, unauthorized("neither a certificate nor a token: send `Authorization: Bearer TOKEN` with a token of `weft token create`, or use a certificate of `weft ca issue`")
	}
	claim := r.Header.Get(forwardedFor)
	if !peer.ActsAs(pki.Coordinator) || claim == "" {
		return certified(peer), nil
	}
	if id, ok := strings.CutPrefix(claim, tokenClaim); ok {
		// Judged anew: this coordinator may know of a revocation that the other
		// does not.
		who, err := s.tokenOf(id, now)
		who.via = peer.Name
		return who, err
	}
	subject, err := pki.ParseSubject(claim)
	if err != nil {
		return caller{}, invalid("header %s: %v", forwardedFor, err)
	}
	who := certified(subject)
	who.via = peer.Name
	return who, nil
}

// certified is the holder of a certificate. An operator and a coordinator may
// do everything.
func certified(s pki.Subject) caller {
	c := caller{name: s.String(), subject: s}
	if !onlyAgent(s) {
		c.scope = state.ScopeAdmin
	}
	return c
}

// onlyAgent reports whether a subject may act as an agent and no more, as a
// coordinator at the edge.
func onlyAgent(s pki.Subject) bool { return s.Role.Machine() && !s.ActsAs(pki.Coordinator) }

// bearer is who shows a token.
func (s *Server) bearer(header []string, now time.Time) (caller, error) {
	scheme, text, _ := strings.Cut(header[0], " ")
	if len(header) > 1 || !strings.EqualFold(scheme, "Bearer") {
		return caller{}, unauthorized("header Authorization: use `Bearer TOKEN`, once")
	}
	secret, err := api.ParseSecret(strings.TrimSpace(text))
	if err != nil {
		return caller{}, unauthorized("header Authorization: %v", err)
	}
	// An unknown ID takes as long as a wrong secret does.
	hash := make([]byte, len(secret.Hash()))
	if t, known := s.control.Snapshot().Token(secret.ID); known {
		hash = t.Hash
	}
	if !secret.Matches(hash) {
		return caller{name: tokenClaim + secret.ID + " (claimed)"}, unauthorized("the token %s is not valid here: it was revoked, or it is of another mesh; `weft token create` makes one", secret)
	}
	return s.tokenOf(secret.ID, now)
}

// tokenOf is the bearer of a token whose secret has been checked.
func (s *Server) tokenOf(id string, now time.Time) (caller, error) {
	t, known := s.control.Snapshot().Token(id)
	switch {
	case !known:
		return caller{name: tokenClaim + id}, unauthorized("the token %s has been revoked; `weft token create` makes another", id)
	case t.Expired(now):
		return caller{name: name(t)}, unauthorized("the token %s (%s) expired on %s; `weft token create` makes another", t.Name, id, t.Expires.Format(time.RFC3339))
	}
	return caller{name: name(t), token: id, until: t.Expires, scope: t.Scope}, nil
}

// name is a token's, for people.
func name(t *state.Token) string { return tokenClaim + t.Name + ":" + t.ID }

// still reports whether a caller that was let in would be again.
func (s *Server) still(who caller, now time.Time) bool {
	if who.token == "" {
		return true // certificates are checked in handshakes
	}
	_, err := s.tokenOf(who.token, now)
	return err == nil
}

// agents says what of a route is for the agents on nodes.
type agents int

const (
	noAgent  agents = iota // for operators, coordinators and tokens only
	itsAgent               // for the agent of the node that the path names, too
	anyAgent               // for every agent, too
)

// authorize says whether the caller may do what a route does.
func (rt *route) authorize(who caller, r *http.Request) error {
	switch {
	case onlyAgent(who.subject):
		node := r.PathValue("node")
		if rt.agents == noAgent {
			return forbidden("%s may not do this: use an operator's certificate", who)
		}
		if rt.agents == itsAgent && who.subject.Name != node {
			return forbidden("%s may not speak for node %s", who, node)
		}
	case who.token == "": // operators and coordinators
	case rt.scope == certificate:
		return forbidden("%s may not do this: it is for the node's own agent, which shows a certificate", who)
	case !who.scope.Includes(rt.scope):
		return forbidden("%s has the scope %s, and this needs %s: `weft token create NAME --scope %[3]s` makes a token that may", who, who.scope, rt.scope)
	}
	return nil
}

// agrees refuses a node that gossips another tier than its certificate says:
// gossip is anybody's word who has its key.
func (s *Server) agrees(who caller, r *http.Request) error {
	node := r.PathValue("node")
	if who.subject.Tier == 0 || who.subject.Name != node {
		return nil
	}
	n, known := s.control.Snapshot().Node(node)
	if known && n.Tier != who.subject.Tier {
		return forbidden("node %s gossips tier %s, and its certificate says %s: set `node.tier` of its configuration to that, or issue it another certificate", node, n.Tier, who.subject.Tier)
	}
	return nil
}
