package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// The files that a CA and an identity are kept in.
const (
	CACertFile = "ca.crt"
	CAKeyFile  = "ca.key"
)

// backdate allows for machines whose clocks run behind the CA's.
const backdate = 5 * time.Minute

// CA is a mesh's certificate authority.
type CA struct {
	Mesh string
	cert *x509.Certificate
	key  crypto.Signer
}

// NewCA makes the authority of a mesh, valid from now.
func NewCA(mesh string, now time.Time, valid time.Duration) (*CA, error) {
	if !label.MatchString(mesh) {
		return nil, fmt.Errorf("%w: mesh name %q: use 1 to 63 lower-case letters, digits and hyphens", ErrName, mesh)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate CA key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	tmpl := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: mesh + " mesh CA", Organization: []string{mesh}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(valid),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign CA certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse CA certificate: %w", err)
	}
	return &CA{Mesh: mesh, cert: cert, key: key}, nil
}

func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("draw serial number: %w", err)
	}
	return n, nil
}

// Issue makes a key and certificate for the subject (its Mesh is the CA's).
// hosts are further DNS names or IP addresses that plain HTTPS clients may
// reach it at.
func (ca *CA) Issue(role Role, name string, hosts []string, now time.Time, valid time.Duration) (*Identity, error) {
	sub := Subject{Mesh: ca.Mesh, Role: role, Name: name}
	if err := sub.validate(); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate key of %s: %w", sub, err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name, Organization: []string{ca.Mesh}},
		NotBefore:    now.Add(-backdate),
		NotAfter:     minTime(now.Add(valid), ca.cert.NotAfter),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:     sub.dnsNames(),
	}
	tmpl.URIs = append(tmpl.URIs, sub.uri())
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate of %s: %w", sub, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse certificate of %s: %w", sub, err)
	}
	return &Identity{
		Subject: sub,
		cert:    tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf},
		ca:      ca.cert,
	}, nil
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Save writes ca.crt and ca.key (readable by the owner only) to dir. It never
// overwrites an existing authority.
func (ca *CA) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("save CA: %w", err)
	}
	if err := writeKey(filepath.Join(dir, CAKeyFile), ca.key); err != nil {
		return err
	}
	return writeNew(filepath.Join(dir, CACertFile), 0o644, "CERTIFICATE", ca.cert.Raw)
}

// LoadCA reads what Save wrote.
func LoadCA(dir string) (*CA, error) {
	cert, err := readCert(filepath.Join(dir, CACertFile))
	if err != nil {
		return nil, err
	}
	key, err := readKey(filepath.Join(dir, CAKeyFile))
	if err != nil {
		return nil, err
	}
	if len(cert.Subject.Organization) != 1 || !cert.IsCA {
		return nil, fmt.Errorf("%w: %s is not the certificate of a mesh CA", ErrPEM, filepath.Join(dir, CACertFile))
	}
	return &CA{Mesh: cert.Subject.Organization[0], cert: cert, key: key}, nil
}

func writeKey(path string, key crypto.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	return writeNew(path, 0o600, "PRIVATE KEY", der)
}

// writeNew writes a PEM file that does not exist yet.
func writeNew(path string, mode os.FileMode, kind string, der []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("%w (remove it first if it is no longer needed)", err)
	}
	if err := pem.Encode(f, &pem.Block{Type: kind, Bytes: der}); err != nil {
		_ = f.Close()
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Close()
}

func readPEM(path, kind string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("%w: %s: want a %s block", ErrPEM, path, kind)
	}
	return block.Bytes, nil
}

func readCert(path string) (*x509.Certificate, error) {
	der, err := readPEM(path, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrPEM, path, err)
	}
	return c, nil
}

func readKey(path string) (crypto.Signer, error) {
	der, err := readPEM(path, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrPEM, path, err)
	}
	s, ok := k.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: %s: a key that cannot sign", ErrPEM, path)
	}
	return s, nil
}
