package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// The conditions that this package reports.
var (
	ErrName = errors.New("invalid name")
	ErrRole = errors.New("wrong role")
	ErrPEM  = errors.New("not a PEM file of the expected kind")
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

// acts lists the roles that a holder of r may act in.
func (r Role) acts() []Role {
	if r == Coordinator {
		return []Role{Coordinator, Agent}
	}
	return []Role{r}
}

// Subject is who a certificate was issued to.
type Subject struct {
	Mesh string // the mesh's name
	Role Role
	Name string // of the node or operator
}

var label = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func (s Subject) validate() error {
	if _, err := ParseRole(string(s.Role)); err != nil {
		return err
	}
	for what, v := range map[string]string{"mesh": s.Mesh, "node": s.Name} {
		if !label.MatchString(v) {
			return fmt.Errorf("%w: %s name %q: use 1 to 63 lower-case letters, digits and hyphens", ErrName, what, v)
		}
	}
	return nil
}

func (s Subject) uri() *url.URL {
	return &url.URL{Scheme: "spiffe", Host: s.Mesh, Path: "/" + string(s.Role) + "/" + s.Name}
}

func (s Subject) String() string { return s.uri().String() }

func serverName(mesh string, role Role) string { return string(role) + "." + mesh + ".weft" }

func (s Subject) dnsNames() []string {
	var out []string
	for _, r := range s.Role.acts() {
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
	role, name, ok := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if u.Scheme != "spiffe" || !ok {
		return Subject{}, fmt.Errorf("%w: %q is not spiffe://MESH/ROLE/NAME", ErrName, u)
	}
	s := Subject{Mesh: u.Host, Role: Role(role), Name: name}
	return s, s.validate()
}

// SubjectOf reads the subject of a certificate.
func SubjectOf(c *x509.Certificate) (Subject, error) {
	for _, u := range c.URIs {
		if u.Scheme == "spiffe" {
			return subjectOf(u)
		}
	}
	return Subject{}, fmt.Errorf("%w: certificate %q has no spiffe://MESH/ROLE/NAME", ErrName, c.Subject.CommonName)
}
