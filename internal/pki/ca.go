package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/weft-mesh/weft/internal/dnslabel"
	"github.com/weft-mesh/weft/tiering"
)

// backdate allows for machines whose clocks run behind the CA's: a board without
// a battery for its clock starts hours in the past, and must get into the mesh.
const backdate = 24 * time.Hour

// CA is a mesh's certificate authority.
type CA struct {
	Mesh string
	cert *x509.Certificate
	key  crypto.Signer
	// replaced are authorities before this one that the mesh still trusts.
	replaced []*x509.Certificate
	crl      *x509.RevocationList // nil: of an authority from before every one had a list
	dir      string               // that it was read from, with the register of what it issued
	lock     *flock.Flock         // of OpenCA
}

// listName is what an authority's certificate says of its list: that there is
// one, so that a list that is missing is a mistake. Nobody fetches it.
func listName(mesh string) string { return "weft://" + mesh + "/" + CRLFile }

// hasList reports whether an authority keeps a list of what is revoked, empty
// at first. Those of the first version began it with the first revocation.
func hasList(ca *x509.Certificate) bool { return len(ca.CRLDistributionPoints) > 0 }

// NewCA makes the authority of a mesh, valid from now.
func NewCA(mesh string, now time.Time, valid time.Duration) (*CA, error) {
	if !dnslabel.Valid(mesh) {
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
		CRLDistributionPoints: []string{listName(mesh)},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign CA certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse CA certificate: %w", err)
	}
	ca := &CA{Mesh: mesh, cert: cert, key: key}
	return ca, ca.revoke(nil, new(big.Int), now)
}

func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("draw serial number: %w", err)
	}
	return n, nil
}

// Replace makes an authority to follow this one, valid from now. Those who
// trust the new one's Certificates trust both, and what either revoked stays
// so.
func (ca *CA) Replace(now time.Time, valid time.Duration) (*CA, error) {
	next, err := NewCA(ca.Mesh, now, valid)
	if err != nil {
		return nil, err
	}
	next.dir = ca.dir
	for _, old := range ca.Certificates() {
		if now.Before(old.NotAfter) {
			next.replaced = append(next.replaced, old)
		}
	}
	if ca.crl == nil {
		return next, nil
	}
	return next, next.revoke(ca.crl.RevokedCertificateEntries, ca.crl.Number, now)
}

// Retire trusts this authority only, and no more those that it replaced.
func (ca *CA) Retire() { ca.replaced = nil }

// Certificates are those of the authorities that the mesh trusts, the one that
// issues first.
func (ca *CA) Certificates() []*x509.Certificate {
	return append([]*x509.Certificate{ca.cert}, ca.replaced...)
}

// Issued reports whether this authority signed the certificate, and not one
// before it.
func (ca *CA) Issued(c *x509.Certificate) bool { return c.CheckSignatureFrom(ca.cert) == nil }

// knows reports whether a certificate is the mesh's: signed by an authority
// that is trusted, or, by one that is no more, on the register.
func (ca *CA) knows(c *x509.Certificate, name string) bool {
	if issuer(c, ca.Certificates()) != nil {
		return true
	}
	if ca.dir == "" {
		return false
	}
	recorded, err := readCerts(recordFile(ca.dir, name, c))
	return err == nil && recorded[0].Equal(c)
}

// Issue makes a key and certificate for the subject (its Mesh is the CA's).
// hosts are further DNS names or IP addresses that plain HTTPS clients may
// reach it at.
func (ca *CA) Issue(sub Subject, hosts []string, now time.Time, valid time.Duration) (*Identity, error) {
	for _, h := range hosts {
		if err := checkHost(h); err != nil {
			return nil, err
		}
	}
	return ca.issue(sub, hosts, now, valid)
}

func (ca *CA) issue(sub Subject, hosts []string, now time.Time, valid time.Duration) (*Identity, error) {
	sub.Mesh = ca.Mesh
	if err := sub.issuable(); err != nil {
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
		Subject:      pkix.Name{CommonName: sub.Name, Organization: []string{ca.Mesh}},
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
	c, err := newCredentials(leaf, key, ca.Certificates(), ca.crl)
	if err != nil {
		return nil, err
	}
	return newIdentity(sub, Files{}, c), nil
}

// Life is how long a certificate is valid if nothing else is said.
const Life = 365 * 24 * time.Hour

// Renew issues a certificate that says what an old one does, with a key of its
// own. It is valid from now for as long as is said or, if that is 0, as the
// old one was. If that one ended with its authority nobody knows what it was
// to be, and it is Life. A machine's certificate that is older than tiers in
// them is given one.
func (ca *CA) Renew(old *x509.Certificate, tier tiering.Tier, now time.Time, valid time.Duration) (*Identity, error) {
	sub, err := SubjectOf(old)
	if err != nil {
		return nil, err
	}
	if sub.Mesh != ca.Mesh {
		return nil, fmt.Errorf("%w: %s is of another mesh than %s", ErrName, sub, ca.Mesh)
	}
	// Whoever can write into the directory of a certificate must not be able to
	// choose what it says.
	if !ca.knows(old, sub.Name) {
		return nil, fmt.Errorf("%w: a certificate of %s with the serial number %s", ErrIssuer, sub, serial(old.SerialNumber))
	}
	if tier != 0 && sub.Tier != 0 && tier != sub.Tier {
		return nil, fmt.Errorf("%w: %s is of tier %s, not %s: issue another certificate for another tier", ErrName, sub, sub.Tier, tier)
	}
	if sub.Tier == 0 {
		sub.Tier = tier
	}
	var hosts []string
	for _, name := range old.DNSNames {
		if !strings.HasSuffix(name, "."+sub.Mesh+meshDomain) {
			hosts = append(hosts, name)
		}
	}
	for _, ip := range old.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	if valid == 0 {
		valid = ca.life(old)
	}
	// Hosts that the first version took without a look stay as they are.
	return ca.issue(sub, hosts, now, valid)
}

// life is how long a certificate was meant to be valid.
func (ca *CA) life(c *x509.Certificate) time.Duration {
	by := issuer(c, ca.Certificates())
	if by == nil || c.NotAfter.Equal(by.NotAfter) {
		return Life
	}
	valid := c.NotAfter.Sub(c.NotBefore)
	if valid > backdate { // or it was made when certificates began later
		valid -= backdate
	}
	return valid
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
