package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/tiering"
)

const (
	day           = 24 * time.Hour
	authorityDays = 10 * 365
	nodeDays      = int(pki.Life / day)
	maxDays       = 100 * 365

	// gossipKeySize is the KeySize of agent/gossip, which weft does not link;
	// a test compares them.
	gossipKeySize = 32
)

func keygenCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use: "keygen", Short: "Print a new gossip key: the same on every node of a mesh", Args: exactly(0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := make([]byte, gossipKeySize)
			_, _ = rand.Read(b) // never fails
			key := base64.StdEncoding.EncodeToString(b)
			return env.print(cmd.OutOrStdout(), map[string]string{"key": key}, func(p *page) { p.linef("%s", key) })
		},
	}
}

func caCommand(env *environment) *cobra.Command {
	c := group("ca", "The mesh's own certificate authority", caInitCommand(env), caIssueCommand(env),
		caListCommand(env), caRenewCommand(env), caRevokeCommand(env), caRetireCommand(env))
	c.PersistentFlags().String("dir", "ca", "directory of the authority")
	return c
}

// keyFiles are what a command has written, for scripts.
type keyFiles struct {
	Subject     string `json:"subject"`
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
	authorityFiles
	Expires time.Time `json:"expires"`
}

// authorityFiles are those that every machine and operator needs: whom to
// trust, and whom no longer. The one is worth nothing with an older other.
type authorityFiles struct {
	CA  string `json:"ca"`
	CRL string `json:"crl"`
}

func authorityIn(dir string) authorityFiles {
	return authorityFiles{CA: filepath.Join(dir, pki.CACertFile), CRL: filepath.Join(dir, pki.CRLFile)}
}

func (a authorityFiles) names() string { return a.CA + " and " + a.CRL }

func caInitCommand(env *environment) *cobra.Command {
	var (
		mesh string
		days int
	)
	c := &cobra.Command{
		Use: "init", Short: "Make the certificate authority of a new mesh", Args: exactly(0), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if mesh == "" {
				return wrongUsage("--mesh NAME is needed: how the mesh is to be called")
			}
			valid, err := validity(days)
			if err != nil {
				return err
			}
			dir := cmd.Flag("dir").Value.String()
			now := time.Now()
			ca, err := pki.NewCA(mesh, now, valid)
			if err != nil {
				return badName(err)
			}
			files, key := authorityIn(dir), filepath.Join(dir, pki.CAKeyFile)
			if err := ca.Save(dir); errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%w: an authority is never overwritten; use another directory with --dir", err)
			} else if err != nil {
				return err
			}
			made := keyFiles{Subject: mesh, Certificate: files.CA, Key: key, authorityFiles: files, Expires: now.Add(valid).UTC().Truncate(time.Second)}
			return env.print(cmd.OutOrStdout(), made, func(p *page) {
				p.linef("made the authority of mesh %s, valid until %s", mesh, made.Expires.Format(time.DateOnly))
				p.linef("%s are for every node", files.names())
				p.linef("%s is to be kept safe: who has it can join the mesh as anyone", key)
			})
		},
	}
	c.Flags().StringVar(&mesh, "mesh", "", "name of the mesh")
	c.Flags().IntVar(&days, "days", authorityDays, "days that the authority is valid")
	return c
}

