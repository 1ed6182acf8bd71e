package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
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
	Cert      string   `yaml:"cert,required"`
	Key       string   `yaml:"key,required"`
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
func (e *environment) load() (clientFile, *pki.Identity, error) {
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
	id, err := pki.LoadIdentity(at(c.CA), at(c.Cert), at(c.Key))
	if err != nil {
		return c, nil, fmt.Errorf("credentials that %s names: %w", path, err)
	}
	if end := expiry(id); end.Before(time.Now()) {
		return c, nil, fmt.Errorf("the certificate %s expired on %s: make a new one with `weft ca issue %s --role %s`",
			at(c.Cert), end.Format(time.DateOnly), id.Subject.Name, id.Subject.Role)
	}
	return c, id, nil
}

// expiry is when an identity's certificate ends.
func expiry(id *pki.Identity) time.Time {
	return id.ClientTLS(pki.Coordinator).Certificates[0].Leaf.NotAfter
}

// connect returns a client of the mesh, which the caller closes, and who it
// speaks for.
func (e *environment) connect() (*api.Client, *pki.Identity, error) {
	c, id, err := e.load()
	if err != nil {
		return nil, nil, usageError{err}
	}
	return api.NewClient(func() []string { return c.Addresses }, id.ClientTLS(pki.Coordinator)), id, nil
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
