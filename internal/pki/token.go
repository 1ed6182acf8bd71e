package pki

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
)

// OptionalClient is settings of a server that take clients without a
// certificate, too, who have to show something else. A certificate that is
// shown is checked as before.
func OptionalClient(server *tls.Config) *tls.Config {
	c := server.Clone()
	if c.ClientAuth == tls.RequireAndVerifyClientCert {
		c.ClientAuth = tls.VerifyClientCertIfGiven
	}
	if check := c.VerifyConnection; check != nil {
		c.VerifyConnection = func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 {
				return nil
			}
			return check(cs)
		}
	}
	if choose := c.GetConfigForClient; choose != nil {
		c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			chosen, err := choose(hello)
			if chosen == nil || err != nil {
				return chosen, err
			}
			return OptionalClient(chosen), nil
		}
	}
	return c
}

// ClientOnly connects to coordinators of the CA's mesh without a certificate
// of its own.
func ClientOnly(caFile string) (*tls.Config, error) {
	ca, err := readCert(caFile)
	if err != nil {
		return nil, err
	}
	if len(ca.Subject.Organization) != 1 || !ca.IsCA {
		return nil, fmt.Errorf("%w: %s is not the certificate of a mesh CA", ErrPEM, caFile)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		RootCAs:    roots,
		ServerName: serverName(ca.Subject.Organization[0], Coordinator),
	}, nil
}
