package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/dnslabel"
	"github.com/weft-mesh/weft/tiering"
)

// The conditions that this package reports.
var (
	ErrName    = errors.New("invalid name")
	ErrRole    = errors.New("wrong role")
	ErrPeer    = errors.New("not the node that is meant")
	ErrPEM     = errors.New("not a PEM file of the expected kind")
	ErrIssuer  = errors.New("issued by none of the authorities")
	ErrRevoked = errors.New("certificate revoked")
	ErrNoList  = errors.New("no list of what is revoked")
	ErrOlder   = errors.New("the list of what is revoked is an older one")
	ErrExposed = errors.New("secret that others can read")
)

// Role is what a certificate's holder may act as.
type Role string

// The roles.
const (
	Agent       Role = "agent"       // runs tasks, moves frames
	Coordinator Role = "coordinator" // votes in Raft; also an agent
	Operator    Role = "operator"    // a person or script at the API
)

// ParseRole returns the role of that name.
func ParseRole(s string) (Role, error) {
	switch r := Role(s); r {
	case Agent, Coordinator, Operator:
		return r, nil
	}
	return "", fmt.Errorf("%w: role %q: use agent, coordinator or operator", ErrName, s)
}

// Machine reports whether nodes hold the role, and not people.
func (r Role) Machine() bool { return r == Agent || r == Coordinator }

// Subject is who a certificate was issued to.
type Subject struct {
	Mesh string // the mesh's name
	Role Role
	// Tier is a machine's; 0 in certificates that are older than tiers in
	// them, and for operators.
	Tier tiering.Tier
	Name string // of the node or operator
}

// acts lists the roles that the subject may act in. A machine at the edge can
// be carried away, so none coordinates, whatever its certificate says.
func (s Subject) acts() []Role {
	switch {
	case s.Role != Coordinator:
		return []Role{s.Role}
	case s.Tier == tiering.Edge:
		return []Role{Agent}
	}
	return []Role{Coordinator, Agent}
}

// ActsAs reports whether the subject may act in the role.
func (s Subject) ActsAs(r Role) bool { return slices.Contains(s.acts(), r) }

// checkHost checks the name or address of a machine, as clients give it.
func checkHost(h string) error {
	if net.ParseIP(h) != nil {
		return nil
	}
	for l := range strings.SplitSeq(h, ".") {
		if !dnslabel.Valid(strings.ToLower(l)) {
			return fmt.Errorf("%w: host %q: use a DNS name or an IP address, without port or scheme", ErrName, h)
		}
	}
	if strings.HasSuffix(strings.ToLower(h), meshDomain) {
		return fmt.Errorf("%w: host %q: names that end in %s are the roles of meshes", ErrName, h, meshDomain)
	}
	return nil
}

func (s Subject) validate() error {
	if _, err := ParseRole(string(s.Role)); err != nil {
		return err
	}
	for what, v := range map[string]string{"mesh": s.Mesh, "node": s.Name} {
		if !dnslabel.Valid(v) {
			return fmt.Errorf("%w: %s name %q: use 1 to 63 lower-case letters, digits and hyphens", ErrName, what, v)
		}
	}
	if s.Tier != 0 && !s.Role.Machine() {
		return fmt.Errorf("%w: an operator has no tier", ErrName)
	}
	return nil
}

// issuable adds what new certificates must say to what old ones may lack.
func (s Subject) issuable() error {
	switch {
	case s.Role.Machine() && s.Tier == 0:
		return fmt.Errorf("%w: %s %q needs its tier: edge, fog or cloud", ErrName, s.Role, s.Name)
	case s.Role == Coordinator && s.Tier == tiering.Edge:
		return fmt.Errorf("%w: %q is at the edge, where no node coordinates: make another node the coordinator, or give this one tier fog if nobody can carry it away", ErrName, s.Name)
	}
	return s.validate()
}

func (s Subject) uri() *url.URL {
	path := "/" + string(s.Role) + "/"
	if s.Tier != 0 {
		path += s.Tier.String() + "/"
	}
	return &url.URL{Scheme: "spiffe", Host: s.Mesh, Path: path + s.Name}
}

func (s Subject) String() string { return s.uri().String() }

// meshDomain is the top-level domain of names that only certificates have.
const meshDomain = ".weft"

func serverName(mesh string, role Role) string { return string(role) + "." + mesh + meshDomain }

func (s Subject) dnsNames() []string {
	var out []string
	for _, r := range s.acts() {
		out = append(out, serverName(s.Mesh, r))
	}
	return out
}

// ParseSubject is the inverse of Subject.String.
func ParseSubject(s string) (Subject, error) {
	u, err := url.Parse(s)
	if err != nil {
		return Subject{}, fmt.Errorf("%w: %w", ErrName, err)
	}
	return subjectOf(u)
}

func subjectOf(u *url.URL) (Subject, error) {
	bad := fmt.Errorf("%w: %q is not spiffe://MESH/ROLE/TIER/NAME", ErrName, u)
	parts := strings.Split(strings.TrimPrefix(u.Path, "/"), "/")
	if u.Scheme != "spiffe" || len(parts) < 2 || len(parts) > 3 {
		return Subject{}, bad
	}
	s := Subject{Mesh: u.Host, Role: Role(parts[0]), Name: parts[len(parts)-1]}
	if len(parts) == 3 {
		tier, err := tiering.ParseTier(parts[1])
		if err != nil {
			return Subject{}, fmt.Errorf("%w: %w", bad, err)
		}
		s.Tier = tier
	}
	return s, s.validate()
}

// SubjectOf reads the subject of a certificate.
func SubjectOf(c *x509.Certificate) (Subject, error) {
	for _, u := range c.URIs {
		if u.Scheme == "spiffe" {
			return subjectOf(u)
		}
	}
	return Subject{}, fmt.Errorf("%w: certificate %q has no spiffe://MESH/ROLE/TIER/NAME", ErrName, c.Subject.CommonName)
}
