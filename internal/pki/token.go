package pki

import (
	"crypto/tls"
	"errors"
	"os"
)

// OptionalClient is ServerTLS's settings for clients without a certificate,
// too, who have to show something else. A certificate that is shown is checked
// as before.
func OptionalClient(server *tls.Config) *tls.Config {
	c, check := server.Clone(), server.VerifyConnection
	c.ClientAuth = tls.RequestClientCert
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		switch {
		case len(cs.PeerCertificates) == 0:
			return nil
		case check == nil:
			return errors.New("a certificate that nothing verifies")
		}
		return check(cs)
	}
	return c
}

// ClientOnly connects to coordinators of the CA's mesh without a certificate
// of its own.
func ClientOnly(caFile string) (*tls.Config, error) {
	b, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	authorities, err := parseAuthorities(caFile, b)
	if err != nil {
		return nil, err
	}
	crl, err := readCRL(Files{CA: caFile}.crl(), authorities)
	if err != nil {
		return nil, err
	}
	nobody := newIdentity(Subject{Mesh: meshOf(authorities[0])}, Files{}, trusting(authorities, crl))
	conf := nobody.ClientTLS(Coordinator)
	conf.GetClientCertificate = nil
	return conf, nil
}
