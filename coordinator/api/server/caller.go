package server

import (
	"net/http"

	"github.com/weft-mesh/weft/internal/pki"
)

// forwardedFor carries the caller's name from the coordinator that was asked
// to the leader. Only a coordinator's word is taken for it.
const forwardedFor = "Weft-Forwarded-For"

// forwarded reports whether another coordinator sent the request on.
func forwarded(r *http.Request) bool {
	peer, ok := pki.Peer(r.TLS)
	return ok && peer.Role == pki.Coordinator && r.Header.Get(forwardedFor) != ""
}

// caller is who sent the request, through another coordinator or directly.
func caller(r *http.Request) (pki.Subject, error) {
	peer, ok := pki.Peer(r.TLS)
	if !ok {
		return pki.Subject{}, forbidden("no certificate")
	}
	if !forwarded(r) {
		return peer, nil
	}
	s, err := pki.ParseSubject(r.Header.Get(forwardedFor))
	if err != nil {
		return pki.Subject{}, invalid("header %s: %v", forwardedFor, err)
	}
	return s, nil
}

// everyone in the mesh.
func everyone(pki.Subject, *http.Request) error { return nil }

// operators and coordinators.
func operators(who pki.Subject, _ *http.Request) error {
	if who.Role == pki.Agent {
		return forbidden("%s may not do this: use an operator's certificate", who)
	}
	return nil
}

// theNode that the path names, or an operator or coordinator.
func theNode(who pki.Subject, r *http.Request) error {
	if node := r.PathValue("node"); who.Role == pki.Agent && who.Name != node {
		return forbidden("%s may not speak for node %s", who, node)
	}
	return nil
}
