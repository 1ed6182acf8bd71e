package main

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/internal/pki"
)

// revocation is what `weft ca revoke` has done.
type revocation struct {
	Revoked []issuedTo `json:"revoked"`
	authorityFiles
}

func caRevokeCommand(env *environment) *cobra.Command {
	var role string
	c := &cobra.Command{
		Use: "revoke NAME…", Short: "Have the mesh refuse every certificate of a node or operator", ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, names []string) error {
			if len(names) == 0 {
				return wrongUsage("usage: %s", cmd.UseLine())
			}
			var only pki.Role
			if role != "" {
				var err error
				if only, err = pki.ParseRole(role); err != nil {
					return badName(err)
				}
			}
			dir := cmd.Flag("dir").Value.String()
			ca, err := changeCA(dir)
			if err != nil {
				return err
			}
			defer ca.Close()
			certs, err := issued(cmd, dir)
			if err != nil {
				return err
			}
			now := time.Now()
			var lost []*x509.Certificate
			for _, name := range names {
				of, err := revocable(list(ca, certs, now), name, only, now)
				if err != nil {
					return err
				}
				lost = append(lost, of...)
			}
			if err := ca.Revoke(now, lost...); err != nil {
				return err
			}
			if err := ca.SaveRevoked(dir); err != nil {
				return err
			}
			done := revocation{Revoked: list(ca, lost, now), authorityFiles: authorityIn(dir)}
			return env.print(cmd.OutOrStdout(), done, func(p *page) {
				for _, l := range done.Revoked {
					p.linef("revoked %s, which was valid until %s", l.Subject, l.Expires.Format(time.DateOnly))
				}
				p.linef("copy %s to every machine: within seconds it takes no new connection of theirs", done.names())
				p.linef("a machine also knew the gossip key: SECURITY.md says what is to be done about a stolen one")
			})
		},
	}
	c.Flags().StringVar(&role, "role", "", "agent or coordinator: only the node of that name, whichever its certificates say; operator: only the operator")
	complete(c, "role", string(pki.Agent), string(pki.Coordinator), string(pki.Operator))
	return c
}

// revocable are the certificates of a name: of the node or of the operator.
func revocable(all []issuedTo, name string, only pki.Role, now time.Time) ([]*x509.Certificate, error) {
	var (
		out      []*x509.Certificate
		subjects []string
		roles    = map[string]pki.Role{} // by class
	)
	for _, l := range all {
		if l.Name != name || l.Status == "revoked" || !l.Expires.After(now) || only != "" && class(l.Role) != class(only) {
			continue
		}
		out, roles[class(l.Role)] = append(out, l.cert), l.Role
		if !slices.Contains(subjects, l.Subject) {
			subjects = append(subjects, l.Subject)
		}
	}
	switch {
	case len(roles) > 1:
		slices.Sort(subjects)
		return nil, fmt.Errorf("%s is a node and an operator (%s): --role %s or --role operator says which", name, strings.Join(subjects, ", "), roles["a node"])
	case len(out) == 0 && only != "":
		return nil, fmt.Errorf("%s has no certificate of %s that could be revoked: `weft ca list` shows who has", name, class(only))
	case len(out) == 0:
		return nil, fmt.Errorf("%s has no certificate that could be revoked: `weft ca list` shows who has", name)
	}
	return out, nil
}
