package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/tiering"
)

// rotateTimeout is for an exchange with nodes that do not answer.
const rotateTimeout = time.Minute

func gossipKeyCommand(env *environment) *cobra.Command {
	return group("gossip-key", "The key that encrypts gossip: which nodes have which, and exchange it",
		&cobra.Command{
			Use: "list", Short: "List the fingerprints of every node's gossip keys", Args: exactly(0), ValidArgsFunction: cobra.NoFileCompletions,
			RunE: func(cmd *cobra.Command, _ []string) error { return query(cmd, env, (*api.Client).GossipKeys, showKeys) },
		}, rotateCommand(env))
}

func showKeys(p *page, nodes []tiering.NodeKeys) {
	var rows [][]string
	for _, n := range nodes {
		encrypts, others := "no answer", "-"
		if len(n.Keys) > 0 {
			encrypts = n.Keys[0]
		}
		if len(n.Keys) > 1 {
			others = strings.Join(n.Keys[1:], ", ")
		}
		rows = append(rows, []string{n.Node, encrypts, others})
	}
	p.table("NODE|ENCRYPTS WITH|ACCEPTS ALSO", rows)
}

func rotateCommand(env *environment) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "rotate --file gossip.key", Short: "Exchange the gossip key on every node that is alive", Args: exactly(0), ValidArgsFunction: cobra.NoFileCompletions,
		Long: `Exchange the gossip key on every node that is alive, without a restart: all
install a new key, then encrypt with it, then forget the old one.

The new key is written to the file first, above the old one, which goes when
all is done; run it again after a failure, and it goes on with the same key. A
node that is away meanwhile needs the new file.

The new key travels encrypted with the old one. If that was stolen, give every
node a new key file instead, as SECURITY.md says.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return wrongUsage("--file is needed: the mesh's gossip key, as `weft keygen` made it")
			}
			c, _, err := env.connect()
			if err != nil {
				return err
			}
			defer c.Close()
			ctx, cancel := context.WithTimeout(cmd.Context(), rotateTimeout)
			defer cancel()
			return rotate(ctx, cmd, env, c, file)
		},
	}
	c.Flags().StringVar(&file, "file", "", "file of the gossip key, which is kept up to date")
	return c
}

func rotate(ctx context.Context, cmd *cobra.Command, env *environment, c *api.Client, file string) error {
	lines, err := readGossipKeys(file)
	if err != nil {
		return err
	}
	nodes, err := c.GossipKeys(ctx)
	if err != nil {
		return err
	}
	switch {
	case !knows(nodes, lines):
		return fmt.Errorf("no node encrypts with a key of %s: it is of another mesh, or from before somebody else exchanged the key "+
			"(`weft gossip-key list` shows the mesh's fingerprints; this file's are %s); take the file that a node has", file, strings.Join(prints(lines), ", "))
	// A key on top that the mesh does not use throughout is that of an exchange
	// that did not end.
	case settled(nodes, lines[0]):
		b := make([]byte, gossipKeySize)
		_, _ = rand.Read(b) // never fails
		lines = append([]string{base64.StdEncoding.EncodeToString(b)}, lines...)
		if err := pki.WriteFile(file, 0o600, []byte(strings.Join(lines, "\n")+"\n")); err != nil {
			return err
		}
	}
	key, _ := base64.StdEncoding.DecodeString(lines[0]) // it has been read
	r, err := c.RotateGossipKey(ctx, key)
	if err != nil {
		return fmt.Errorf("%w\nthe new key is in %s, above the old one: run it again, and it goes on", err, file)
	}
	if r.Done {
		if err := pki.WriteFile(file, 0o600, []byte(lines[0]+"\n")); err != nil {
			return err
		}
	}
	if err := env.print(cmd.OutOrStdout(), r, func(p *page) {
		showKeys(p, r.Nodes)
		if r.Done {
			p.linef("every node that is alive has the new key: keep %s, and give it to nodes that are away", file)
		}
	}); err != nil {
		return err
	}
	if !r.Done {
		return fmt.Errorf("not done: %s; the new key is in %s, above the old one: run it again, and it goes on", r.Why, file)
	}
	return nil
}

// knows reports whether a node encrypts with one of the keys: what some accept
// besides may be on its way out.
func knows(nodes []tiering.NodeKeys, keys []string) bool {
	return slices.ContainsFunc(prints(keys), func(p string) bool {
		return slices.ContainsFunc(nodes, func(n tiering.NodeKeys) bool { return len(n.Keys) > 0 && n.Keys[0] == p })
	})
}

func prints(keys []string) (out []string) {
	for _, k := range keys {
		b, _ := base64.StdEncoding.DecodeString(k) // it has been read
		out = append(out, keyPrint(b))
	}
	return out
}

// settled reports whether the mesh uses this key and no other.
func settled(nodes []tiering.NodeKeys, key string) bool {
	return !slices.ContainsFunc(nodes, func(n tiering.NodeKeys) bool {
		return len(n.Keys) > 0 && !slices.Equal(n.Keys, prints([]string{key}))
	})
}

// keyPrint is agent/gossip's Fingerprint; a test compares them.
func keyPrint(key []byte) string {
	sum := sha256.Sum256(append([]byte("weft gossip key "), key...))
	return hex.EncodeToString(sum[:8])
}

func readGossipKeys(file string) ([]string, error) {
	b, err := pki.ReadSecret(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: --file names the mesh's gossip key", err)
	} else if err != nil {
		return nil, err
	}
	lines := strings.Fields(string(b))
	for _, l := range lines {
		if k, err := base64.StdEncoding.DecodeString(l); err != nil || len(k) != gossipKeySize {
			lines = nil
			break
		}
	}
	if len(lines) == 0 {
		return nil, fmt.Errorf("%s holds no gossip key: want %d bytes in base64 on each line", file, gossipKeySize)
	}
	return lines, nil
}
