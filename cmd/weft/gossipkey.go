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
	"os"
	"path/filepath"
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
	// A key on top that the mesh does not use throughout is one of before.
	if settled(nodes, lines[0]) {
		b := make([]byte, gossipKeySize)
		_, _ = rand.Read(b) // never fails
		lines = append([]string{base64.StdEncoding.EncodeToString(b)}, lines...)
		if err := writeSecret(file, strings.Join(lines, "\n")+"\n"); err != nil {
			return err
		}
	}
	key, _ := base64.StdEncoding.DecodeString(lines[0]) // it has been read
	r, err := c.RotateGossipKey(ctx, key)
	if err != nil {
		return fmt.Errorf("%w\nthe new key is in %s, above the old one: run it again, and it goes on", err, file)
	}
	if r.Done {
		if err := writeSecret(file, lines[0]+"\n"); err != nil {
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

// settled reports whether the mesh uses this key and no other.
func settled(nodes []tiering.NodeKeys, key string) bool {
	b, _ := base64.StdEncoding.DecodeString(key) // it has been read
	for _, n := range nodes {
		if len(n.Keys) > 0 && (len(n.Keys) > 1 || n.Keys[0] != keyPrint(b)) {
			return false
		}
	}
	return true
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

// writeSecret puts a file that its owner alone may read in the place of
// another.
func writeSecret(file, content string) error {
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
