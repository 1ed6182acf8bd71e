package pki

import (
	"crypto/tls"
	"os"
)

// OptionalClient is settings of a server that take clients without a
// certificate, too, who have to show something else. A certificate that is
// shown is checked as before.
func OptionalClient(server *tls.Config) *tls.Config {
	c := server.Clone()
	switch c.ClientAuth {
	case tls.RequireAndVerifyClientCert:
		c.ClientAuth = tls.VerifyClientCertIfGiven
	case tls.RequireAnyClientCert: // VerifyConnection verifies it
		c.ClientAuth = tls.RequestClientCert
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
