package pki

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// registerDir holds a copy of every certificate that an authority has issued,
// so that it can be revoked wherever it went.
const registerDir = "issued"

// Record keeps a copy of an identity's certificate in the authority's
// directory.
func Record(dir string, id *Identity) error {
	to := filepath.Join(dir, registerDir)
	if err := os.MkdirAll(to, 0o700); err != nil {
		return fmt.Errorf("register of certificates: %w", err)
	}
	c := id.Certificate()
	return writeNew(recordFile(dir, id.Subject.Name, c), 0o644, encodeCerts([]*x509.Certificate{c}))
}

// Forget takes back the record of a certificate that could not be written to a
// directory, unless it got there in spite of that.
func Forget(dir string, id *Identity, written string) error {
	file, _ := id.files(written)
	if f, err := Certificate(file); err == nil && f.Certificate.Equal(id.Certificate()) {
		return nil
	}
	return os.Remove(recordFile(dir, id.Subject.Name, id.Certificate()))
}

func recordFile(dir, name string, c *x509.Certificate) string {
	return filepath.Join(dir, registerDir, name+"-"+serial(c.SerialNumber)+".crt")
}

// Issued lists the certificates that the authority in dir has issued, by name
// and the one that lasts longest first: those in its register, and those that
// lie beside it from the time before there was one. Files that cannot be read
// are reported and left out: one must not keep the others from being revoked.
func Issued(dir string) (certs []*x509.Certificate, unreadable []error, err error) {
	known := map[string]*x509.Certificate{}
	for _, d := range []string{dir, filepath.Join(dir, registerDir)} {
		certs, bad, err := Certificates(d)
		if err != nil {
			return nil, nil, err
		}
		unreadable = append(unreadable, bad...)
		for _, c := range certs {
			known[serial(c.Certificate.SerialNumber)] = c.Certificate
		}
	}
	for _, c := range known {
		certs = append(certs, c)
	}
	slices.SortFunc(certs, func(a, b *x509.Certificate) int {
		return cmp.Or(cmp.Compare(a.Subject.CommonName, b.Subject.CommonName), b.NotAfter.Compare(a.NotAfter), a.SerialNumber.Cmp(b.SerialNumber))
	})
	return certs, unreadable, nil
}

// Found is a certificate of a node or operator in a file.
type Found struct {
	Certificate *x509.Certificate
	File        string
	Subject     Subject
}

// Proper reports whether the file is NAME.crt, where others are copies that
// somebody has put aside.
func (f Found) Proper() bool { return filepath.Base(f.File) == f.Subject.Name+".crt" }

// Certificate reads that of a node or operator.
func Certificate(file string) (Found, error) {
	certs, err := readCerts(file)
	if err != nil {
		return Found{}, err
	}
	s, err := SubjectOf(certs[0])
	if err != nil {
		return Found{}, fmt.Errorf("%s: %w", file, err)
	}
	return Found{Certificate: certs[0], File: file, Subject: s}, nil
}

// Certificates reads those of nodes and operators that lie in a directory.
func Certificates(dir string) (certs []Found, unreadable []error, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".crt" || e.Name() == CACertFile {
			continue
		}
		f, err := Certificate(filepath.Join(dir, e.Name()))
		if err != nil {
			unreadable = append(unreadable, err)
			continue
		}
		certs = append(certs, f)
	}
	return certs, unreadable, nil
}
