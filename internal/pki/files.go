package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/gofrs/flock"
)

// The files of an authority. Everybody else has the first and the third beside
// their own.
const (
	CACertFile = "ca.crt"
	CAKeyFile  = "ca.key"
	CRLFile    = "ca.crl"
	caLockFile = "ca.lock"
)

// Kinds of PEM blocks.
const (
	certificateBlock = "CERTIFICATE"
	keyBlock         = "PRIVATE KEY"
	crlBlock         = "X509 CRL"
)

// Save writes ca.crt, ca.crl and ca.key (readable by the owner only) to dir.
// It never overwrites an existing authority.
func (ca *CA) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("save CA: %w", err)
	}
	key, err := encodeKeys(ca.key)
	if err != nil {
		return err
	}
	if err := newPair(filepath.Join(dir, CACertFile), encodeCerts(ca.Certificates()), filepath.Join(dir, CAKeyFile), key); err != nil {
		return err
	}
	return ca.SaveRevoked(dir)
}

// Overwrite puts the authority in the place of the one that dir has, with its
// list of what is revoked.
func (ca *CA) Overwrite(dir string) error {
	// The list last: until then the one before it is signed by an authority
	// that is still trusted.
	err := replacePair(filepath.Join(dir, CACertFile), encodeCerts(ca.Certificates()), filepath.Join(dir, CAKeyFile), ca.key)
	if err != nil {
		return err
	}
	return ca.SaveRevoked(dir)
}

// OpenCA reads an authority to change what is in its directory, which it waits
// for until nobody else does, and which is the caller's until Close.
//
// An authority that the first version made, which wrote no list of what is
// revoked before there was something, is given one.
func OpenCA(dir string, now time.Time) (*CA, error) {
	if _, err := os.Stat(filepath.Join(dir, CACertFile)); err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(dir, caLockFile))
	if err := lock.Lock(); err != nil {
		return nil, err
	}
	ca, err := loadToChange(dir, now)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	ca.lock = lock
	return ca, nil
}

func loadToChange(dir string, now time.Time) (*CA, error) {
	if err := sweep(filepath.Join(dir, CAKeyFile)); err != nil {
		return nil, err
	}
	ca, err := LoadCA(dir)
	if err != nil || ca.crl != nil || !now.Before(ca.cert.NotAfter) {
		return ca, err
	}
	if err := ca.revoke(nil, new(big.Int), now); err != nil {
		return nil, err
	}
	return ca, ca.SaveRevoked(dir)
}

// Close lets others change the directory that OpenCA has read.
func (ca *CA) Close() error { return ca.lock.Close() }

// LoadCA reads what Save or Overwrite wrote.
func LoadCA(dir string) (*CA, error) {
	certFile, keyFile := filepath.Join(dir, CACertFile), filepath.Join(dir, CAKeyFile)
	b, err := os.ReadFile(certFile)
	if err != nil {
		return nil, err
	}
	certs, err := parseAuthorities(certFile, b)
	if err != nil {
		return nil, err
	}
	keys, err := readKeys(keyFile)
	if err != nil {
		return nil, err
	}
	key, ok := keyOf(certs[0], keys)
	if !ok {
		return nil, fmt.Errorf("%s is not the key of %s", keyFile, certFile)
	}
	ca := &CA{Mesh: meshOf(certs[0]), cert: certs[0], key: key, replaced: certs[1:], dir: dir}
	ca.crl, err = readCRL(filepath.Join(dir, CRLFile), certs)
	if errors.Is(err, ErrNoList) {
		err = fmt.Errorf("%w; without it, what was revoked would be trusted again: copy the newest from a machine of the mesh", err)
	}
	return ca, err
}

// SaveRevoked writes the list of what is revoked to dir, in the place of an
// older one.
func (ca *CA) SaveRevoked(dir string) error {
	if ca.crl == nil {
		return nil
	}
	return writeCRL(dir, ca.crl, ca.Certificates())
}

