package pki

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"slices"
	"time"
)

// Revoke adds certificates to those that the mesh refuses, from now on.
func (ca *CA) Revoke(now time.Time, certs ...*x509.Certificate) error {
	var (
		entries []x509.RevocationListEntry
		number  = new(big.Int)
	)
	if ca.crl != nil {
		entries, number = slices.Clone(ca.crl.RevokedCertificateEntries), ca.crl.Number
	}
	for _, c := range certs {
		if !ca.Revoked(c) {
			entries = append(entries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: now})
		}
	}
	return ca.revoke(entries, number, now)
}

// revoke makes the list of entries that comes after the one of that number.
// Serial numbers are drawn from 2^127, so those of an authority that this one
// replaced are in it too.
func (ca *CA) revoke(entries []x509.RevocationListEntry, after *big.Int, now time.Time) error {
	tmpl := &x509.RevocationList{
		Number: new(big.Int).Add(after, big.NewInt(1)), ThisUpdate: now, RevokedCertificateEntries: entries,
		// What is revoked stays so: there is no promise of a newer list.
		NextUpdate: ca.cert.NotAfter,
	}
	der, err := x509.CreateRevocationList(rand.Reader, tmpl, ca.cert, ca.key)
	if err != nil {
		return fmt.Errorf("sign the list of revoked certificates: %w", err)
	}
	ca.crl, err = x509.ParseRevocationList(der)
	return err
}

// Revoked reports whether a certificate was revoked.
func (ca *CA) Revoked(c *x509.Certificate) bool { return serials(ca.crl)[serial(c.SerialNumber)] }

// serial is a serial number as a key of maps.
func serial(n *big.Int) string { return n.Text(16) }

func serials(crl *x509.RevocationList) map[string]bool {
	out := map[string]bool{}
	if crl != nil {
		for _, e := range crl.RevokedCertificateEntries {
			out[serial(e.SerialNumber)] = true
		}
	}
	return out
}

// readCRL reads a list that one of the authorities signed.
func readCRL(path string, authorities []*x509.Certificate) (*x509.RevocationList, error) {
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return parseCRL(path, b, authorities)
}

// parseCRL reads the content of a list's file, nil if there is none.
func parseCRL(path string, content []byte, authorities []*x509.Certificate) (*x509.RevocationList, error) {
	switch {
	case content != nil:
	case slices.ContainsFunc(authorities, hasList):
		return nil, fmt.Errorf("%w: %s is not there: it goes with every %s", ErrNoList, path, CACertFile)
	default:
		return nil, nil //nolint:nilnil // nothing was revoked when the first version made it
	}
	ders, err := blocks(path, crlBlock, content)
	if err != nil {
		return nil, err
	}
	if len(ders) != 1 {
		return nil, fmt.Errorf("%w: %s: want one %s block", ErrPEM, path, crlBlock)
	}
	crl, err := x509.ParseRevocationList(ders[0])
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrPEM, path, err)
	}
	if crl.Number == nil {
		return nil, fmt.Errorf("%w: %s: a list without a number, which `weft ca revoke` has not made", ErrPEM, path)
	}
	for _, ca := range authorities {
		if crl.CheckSignatureFrom(ca) == nil {
			return crl, nil
		}
	}
	return nil, fmt.Errorf("%s was not signed by an authority of %s beside it", path, CACertFile)
}
