package pki

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// Identity is a subject's certificate and key, with the authorities that it
// trusts. A [Follower] exchanges them while they are in use.
type Identity struct {
	// Subject is whose it is. Its tier may be set where a certificate from
	// before tiers has none; the next one must be of it.
	Subject Subject
	from    Files
	current atomic.Pointer[credentials]
	peers   Peers
}

// Files are what an identity is read from. The list of what is revoked,
// [CRLFile], is looked for beside CA.
type Files struct{ CA, Cert, Key string }

func (f Files) crl() string { return filepath.Join(filepath.Dir(f.CA), CRLFile) }

// credentials are what a connection is made or taken with. They never change.
type credentials struct {
	cert        *tls.Certificate
	authorities []*x509.Certificate
	pool        *x509.CertPool
	crl         *x509.RevocationList // nil: of an authority from before every one had a list
	revoked     map[string]bool      // by serial number
}

// trusting are the credentials of one who has no certificate.
func trusting(authorities []*x509.Certificate, crl *x509.RevocationList) *credentials {
	c := &credentials{authorities: authorities, pool: x509.NewCertPool(), crl: crl, revoked: serials(crl)}
	for _, a := range authorities {
		c.pool.AddCert(a)
	}
	return c
}

func newCredentials(leaf *x509.Certificate, key crypto.Signer, authorities []*x509.Certificate, crl *x509.RevocationList) (*credentials, error) {
	c := trusting(authorities, crl)
	c.cert = &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	if issuer(leaf, authorities) == nil {
		return nil, ErrIssuer
	}
	return c, nil
}

// issuer is which of the authorities signed a certificate, nil if none did.
func issuer(c *x509.Certificate, authorities []*x509.Certificate) *x509.Certificate {
	for _, a := range authorities {
		if c.CheckSignatureFrom(a) == nil {
			return a
		}
	}
	return nil
}

func newIdentity(sub Subject, from Files, c *credentials) *Identity {
	id := &Identity{Subject: sub, from: from}
	id.current.Store(c)
	id.peers.trust = id.current.Load
	return id
}

// LoadIdentity reads an identity from its files. The key must be readable by
// its owner only.
func LoadIdentity(caFile, certFile, keyFile string) (*Identity, error) {
	from := Files{CA: caFile, Cert: certFile, Key: keyFile}
	now, err := from.read()
	if err != nil {
		return nil, err
	}
	sub, c, err := from.parse(now)
	if err != nil {
		return nil, err
	}
	if c.revoked[serial(c.cert.Leaf.SerialNumber)] {
		return nil, fmt.Errorf("%w: %s, says %s: issue another one for %s", ErrRevoked, certFile, from.crl(), sub.Name)
	}
	return newIdentity(sub, from, c), nil
}

// contents are those of an identity's files. crl is nil if there is none.
type contents struct{ ca, cert, key, crl []byte }

func (c contents) equal(o contents) bool {
	return bytes.Equal(c.ca, o.ca) && bytes.Equal(c.cert, o.cert) && bytes.Equal(c.key, o.key) && bytes.Equal(c.crl, o.crl)
}

// readTries bounds how often files are read that somebody is replacing.
const readTries = 5

// read reads the files, a certificate and a key of one moment: it reads the
// certificate again after the key, until there was no other meanwhile.
func (f Files) read() (contents, error) {
	var c contents
	var err error
	if c.cert, err = os.ReadFile(f.Cert); err != nil {
		return c, err
	}
	for range readTries {
		if c.key, err = ReadSecret(f.Key); err != nil {
			return c, err
		}
		again, err := os.ReadFile(f.Cert)
		if err != nil {
			return c, err
		}
		if bytes.Equal(c.cert, again) {
			break
		}
		c.cert = again
	}
	if c.ca, err = os.ReadFile(f.CA); err != nil {
		return c, err
	}
	if c.crl, err = os.ReadFile(f.crl()); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return c, err
}

func (f Files) parse(c contents) (Subject, *credentials, error) {
	fail := func(err error) (Subject, *credentials, error) { return Subject{}, nil, err }
	authorities, err := parseAuthorities(f.CA, c.ca)
	if err != nil {
		return fail(err)
	}
	leafs, err := parseCerts(f.Cert, c.cert)
	if err != nil {
		return fail(err)
	}
	keys, err := parseKeys(f.Key, c.key)
	if err != nil {
		return fail(err)
	}
	leaf := leafs[0]
	key, ok := keyOf(leaf, keys)
	if !ok {
		return fail(fmt.Errorf("%s is not the key of %s", f.Key, f.Cert))
	}
	if issuer(leaf, authorities) == nil {
		return fail(fmt.Errorf("%s was not issued by the CA of %s: %w", f.Cert, f.CA, ErrIssuer))
	}
	crl, err := parseCRL(f.crl(), c.crl, authorities)
	if err != nil {
		return fail(err)
	}
	creds, err := newCredentials(leaf, key, authorities, crl)
	if err != nil {
		return fail(err)
	}
	sub, err := SubjectOf(leaf)
	if err != nil {
		return fail(fmt.Errorf("%s: %w", f.Cert, err))
	}
	return sub, creds, nil
}

// Certificate is the subject's own, at this moment.
func (id *Identity) Certificate() *x509.Certificate { return id.current.Load().cert.Leaf }

// Expires is when that certificate ends.
func (id *Identity) Expires() time.Time { return id.Certificate().NotAfter }

// Peers are the open connections of those who use this identity.
func (id *Identity) Peers() *Peers { return &id.peers }

// Followable reports whether the identity was read from files.
func (id *Identity) Followable() bool { return id.from != Files{} }