// writeCRL puts a list in the place of an older one, and never of a newer one
// by these authorities: that would trust again what it revoked.
func writeCRL(dir string, crl *x509.RevocationList, authorities []*x509.Certificate) error {
	path := filepath.Join(dir, CRLFile)
	switch there, err := readCRL(path, authorities); {
	case err != nil || there == nil: // none, or none that anyone could use
	case bytes.Equal(there.Raw, crl.Raw):
		return nil
	case crl.Number.Cmp(there.Number) <= 0:
		return fmt.Errorf("%w: number %s, and %s has number %s", ErrOlder, crl.Number, path, there.Number)
	}
	return WriteFile(path, 0o644, pem.EncodeToMemory(&pem.Block{Type: crlBlock, Bytes: crl.Raw}))
}

// Save writes ca.crt, ca.crl, NAME.crt and NAME.key (readable by the owner
// only) to dir. It never overwrites a key.
func (id *Identity) Save(dir string) error {
	key, err := encodeKeys(id.key())
	if err != nil {
		return err
	}
	if err := id.saveAuthorities(dir); err != nil {
		return err
	}
	certFile, keyFile := id.files(dir)
	return newPair(certFile, encodeCerts([]*x509.Certificate{id.Certificate()}), keyFile, key)
}

// Overwrite does what Save does in the place of an older key and certificate.
// Whoever reads the two files finds a pair at every moment, also if the
// machine fails in between.
func (id *Identity) Overwrite(dir string) error {
	if err := id.saveAuthorities(dir); err != nil {
		return err
	}
	certFile, keyFile := id.files(dir)
	return replacePair(certFile, encodeCerts([]*x509.Certificate{id.Certificate()}), keyFile, id.key())
}

func (id *Identity) files(dir string) (cert, key string) {
	base := filepath.Join(dir, id.Subject.Name)
	return base + ".crt", base + ".key"
}

func (id *Identity) key() crypto.Signer {
	k, _ := id.current.Load().cert.PrivateKey.(crypto.Signer) // newCredentials has it so
	return k
}

// saveAuthorities writes ca.crt and ca.crl unless what is there is of another
// mesh's authority.
func (id *Identity) saveAuthorities(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	c := id.current.Load()
	path, want := filepath.Join(dir, CACertFile), encodeCerts(c.authorities)
	old, err := readCerts(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = writeNew(path, 0o644, want)
	case err != nil:
	case !related(old, c.authorities):
		err = fmt.Errorf("%s is the certificate of another CA: save %s elsewhere", path, id.Subject)
	case !bytes.Equal(encodeCerts(old), want):
		err = WriteFile(path, 0o644, want)
	}
	if err != nil || c.crl == nil {
		return err
	}
	// A list that was written since this one was made stays.
	if err := writeCRL(dir, c.crl, c.authorities); !errors.Is(err, ErrOlder) {
		return err
	}
	return nil
}

// related reports whether two lists share a certificate.
func related(a, b []*x509.Certificate) bool {
	for _, x := range a {
		for _, y := range b {
			if x.Equal(y) {
				return true
			}
		}
	}
	return false
}

// newPair writes a certificate and its key, both or none.
func newPair(certFile string, cert []byte, keyFile string, key []byte) error {
	if err := sweep(keyFile); err != nil {
		return err
	}
	if err := writeNew(keyFile, 0o600, key); err != nil {
		return err
	}
	if err := writeNew(certFile, 0o644, cert); err != nil {
		return errors.Join(err, os.Remove(keyFile))
	}
	return nil
}

// replacePair puts a certificate and its key in the place of another pair. In
// between, the key file holds both keys, of which readers take the one that
// fits, so there is no moment at which the two files are no pair.
func replacePair(certFile string, cert []byte, keyFile string, key crypto.Signer) error {
	if err := sweep(keyFile); err != nil {
		return err
	}
	old, err := readKeys(keyFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	both, err := encodeKeys(append(old, key)...)
	if err != nil {
		return err
	}
	only, err := encodeKeys(key)
	if err != nil {
		return err
	}
	if err := WriteFile(keyFile, 0o600, both); err != nil {
		return err
	}
	if err := WriteFile(certFile, 0o644, cert); err != nil {
		return err
	}
	return WriteFile(keyFile, 0o600, only)
}

func encodeCerts(certs []*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: c.Raw})...)
	}
	return out
}

