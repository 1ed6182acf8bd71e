package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Identity is a subject's certificate and key, with the CA that it trusts.
type Identity struct {
	Subject Subject
	cert    tls.Certificate
	ca      *x509.Certificate
}

// Save writes ca.crt, NAME.crt and NAME.key (readable by the owner only) to
// dir. It never overwrites a key.
func (id *Identity) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	caPath := filepath.Join(dir, CACertFile)
	switch old, err := readCert(caPath); {
	case os.IsNotExist(err):
		if err := writeNew(caPath, 0o644, "CERTIFICATE", id.ca.Raw); err != nil {
			return err
		}
	case err != nil:
		return err
	case !bytes.Equal(old.Raw, id.ca.Raw):
		return fmt.Errorf("%s is the certificate of another CA: save %s elsewhere", caPath, id.Subject)
	}
	base := filepath.Join(dir, id.Subject.Name)
	if err := writeKey(base+".key", id.cert.PrivateKey); err != nil {
		return err
	}
	return writeNew(base+".crt", 0o644, "CERTIFICATE", id.cert.Certificate[0])
}

// LoadIdentity reads an identity from its three files.
func LoadIdentity(caFile, certFile, keyFile string) (*Identity, error) {
	ca, err := readCert(caFile)
	if err != nil {
		return nil, err
	}
	leaf, err := readCert(certFile)
	if err != nil {
		return nil, err
	}
	key, err := readKey(keyFile)
	if err != nil {
		return nil, err
	}
	if pub, ok := key.Public().(*ecdsa.PublicKey); !ok || !pub.Equal(leaf.PublicKey) {
		return nil, fmt.Errorf("%s is not the key of %s", keyFile, certFile)
	}
	if err := leaf.CheckSignatureFrom(ca); err != nil {
		return nil, fmt.Errorf("%s was not issued by the CA of %s: %w", certFile, caFile, err)
	}
	sub, err := SubjectOf(leaf)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", certFile, err)
	}
	return &Identity{
		Subject: sub,
		cert:    tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf},
		ca:      ca,
	}, nil
}

func (id *Identity) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(id.ca)
	return p
}

// ServerTLS accepts peers of the same mesh that hold one of the roles
// (a coordinator holds agent too); TLS 1.3 only, certificates both ways.
func (id *Identity) ServerTLS(roles ...Role) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{id.cert},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    id.pool(),
		VerifyConnection: func(cs tls.ConnectionState) error {
			return id.check(cs, roles)
		},
	}
}

// ClientTLS connects to peers of the same mesh that may act in the role.
func (id *Identity) ClientTLS(role Role) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{id.cert},
		RootCAs:      id.pool(),
		ServerName:   serverName(id.Subject.Mesh, role),
	}
}

func (id *Identity) check(cs tls.ConnectionState, roles []Role) error {
	sub, err := SubjectOf(cs.PeerCertificates[0])
	if err != nil {
		return err
	}
	if sub.Mesh != id.Subject.Mesh {
		return fmt.Errorf("%w: %s is of another mesh than %s", ErrRole, sub, id.Subject)
	}
	for _, r := range sub.Role.acts() {
		if slices.Contains(roles, r) {
			return nil
		}
	}
	return fmt.Errorf("%w: %s may not connect here: want one of %v", ErrRole, sub, roles)
}

// Peer returns who is at the other end of a verified connection.
func Peer(cs *tls.ConnectionState) (Subject, bool) {
	if cs == nil || len(cs.PeerCertificates) == 0 {
		return Subject{}, false
	}
	s, err := SubjectOf(cs.PeerCertificates[0])
	return s, err == nil
}
