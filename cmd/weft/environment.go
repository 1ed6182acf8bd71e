package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/yamlfile"
)

// requestTimeout bounds one question to the mesh.
const requestTimeout = 15 * time.Second

// environment is how weft was called: which mesh, which output.
type environment struct {
	file   string
	output format
}

// clientFile says how to reach a mesh.
type clientFile struct {
	Addresses []string `yaml:"addresses,required"` // of coordinators' APIs
	CA        string   `yaml:"ca,required"`
	// A certificate with its key, or a token.
	Cert      string `yaml:"cert"`
	Key       string `yaml:"key"`
	Token     string `yaml:"token"`
	TokenFile string `yaml:"tokenFile"`
}

// credentials are what a mesh is shown: a certificate or a token.
type credentials struct {
	identity *pki.Identity // nil: a token
	token    api.Secret
	tls      *tls.Config
}

// client is a client that shows them to the coordinators at the addresses.
func (c *credentials) client(addresses []string) *api.Client {
	where := func() []string { return addresses }
	if c.identity == nil {
		return api.NewTokenClient(where, c.tls, c.token)
	}
	return api.NewClient(where, c.tls)
}

// path is where the client's configuration is.
func (e *environment) path() (string, error) {
	if p := cmp.Or(e.file, os.Getenv("WEFT_CONFIG")); p != "" {
		return p, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("no configuration: give --config FILE or set WEFT_CONFIG: %w", err)
	}
	return filepath.Join(dir, "weft", "weft.yaml"), nil
}

// load reads the client's configuration; paths in it are relative to it.
func (e *environment) load() (clientFile, *credentials, error) {
	var c clientFile
	path, err := e.path()
	if err != nil {
		return c, nil, err
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil, fmt.Errorf("no configuration at %s: give --config FILE or set WEFT_CONFIG (`weftd dev` prints what to set)", path)
	} else if err != nil {
		return c, nil, fmt.Errorf("configuration: %w", err)
	}
	doc, err := yamlfile.Decode(path, data, &c)
	if err != nil {
		return c, nil, err
	}
	if len(c.Addresses) == 0 {
		return c, nil, yamlfile.Problems{doc.Problem("addresses", "give one HOST:PORT at least, of a coordinator's API")}
	}
	for i, a := range c.Addresses {
		if host, port, err := net.SplitHostPort(a); err != nil || host == "" || port == "" {
			return c, nil, yamlfile.Problems{doc.Problem(yamlfile.Item("addresses", i), "%q is not an address: use HOST:PORT of a coordinator's API", a)}
		}
	}
	at := func(p string) string {
		if filepath.IsAbs(p) {
			return p
		}
		return filepath.Join(filepath.Dir(path), p)
	}
	creds, err := c.credentials(path, doc, at)
	if _, mistake := errors.AsType[yamlfile.Problems](err); err != nil && !mistake {
		err = fmt.Errorf("credentials that %s names: %w", path, err)
	}
	return c, creds, err
}

// credentials reads what the configuration names, one of the two.
func (c *clientFile) credentials(path string, doc *yamlfile.Document, at func(string) string) (*credentials, error) {
	certificate, token := c.Cert != "" || c.Key != "", c.Token != "" || c.TokenFile != ""
	wrong := func(field, format string, args ...any) error {
		return yamlfile.Problems{doc.Problem(field, format, args...)}
	}
	switch {
	case certificate && token:
		return nil, wrong("cert", "a certificate and a token: give one of the two")
	case c.Token != "" && c.TokenFile != "":
		return nil, wrong("token", "a token and a file of one: give one of the two")
	case token:
		return c.bearer(path, doc, at)
	case c.Cert == "":
		return nil, wrong("cert", "missing key \"cert\": give cert and key, of `weft ca issue NAME --role operator`, or token or tokenFile, of `weft token create`")
	case c.Key == "":
		return nil, wrong("key", "missing key \"key\": give the file of the certificate's key")
	}
	id, err := pki.LoadIdentity(at(c.CA), at(c.Cert), at(c.Key))
	if err != nil {
		return nil, err
	}
	if end := id.Expires(); end.Before(time.Now()) {
		return nil, fmt.Errorf("the certificate %s expired on %s: make a new one with `weft ca renew %s`",
			at(c.Cert), end.Format(time.DateOnly), id.Subject.Name)
	}
	return &credentials{identity: id, tls: id.ClientTLS(pki.Coordinator)}, nil
}

// bearer reads the token. What others can read is no secret.
func (c *clientFile) bearer(path string, doc *yamlfile.Document, at func(string) string) (*credentials, error) {
	field, file, text := "token", path, c.Token
	if c.TokenFile != "" {
		field, file = "tokenFile", at(c.TokenFile)
	}
	b, err := pki.ReadSecret(file)
	if err != nil {
		return nil, err
	}
	if c.TokenFile != "" {
		text = strings.TrimSpace(string(b))
	}
	secret, err := api.ParseSecret(text)
	if err != nil {
		return nil, yamlfile.Problems{doc.Problem(field, "%v", err)}
	}
	conf, err := pki.ClientOnly(at(c.CA))
	if err != nil {
		return nil, err
	}
	return &credentials{token: secret, tls: conf}, nil
}

// connect returns a client of the mesh, which the caller closes, and whose
// certificate it shows; nil: a token.
func (e *environment) connect() (*api.Client, *pki.Identity, error) {
	c, creds, err := e.load()
	if err != nil {
		return nil, nil, usageError{err}
	}
	return creds.client(c.Addresses), creds.identity, nil
}

// query asks the mesh one question and prints the answer.
func query[T any](cmd *cobra.Command, env *environment, ask func(*api.Client, context.Context) (T, error), show func(*page, T)) error {
	c, _, err := env.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), requestTimeout)
	defer cancel()
	answer, err := ask(c, ctx)
	if err != nil {
		return err
	}
	return env.print(cmd.OutOrStdout(), answer, func(p *page) { show(p, answer) })
}