func encodeKeys(keys ...crypto.Signer) ([]byte, error) {
	var out []byte
	for _, k := range keys {
		der, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			return nil, fmt.Errorf("encode key: %w", err)
		}
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der})...)
	}
	return out, nil
}

// maxFile is more than any file of an authority holds, in bytes.
const maxFile = 16 << 20

// ReadSecret reads a file that nobody but its owner may be able to read.
func ReadSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	// Windows has other means, which these bits say nothing about.
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("%w: %s has mode %04o: chmod 600 %s", ErrExposed, path, mode, path)
	}
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// blocks are a file's PEM blocks of a kind: one at least, and no others.
func blocks(path, kind string, content []byte) ([][]byte, error) {
	var out [][]byte
	for {
		block, rest := pem.Decode(content)
		if block == nil {
			break
		}
		if block.Type != kind {
			return nil, fmt.Errorf("%w: %s: want a %s block, found %s", ErrPEM, path, kind, block.Type)
		}
		out, content = append(out, block.Bytes), rest
	}
	// A file that is still being written ends within a block.
	if len(out) == 0 || len(bytes.TrimSpace(content)) > 0 {
		return nil, fmt.Errorf("%w: %s: want a %s block", ErrPEM, path, kind)
	}
	return out, nil
}

func readCerts(path string) ([]*x509.Certificate, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseCerts(path, b)
}

func parseCerts(path string, content []byte) ([]*x509.Certificate, error) {
	ders, err := blocks(path, certificateBlock, content)
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	for _, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrPEM, path, err)
		}
		out = append(out, c)
	}
	return out, nil
}

// parseAuthorities reads those of one mesh: whatever is among them is trusted
// with all of it.
func parseAuthorities(path string, content []byte) ([]*x509.Certificate, error) {
	certs, err := parseCerts(path, content)
	if err != nil {
		return nil, err
	}
	for _, c := range certs {
		if !c.IsCA || meshOf(c) == "" {
			return nil, fmt.Errorf("%w: %s is not the certificate of a mesh CA: it holds that of %s", ErrPEM, path, c.Subject)
		}
		if meshOf(c) != meshOf(certs[0]) {
			return nil, fmt.Errorf("%w: %s holds the authorities of mesh %s and of mesh %s", ErrPEM, path, meshOf(certs[0]), meshOf(c))
		}
	}
	return certs, nil
}

// meshOf is the mesh of an authority; empty: it is none.
func meshOf(c *x509.Certificate) string {
	if len(c.Subject.Organization) != 1 {
		return ""
	}
	return c.Subject.Organization[0]
}

func readKeys(path string) ([]crypto.Signer, error) {
	b, err := ReadSecret(path)
	if err != nil {
		return nil, err
	}
	return parseKeys(path, b)
}

func parseKeys(path string, content []byte) ([]crypto.Signer, error) {
	ders, err := blocks(path, keyBlock, content)
	if err != nil {
		return nil, err
	}
	var out []crypto.Signer
	for _, der := range ders {
		k, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrPEM, path, err)
		}
		s, ok := k.(crypto.Signer)
		if !ok {
			return nil, fmt.Errorf("%w: %s: a key that cannot sign", ErrPEM, path)
		}
		out = append(out, s)
	}
	return out, nil
}

// keyOf is the key that belongs to a certificate.
func keyOf(c *x509.Certificate, keys []crypto.Signer) (crypto.Signer, bool) {
	for _, k := range keys {
		if pub, ok := k.Public().(interface{ Equal(crypto.PublicKey) bool }); ok && pub.Equal(c.PublicKey) {
			return k, true
		}
	}
	return nil, false
}
