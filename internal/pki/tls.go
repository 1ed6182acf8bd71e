package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weft-mesh/weft/tiering"
)

// ServerTLS accepts peers of the same mesh that may act in one of the roles
// (a coordinator as an agent too); TLS 1.3 only, certificates both ways.
//
// The settings follow the identity: what a [Follower] reads holds for the next
// connection, however long ago the settings were made or copied. TLS itself
// checks against authorities that are fixed with its settings, so it is told
// to leave the certificate to VerifyConnection, which does all of it.
func (id *Identity) ServerTLS(roles ...Role) *tls.Config {
	roles = slices.Clone(roles)
	return &tls.Config{
		MinVersion:       tls.VersionTLS13,
		GetCertificate:   func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return id.current.Load().cert, nil },
		ClientAuth:       tls.RequireAnyClientCert,
		VerifyConnection: func(cs tls.ConnectionState) error { return id.verify(cs, x509.ExtKeyUsageClientAuth, roles) },
		// Every connection shows both certificates anew.
		SessionTicketsDisabled: true,
	}
}

// ClientTLS connects to peers of the same mesh that may act in the role,
// whatever address they are reached at. What is said of ServerTLS holds here,
// too.
func (id *Identity) ClientTLS(role Role) *tls.Config {
	return &tls.Config{
		MinVersion:           tls.VersionTLS13,
		GetClientCertificate: id.present,
		ServerName:           serverName(id.Subject.Mesh, role),
		InsecureSkipVerify:   true, //nolint:gosec // VerifyConnection verifies
		VerifyConnection: func(cs tls.ConnectionState) error {
			return id.verify(cs, x509.ExtKeyUsageServerAuth, []Role{role})
		},
	}
}

// To narrows the settings of a client of the mesh down to one node, of that
// tier. A certificate from before tiers were in them does for any.
func To(conf *tls.Config, node string, tier tiering.Tier) *tls.Config {
	conf = conf.Clone()
	verify := conf.VerifyConnection
	conf.VerifyConnection = func(cs tls.ConnectionState) error {
		if verify != nil {
			if err := verify(cs); err != nil {
				return err
			}
		}
		if sub, _ := Peer(&cs); sub.Name != node || sub.Tier != 0 && sub.Tier != tier {
			return &tls.CertificateVerificationError{
				UnverifiedCertificates: cs.PeerCertificates,
				Err:                    fmt.Errorf("%w: it is %s, and meant is %s at tier %s", ErrPeer, sub, node, tier),
			}
		}
		return nil
	}
	return conf
}

// present shows the certificate to servers that can make something of it, as
// TLS does with certificates that it is given: those of others may ask for
// certificates of another authority.
func (id *Identity) present(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	c := id.current.Load().cert
	if r.SupportsCertificate(c) != nil {
		return &tls.Certificate{}, nil
	}
	return c, nil
}

// AsksForCertificates reports whether a server with these settings takes only
// clients whose certificate it has verified.
func AsksForCertificates(c *tls.Config) bool {
	return c != nil && (c.ClientAuth == tls.RequireAndVerifyClientCert ||
		c.ClientAuth == tls.RequireAnyClientCert && c.VerifyConnection != nil)
}

// VerifiesServer reports whether a client with these settings verifies whom it
// talks to.
func VerifiesServer(c *tls.Config) bool {
	return c != nil && (!c.InsecureSkipVerify || c.VerifyConnection != nil)
}

// verify is everything that is to be checked of a peer. TLS has seen to it
// that the peer holds the key of the first certificate, and of nothing else.
func (id *Identity) verify(cs tls.ConnectionState, use x509.ExtKeyUsage, roles []Role) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("the peer showed no certificate")
	}
	err := id.current.Load().verify(cs.PeerCertificates[0], use, time.Now())
	if err == nil {
		err = id.admit(cs.PeerCertificates[0], roles)
	}
	if err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
	}
	return nil
}

// verify checks a certificate itself: signed by an authority of the mesh (and
// directly: the others that a peer sends do not count), valid now, for this
// use, not revoked.
func (c *credentials) verify(leaf *x509.Certificate, use x509.ExtKeyUsage, now time.Time) error {
	if _, err := leaf.Verify(x509.VerifyOptions{
		Roots: c.pool, Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use},
	}); err != nil {
		return err
	}
	if leaf.IsCA {
		return fmt.Errorf("%w: an authority's certificate", ErrRole)
	}
	if c.revoked[serial(leaf.SerialNumber)] {
		return fmt.Errorf("%w: %s", ErrRevoked, leaf.Subject.CommonName)
	}
	return nil
}

// admit checks whom it was issued to.
func (id *Identity) admit(leaf *x509.Certificate, roles []Role) error {
	sub, err := SubjectOf(leaf)
	if err != nil {
		return err
	}
	if sub.Mesh != id.Subject.Mesh {
		return fmt.Errorf("%w: %s is of another mesh than %s", ErrRole, sub, id.Subject)
	}
	if !slices.ContainsFunc(roles, sub.ActsAs) {
		return fmt.Errorf("%w: %s may not act as %v here", ErrRole, sub, roles)
	}
	return nil
}

// Peer returns who is at the other end of a verified connection.
func Peer(cs *tls.ConnectionState) (Subject, bool) {
	if cs == nil || len(cs.PeerCertificates) == 0 {
		return Subject{}, false
	}
	s, err := SubjectOf(cs.PeerCertificates[0])
	return s, err == nil
}
