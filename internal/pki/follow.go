package pki

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// The pace of a Follower.
const (
	lookEvery  = 5 * time.Second
	remindEach = 24 * time.Hour
)

// What is left when a certificate's end is warned of, and when it is urgent.
const (
	Soon   = 30 * 24 * time.Hour
	Urgent = 7 * 24 * time.Hour
)

// Follower keeps an identity as its files are, so that certificates, keys,
// authorities and what is revoked are exchanged without a restart. Connections
// whose peer is not trusted any more it ends: see [Peers].
//
// What cannot be used is warned of, and what was there before goes on. For the
// polled files that takes two looks, since somebody may be copying them.
type Follower struct {
	id     *Identity
	now    <-chan os.Signal
	log    *slog.Logger
	seen   contents // in use
	bad    contents // as they were at the last look, if they were no good
	failed bool     // bad holds something
	warned bool     // and it was warned of
	why    error    // they were no good
}

// NewFollower returns a Follower of an identity that was read from files.
// A signal on now, which may be nil, makes it look at once.
func NewFollower(id *Identity, now <-chan os.Signal, log *slog.Logger) (*Follower, error) {
	if !id.Followable() {
		return nil, errors.New("an identity that was not read from files cannot follow them")
	}
	return &Follower{id: id, now: now, log: log}, nil
}

// Run follows the files until ctx ends, and warns of certificates that end
// soon once a day.
func (f *Follower) Run(ctx context.Context) error {
	look, remind := time.NewTicker(lookEvery), time.NewTicker(remindEach)
	defer look.Stop()
	defer remind.Stop()
	f.look(true)
	f.remind(time.Now())
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
			f.look(false)
		case <-f.now:
			f.look(true)
		case now := <-remind.C:
			f.remind(now)
		}
	}
}

// look reads the files and uses what is new.
func (f *Follower) look(asked bool) {
	now, err := f.id.from.read()
	if err == nil && now.equal(f.seen) {
		f.failed = false
		return
	}
	var (
		sub Subject
		c   *credentials
	)
	if err == nil && f.seen.crl != nil && now.crl == nil {
		err = fmt.Errorf("%s is gone: what it revoked stays revoked until a restart", f.id.from.crl())
	}
	if err == nil {
		sub, c, err = f.id.from.parse(now)
	}
	if err == nil && !f.id.mayBecome(sub) {
		err = fmt.Errorf("%s is of %s now: a node that becomes another one needs a restart", f.id.from.Cert, sub)
	}
	old := f.id.current.Load()
	if err == nil {
		err = f.id.from.worse(old, c, time.Now())
	}
	if err != nil {
		f.complain(now, err, asked)
		return
	}
	f.failed = false
	f.id.current.Store(c)
	f.seen = now
	defer f.part()
	if old.cert.Leaf.Equal(c.cert.Leaf) && old.pool.Equal(c.pool) && sameList(old.crl, c.crl) {
		return // nothing but the form has changed, or it is the first look
	}
	f.log.Info("new certificates in use", "subject", sub, "valid_until", c.cert.Leaf.NotAfter,
		"authorities", len(c.authorities), "revoked", len(c.revoked))
	f.remind(time.Now())
}

// part ends the connections to those who are not trusted any more.
func (f *Follower) part() {
	for _, d := range f.id.peers.drop() {
		sub, _ := SubjectOf(d.leaf) // it was admitted once
		f.log.Warn("closed the connections to a peer whose certificate is not trusted any more", "peer", sub.Name,
			"subject", sub, "serial", serial(d.leaf.SerialNumber), "connections", d.conns, "err", d.why)
	}
}

// worse says why what was read must not take the place of what is in use: a
// list of these authorities that trusts again what they have revoked, or a
// certificate that is of no use where the one before is.
func (f Files) worse(old, now *credentials, at time.Time) error {
	if related(old.authorities, now.authorities) && old.crl != nil {
		back := now.crl == nil || now.crl.Number.Cmp(old.crl.Number) < 0
		for s := range old.revoked {
			back = back || !now.revoked[s]
		}
		if back {
			return fmt.Errorf("%w: %s does not have all that is revoked: copy the authority's", ErrOlder, f.crl())
		}
	}
	err := now.usable(now.cert.Leaf, at)
	if err != nil && now.usable(old.cert.Leaf, at) == nil {
		return fmt.Errorf("%s is of no use: %w", f.Cert, err)
	}
	return nil
}

// usable checks a node's own certificate as others will.
func (c *credentials) usable(leaf *x509.Certificate, at time.Time) error {
	return c.verify(leaf, x509.ExtKeyUsageAny, at)
}

func sameList(a, b *x509.RevocationList) bool {
	return a == b || a != nil && b != nil && bytes.Equal(a.Raw, b.Raw)
}

// mayBecome reports whether a certificate is the subject's, and of its tier
// unless the one before says none either.
func (id *Identity) mayBecome(now Subject) bool {
	if had, err := SubjectOf(id.Certificate()); err == nil && had.Tier == 0 && (now.Tier == 0 || id.Subject.Tier == 0) {
		now.Tier = id.Subject.Tier
	}
	return now == id.Subject
}

func (f *Follower) complain(now contents, err error, asked bool) {
	again := f.failed && f.bad.equal(now)
	if !again {
		f.warned = false
	}
	f.bad, f.failed, f.why = now, true, err
	if (again || asked) && !f.warned {
		f.warned = true
		f.unusable()
	}
}

func (f *Follower) unusable() {
	f.log.Warn("the certificates on disk cannot be used, those before stay in use", "err", f.why)
}

// remind warns of what ends soon or is revoked, and of files that still cannot
// be used: a node must not go on for months on what is no longer there.
func (f *Follower) remind(now time.Time) {
	if f.failed && f.warned {
		f.unusable()
	}
	c := f.id.current.Load()
	if c.revoked[serial(c.cert.Leaf.SerialNumber)] {
		f.log.Error("this node's certificate is revoked: the others refuse it", "file", f.id.from.Cert)
	}
	f.ends(now, c.cert.Leaf, f.id.from.Cert, "weft ca renew "+f.id.Subject.Name)
	if len(c.authorities) > 0 {
		f.ends(now, c.authorities[0], f.id.from.CA, "weft ca renew --authority")
	}
}

func (f *Follower) ends(now time.Time, c *x509.Certificate, file, remedy string) {
	left := c.NotAfter.Sub(now)
	if left > Soon {
		return
	}
	level, text := slog.LevelWarn, "a certificate expires soon"
	switch {
	case left <= 0:
		level, text = slog.LevelError, "a certificate has expired"
	case left <= Urgent:
		level = slog.LevelError
	}
	f.log.Log(context.Background(), level, text, "file", file, "on", c.NotAfter.Format(time.DateOnly),
		"days_left", int(left/(24*time.Hour)), "remedy", remedy)
}
