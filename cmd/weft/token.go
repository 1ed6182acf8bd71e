package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/state"
)

// tokenLife is how long a token is valid if nothing else is said.
const tokenLife = 90 * day

func tokenCommand(env *environment) *cobra.Command {
	c := group("token", "Tokens for scripts and people without a certificate",
		tokenCreateCommand(env), tokenListCommand(env), tokenRevokeCommand(env))
	c.Long = `Make, list and revoke tokens. Who has one may use the mesh without a
certificate, by a weft.yaml of

  addresses: [coordinator:7949]
  ca: ca.crt              # with ca.crl beside it
  tokenFile: token        # readable by its owner only; or token: weft_…

or with any HTTP client: Authorization: Bearer weft_…

A token has a scope. read looks at everything and plans; submit may also submit
and stop workflows; admin may do all but what nodes do.`
	return c
}

func tokenCreateCommand(env *environment) *cobra.Command {
	var (
		scope   string
		expires time.Duration
	)
	c := &cobra.Command{
		Use: "create NAME", Short: "Make a token and print it, this once", Args: exactly(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := noSecret(args[0]); err != nil {
				return err
			}
			if !slices.Contains(state.Scopes(), state.Scope(scope)) {
				return wrongUsage("--scope %q: use read, submit or admin", scope)
			}
			if expires < 0 || (expires > 0 && expires < time.Second) {
				return wrongUsage("--expires %s: use 1s or more, or 0 for a token that does not expire", expires)
			}
			ask := api.TokenRequest{Name: args[0], Scope: api.Scope(scope), LifetimeS: int64(expires / time.Second)}
			return query(cmd, env, func(c *api.Client, ctx context.Context) (api.NewToken, error) {
				t, err := c.CreateToken(ctx, ask)
				if errors.Is(err, api.ErrUncertain) {
					err = fmt.Errorf("%w; `weft token revoke %s` makes sure that it was not", err, args[0])
				}
				return t, err
			}, func(p *page, t api.NewToken) {
				p.linef("%s", t.Secret)
				until := "it does not expire"
				if t.Token.Expires != nil {
					until = "it expires on " + t.Token.Expires.Local().Format(time.DateTime)
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "weft: this is token %s with scope %s; %s. Keep it now, it is not shown again\n", t.Token.Name, t.Token.Scope, until)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&scope, "scope", string(state.ScopeRead), "read, submit or admin")
	f.DurationVar(&expires, "expires", tokenLife, "how long it is valid, such as 720h; 0: until it is revoked")
	complete(c, "scope", "read", "submit", "admin")
	return c
}

func tokenListCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the tokens, without their secrets", Args: exactly(0), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return query(cmd, env, (*api.Client).Tokens, func(p *page, ts []api.Token) { showTokens(p, ts, time.Now()) })
		},
	}
}

func showTokens(p *page, tokens []api.Token, now time.Time) {
	if len(tokens) == 0 {
		p.linef("no tokens; `weft token create NAME --scope read` makes one")
		return
	}
	var rows [][]string
	for _, t := range tokens {
		expires := "never"
		switch {
		case t.Expires != nil && !t.Expires.After(now):
			expires = "expired"
		case t.Expires != nil:
			expires = "in " + ago(*t.Expires, now)
		}
		rows = append(rows, []string{t.Name, t.ID, string(t.Scope), ago(now, t.Created), expires, cmp.Or(t.CreatedBy, "unknown")})
	}
	p.table("TOKEN|ID|SCOPE|>AGE|>EXPIRES|BY", rows)
}

func tokenRevokeCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use: "revoke NAME", Short: "Make a token invalid", Args: exactly(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := noSecret(args[0]); err != nil {
				return err
			}
			type revoked struct {
				Token string `json:"token"`
			}
			return query(cmd, env, func(c *api.Client, ctx context.Context) (revoked, error) {
				err := c.RevokeToken(ctx, args[0])
				if errors.Is(err, &api.Error{Code: api.CodeNotFound}) {
					err = fmt.Errorf("there is no token %q: `weft token list` shows those there are", args[0])
				}
				return revoked{args[0]}, err
			}, func(p *page, r revoked) { p.linef("token %s revoked", r.Token) })
		},
	}
}

// noSecret refuses a token in place of its name, which would be sent and may be
// written down.
func noSecret(name string) error {
	s, err := api.ParseSecret(name)
	if err != nil {
		return nil
	}
	return wrongUsage("%s is a token, not the name of one: `weft token list` shows the name of the one with ID %s. "+
		"Your shell may have the secret in its history: revoke it by its name", s, s.ID)
}
