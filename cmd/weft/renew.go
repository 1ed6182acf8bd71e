package main

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/tiering"
)

// exitExpiring is `weft ca list --within`'s exit code when something ends by
// then.
const exitExpiring = 1

// issuedTo is one certificate that an authority has issued.
type issuedTo struct {
	Name    string    `json:"name"`
	Role    pki.Role  `json:"role"`
	Tier    string    `json:"tier,omitempty"`
	Subject string    `json:"subject"`
	Serial  string    `json:"serial"`
	Expires time.Time `json:"expires"`
	// Status is valid, expiring (within 30 days), expired, revoked, replaced
	// (a later one was issued to the same subject) or authority-replaced
	// (issued by an authority that was replaced).
	Status string `json:"status"`
	cert   *x509.Certificate
}

func caListCommand(env *environment) *cobra.Command {
	within := lapse(0)
	c := &cobra.Command{
		Use: "list", Short: "List the certificates issued and when they end", Args: exactly(0), ValidArgsFunction: cobra.NoFileCompletions,
		Long: `List the certificates issued and when they end.

With --within 30d only those in use that end within 30 days or have ended; the
exit code is 1 if there are any, so that a timer can tell.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir := cmd.Flag("dir").Value.String()
			ca, err := pki.LoadCA(dir)
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("no authority in %s (%w): --dir says where it is", dir, err)
			} else if err != nil {
				return err
			}
			certs, err := issued(cmd, dir)
			if err != nil {
				return err
			}
			now := time.Now()
			all := list(ca, certs, now)
			if within > 0 {
				all = slices.DeleteFunc(all, func(l issuedTo) bool {
					return l.Status == "revoked" || l.Status == "replaced" || l.Expires.Sub(now) > time.Duration(within)
				})
			}
			if err := env.print(cmd.OutOrStdout(), orNone(all), func(p *page) { showCertificates(p, ca, all, now) }); err != nil {
				return err
			}
			for _, l := range all {
				if l.Status == "expiring" || l.Status == "expired" {
					fmt.Fprintf(cmd.ErrOrStderr(), "%s %s: `weft ca renew %s`\n", l.Name, ends(now, l.Expires), l.Name)
				}
			}
			if end := ca.Certificates()[0].NotAfter; end.Sub(now) < pki.Soon {
				fmt.Fprintf(cmd.ErrOrStderr(), "the authority %s: `weft ca renew --authority`\n", ends(now, end))
			}
			if within > 0 && len(all) > 0 {
				return exitCode(exitExpiring)
			}
			return nil
		},
	}
	c.Flags().Var(&within, "within", "only what ends within so many days, as in 30d; exit code 1 if there is any")
	return c
}

// issued is pki.Issued with a warning of each file that cannot be read.
func issued(cmd *cobra.Command, dir string) ([]*x509.Certificate, error) {
	certs, unreadable, err := pki.Issued(dir)
	for _, bad := range unreadable {
		fmt.Fprintf(cmd.ErrOrStderr(), "weft: left out: %v\n", bad)
	}
	return certs, err
}

func orNone(all []issuedTo) []issuedTo {
	if all == nil {
		return []issuedTo{}
	}
	return all
}

func ends(now, end time.Time) string {
	if end.Before(now) {
		return "expired on " + end.Format(time.DateOnly)
	}
	return fmt.Sprintf("expires in %d days", int(end.Sub(now)/day))
}

func compare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// class is whom a role is of: a node and an operator may have one name.
func class(r pki.Role) string {
	if r.Machine() {
		return "a node"
	}
	return "an operator"
}

// list says of each certificate how it is. Of a node's or operator's, the one
// that was made last comes first, and is the one in use.
func list(ca *pki.CA, certs []*x509.Certificate, now time.Time) []issuedTo {
	// Times have whole seconds, so what was renewed at once may tell by its
	// authority only.
	certs = slices.SortedStableFunc(slices.Values(certs), func(a, b *x509.Certificate) int {
		return cmp.Or(cmp.Compare(a.Subject.CommonName, b.Subject.CommonName), -compare(ca.Issued(a), ca.Issued(b)), b.NotBefore.Compare(a.NotBefore))
	})
	var out []issuedTo
	type holder struct{ class, name string }
	current := map[holder]bool{}
	for _, c := range certs {
		s, err := pki.SubjectOf(c)
		if err != nil {
			continue // pki.Issued has read it
		}
		l := issuedTo{Name: s.Name, Role: s.Role, Subject: s.String(), Serial: c.SerialNumber.Text(16), Expires: c.NotAfter, cert: c}
		if s.Tier != 0 {
			l.Tier = s.Tier.String()
		}
		left, who := c.NotAfter.Sub(now), holder{class(s.Role), s.Name}
		switch {
		case ca.Revoked(c):
			l.Status = "revoked"
		case current[who]:
			l.Status = "replaced"
		case left <= 0:
			l.Status = "expired"
		case left < pki.Soon:
			l.Status = "expiring"
		case !ca.Issued(c):
			l.Status = "authority-replaced"
		default:
			l.Status = "valid"
		}
		if l.Status != "revoked" {
			current[who] = true
		}
		out = append(out, l)
	}
	return out
}

// holderOf is a name that no node and operator share.
func holderOf(l issuedTo) string {
	if l.Role == pki.Operator {
		return l.Name + " (operator)"
	}
	return l.Name
}

func showCertificates(p *page, ca *pki.CA, all []issuedTo, now time.Time) {
	for i, c := range ca.Certificates() {
		what := "authority of mesh " + ca.Mesh
		if i > 0 {
			what = "replaced, but trusted until `weft ca retire`"
		}
		p.linef("%s, %s (%s)", what, ends(now, c.NotAfter), c.NotAfter.Format(time.DateOnly))
	}
	var rows [][]string
	for _, l := range all {
		rows = append(rows, []string{l.Name, string(l.Role), cmp.Or(l.Tier, "-"), l.Expires.Format(time.DateOnly), strconv.Itoa(int(l.Expires.Sub(now) / day)), l.Status})
	}
	p.table("NAME|ROLE|TIER|EXPIRES|>DAYS LEFT|STATUS", rows)
}

func caRenewCommand(env *environment) *cobra.Command {
	var (
		all, authority bool
		within         lapse
		tier, out      string
		days           int
	)
	c := &cobra.Command{
		Use: "renew [NAME…]", Short: "Renew certificates, or the authority itself", ValidArgsFunction: cobra.NoFileCompletions,
		Long: `Renew certificates: the same subject, hosts and length (--days says another; a
year, if the authority's end had cut it), a new key. The files are replaced, a
pair at every moment; copy them to the node, which uses them without a restart.

With --authority the authority itself is replaced. ca.crt then holds the new
and the old one, so that both are trusted, and the new one signs ca.crl: copy
both to every machine, then ` + "`weft ca renew --all`" + ` and copy those, then
` + "`weft ca retire`" + ` and copy ca.crt and ca.crl once more.`,
		RunE: func(cmd *cobra.Command, names []string) error {
			dir := cmd.Flag("dir").Value.String()
			modes := 0
			for _, on := range []bool{len(names) > 0, all, authority} {
				if on {
					modes++
				}
			}
			if modes != 1 {
				return wrongUsage("say what to renew: NAME…, --all, or --authority")
			}
			if within > 0 && !all {
				return wrongUsage("--within goes with --all")
			}
			var valid time.Duration // as before
			if cmd.Flag("days").Changed || authority {
				if !cmd.Flag("days").Changed {
					days = authorityDays
				}
				var err error
				if valid, err = validity(days); err != nil {
					return err
				}
			}
			if authority {
				if tier != "" || out != "" {
					return wrongUsage("--tier and --out are of nodes, and do not go with --authority")
				}
				return renewAuthority(cmd, env, dir, valid)
			}
			if tier != "" && len(names) != 1 {
				return wrongUsage("--tier is for one NAME, whose certificate is older than tiers in them")
			}
			return renewNodes(cmd, env, dir, cmp.Or(out, dir), names, tier, time.Duration(within), valid)
		},
	}
	f := c.Flags()
	f.BoolVar(&all, "all", false, "every certificate beside the authority (or in --out), except those revoked")
	f.Var(&within, "within", "with --all: only those that end within so many days, as in 30d")
	f.BoolVar(&authority, "authority", false, "replace the authority itself; the old one stays trusted until `weft ca retire`")
	f.IntVar(&days, "days", 0, fmt.Sprintf("days that the new ones are valid (default as before; with --authority %d)", authorityDays))
	f.StringVar(&tier, "tier", "", "tier of a machine whose old certificate has none")
	f.StringVar(&out, "out", "", "directory of the certificates (default that of the authority)")
	complete(c, "tier", tierNames()...)
	return c
}

func renewNodes(cmd *cobra.Command, env *environment, dir, out string, names []string, tier string, within, valid time.Duration) error {
	var t tiering.Tier
	if tier != "" {
		var err error
		if t, err = tiering.ParseTier(tier); err != nil {
			return wrongUsage("--tier: %w", err)
		}
	}
	ca, err := openCA(dir)
	if err != nil {
		return err
	}
	defer ca.Close()
	old, err := toRenew(ca, out, names, within, time.Now())
	if err != nil {
		return err
	}
	// All are made before one is written.
	var ids []*pki.Identity
	for _, c := range old {
		id, err := ca.Renew(c.Certificate, t, time.Now(), valid)
		switch {
		case errors.Is(err, pki.ErrName):
			return badName(fmt.Errorf("%w (`weft ca renew %s --tier TIER` adds one to a certificate from before)", err, c.Subject.Name))
		case errors.Is(err, pki.ErrIssuer):
			return fmt.Errorf("%s: %w: how did it get there? `weft ca list` shows what the authority has issued", c.File, err)
		case err != nil:
			return err
		}
		ids = append(ids, id)
	}
	made := []keyFiles{}
	for _, id := range ids {
		if err := deliver(dir, out, id, id.Overwrite); err != nil {
			return err
		}
		made = append(made, filesOf(id, out))
	}
	return env.print(cmd.OutOrStdout(), made, func(p *page) {
		if len(made) == 0 {
			p.linef("nothing to renew")
		}
		for _, m := range made {
			p.linef("renewed %s, valid until %s: give it %s, %s, %s and %s", m.Subject, m.Expires.Format(time.DateOnly), m.CA, m.CRL, m.Certificate, m.Key)
		}
	})
}

// toRenew are the certificates in a directory that are meant: those that nodes
// are given, NAME.crt, and no copies of them.
func toRenew(ca *pki.CA, dir string, names []string, within time.Duration, now time.Time) ([]pki.Found, error) {
	if len(names) == 0 {
		certs, unreadable, err := pki.Certificates(dir)
		if err := errors.Join(append(unreadable, err)...); err != nil {
			return nil, err
		}
		return slices.DeleteFunc(certs, func(c pki.Found) bool {
			return !c.Proper() || ca.Revoked(c.Certificate) || within > 0 && c.Certificate.NotAfter.Sub(now) > within
		}), nil
	}
	var out []pki.Found
	for _, name := range names {
		c, err := pki.Certificate(filepath.Join(dir, name+".crt"))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("no certificate of %s in %s: --out says where it is, `weft ca issue %s` makes one", name, dir, name)
		case err != nil:
			return nil, err
		case !c.Proper():
			return nil, fmt.Errorf("%s is the certificate of %s: what is to be renewed?", c.File, c.Subject)
		case ca.Revoked(c.Certificate):
			return nil, fmt.Errorf("%s is revoked: remove %s and its key, then `weft ca issue %s`", name, c.File, name)
		}
		out = append(out, c)
	}
	return out, nil
}

func renewAuthority(cmd *cobra.Command, env *environment, dir string, valid time.Duration) error {
	ca, err := changeCA(dir)
	if err != nil {
		return err
	}
	defer ca.Close()
	next, err := ca.Replace(time.Now(), valid)
	if err != nil {
		return err
	}
	if err := next.Overwrite(dir); err != nil {
		return err
	}
	files := authorityIn(dir)
	made := keyFiles{Subject: next.Mesh, Certificate: files.CA, Key: filepath.Join(dir, pki.CAKeyFile), authorityFiles: files, Expires: next.Certificates()[0].NotAfter}
	return env.print(cmd.OutOrStdout(), made, func(p *page) {
		p.linef("made a new authority of mesh %s, valid until %s; the one before stays trusted", made.Subject, made.Expires.Format(time.DateOnly))
		p.linef("1. copy %s, in this order, to every machine, and wait until all have them", files.names())
		p.linef("2. `weft ca renew --all`, and copy each node its certificate and key")
		p.linef("3. `weft ca retire`, and copy %s once more", files.names())
	})
}

func caRetireCommand(env *environment) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use: "retire", Short: "Trust no longer the authorities that were replaced", Args: exactly(0), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir := cmd.Flag("dir").Value.String()
			ca, err := openCA(dir)
			if err != nil {
				return err
			}
			defer ca.Close()
			certs, err := issued(cmd, dir)
			if err != nil {
				return err
			}
			var left []string
			for _, l := range list(ca, certs, time.Now()) {
				if (l.Status == "authority-replaced" || l.Status == "expiring") && !ca.Issued(l.cert) {
					left = append(left, holderOf(l))
				}
			}
			if len(left) > 0 && !force {
				return fmt.Errorf("the authority before issued what %s still have: `weft ca renew --all` first, and copy the files; --force leaves them behind", strings.Join(left, ", "))
			}
			ca.Retire()
			if err := ca.Overwrite(dir); err != nil {
				return err
			}
			files := authorityIn(dir)
			return env.print(cmd.OutOrStdout(), files, func(p *page) {
				p.linef("only the present authority is trusted now: copy %s to every machine", files.names())
			})
		},
	}
	c.Flags().BoolVar(&force, "force", false, "even if certificates of theirs are in use")
	return c
}

// lapse is a flag's value: a number of days, or a Go duration.
type lapse time.Duration

func (l *lapse) String() string {
	if *l == 0 {
		return ""
	}
	return strconv.Itoa(int(time.Duration(*l)/day)) + "d"
}

func (l *lapse) Type() string { return "duration" }

func (l *lapse) Set(v string) error {
	d, err := time.ParseDuration(v)
	if n, ok := strings.CutSuffix(v, "d"); ok {
		var whole int
		whole, err = strconv.Atoi(n)
		d = time.Duration(min(whole, maxDays)) * day
	}
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is no time: use days, as in 30d", v)
	}
	*l = lapse(d)
	return nil
}