func caIssueCommand(env *environment) *cobra.Command {
	var (
		role, tier, out string
		hosts           []string
		days            int
	)
	c := &cobra.Command{
		Use: "issue NAME", Short: "Issue a certificate for a node or an operator", Args: exactly(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, dir := args[0], cmd.Flag("dir").Value.String()
			r, err := pki.ParseRole(role)
			if err != nil {
				return badName(err)
			}
			t, err := tierOf(r, tier)
			if err != nil {
				return err
			}
			valid, err := validity(days)
			if err != nil {
				return err
			}
			ca, err := openCA(dir)
			if err != nil {
				return err
			}
			defer ca.Close()
			id, err := ca.Issue(pki.Subject{Role: r, Tier: t, Name: name}, hosts, time.Now(), valid)
			if err != nil {
				return badName(err)
			}
			if out == "" {
				out = dir
			}
			made := filesOf(id, out)
			if made.CA == made.Certificate {
				return wrongUsage("a node cannot be called %q: the authority's files have that name", name)
			}
			if err := deliver(dir, out, id, id.Save); errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%w: keys are never overwritten; move the old ones away, or write to another directory with --out", err)
			} else if err != nil {
				return err
			}
			return env.print(cmd.OutOrStdout(), made, func(p *page) {
				p.linef("issued a certificate to %s %s of mesh %s, valid until %s", r, name, id.Subject.Mesh, made.Expires.Format(time.DateOnly))
				p.linef("give it %s, %s, %s and %s", made.CA, made.CRL, made.Certificate, made.Key)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&role, "role", string(pki.Agent), "agent, coordinator or operator")
	f.StringVar(&tier, "tier", "", "edge, fog or cloud: a machine's, as in its configuration")
	f.StringSliceVar(&hosts, "host", nil, "names or addresses that browsers and scripts reach the node at")
	f.IntVar(&days, "days", nodeDays, "days that the certificate is valid, within those of the authority")
	f.StringVar(&out, "out", "", "directory to write to (default that of the authority)")
	complete(c, "role", string(pki.Agent), string(pki.Coordinator), string(pki.Operator))
	complete(c, "tier", tierNames()...)
	return c
}

func tierNames() (out []string) {
	for _, t := range tiering.Tiers() {
		out = append(out, t.String())
	}
	return out
}

// tierOf is the tier that the flag says, which machines need.
func tierOf(r pki.Role, flag string) (tiering.Tier, error) {
	switch {
	case flag == "" && r.Machine():
		return 0, wrongUsage("--tier edge|fog|cloud is needed: a machine's certificate says its tier, as `node.tier` of its configuration does")
	case flag == "":
		return 0, nil
	case !r.Machine():
		return 0, wrongUsage("--tier %s: an operator has no tier", flag)
	}
	t, err := tiering.ParseTier(flag)
	if err != nil {
		return 0, wrongUsage("--tier: %w", err)
	}
	return t, nil
}

// deliver writes an identity's files to a directory. The certificate is put on
// the authority's record first, since what goes out must be revocable.
func deliver(dir, out string, id *pki.Identity, write func(dir string) error) error {
	if err := pki.Record(dir, id); err != nil {
		return err
	}
	if err := write(out); err != nil {
		return errors.Join(err, pki.Forget(dir, id, out))
	}
	return nil
}

// changeCA reads an authority, which the caller closes when it has made its
// changes.
func changeCA(dir string) (*pki.CA, error) {
	ca, err := pki.OpenCA(dir, time.Now())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no authority in %s (%w): --dir says where it is, `weft ca init --mesh NAME` makes one", dir, err)
	}
	return ca, err
}

// openCA is changeCA of an authority that can still issue.
func openCA(dir string) (*pki.CA, error) {
	ca, err := changeCA(dir)
	if err != nil {
		return nil, err
	}
	if end := ca.Certificates()[0].NotAfter; end.Before(time.Now()) {
		_ = ca.Close()
		return nil, fmt.Errorf("the authority in %s expired on %s: make another with `weft ca renew --authority`, and new certificates for every node", dir, end.Format(time.DateOnly))
	}
	return ca, nil
}

// filesOf are an identity's files in a directory.
func filesOf(id *pki.Identity, dir string) keyFiles {
	base := filepath.Join(dir, id.Subject.Name)
	return keyFiles{
		Subject: id.Subject.String(), Certificate: base + ".crt", Key: base + ".key",
		authorityFiles: authorityIn(dir), Expires: id.Expires(),
	}
}

func validity(days int) (time.Duration, error) {
	if days < 1 || days > maxDays {
		return 0, wrongUsage("--days %d: use 1 to %d", days, maxDays)
	}
	return time.Duration(days) * day, nil
}

// badName makes a mistake in a name or role one on the command line.
func badName(err error) error {
	if errors.Is(err, pki.ErrName) {
		return usageError{err}
	}
	return err
}
