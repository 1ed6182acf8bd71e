package gossip

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/memberlist"

	"github.com/weft-mesh/weft/internal/pki"
)

// The files in the data directory that keep the keys which a mesh has come to
// use. Serf writes the first when a key is installed, used or removed; the
// second says which configured keys that started from.
const (
	keyringFile = "keyring"
	sourceFile  = "keyring.source"
)

// Fingerprint names a key without telling it.
func Fingerprint(key []byte) string {
	sum := sha256.Sum256(append([]byte("weft gossip key "), key...))
	return hex.EncodeToString(sum[:8])
}

func fingerprints(keys [][]byte) []string {
	out := []string{}
	for _, k := range keys {
		out = append(out, Fingerprint(k))
	}
	return out
}

// source stands for the configured keys in their order.
func source(keys [][]byte) []byte {
	sum := sha256.Sum256(bytes.Join(keys, nil))
	return []byte(hex.EncodeToString(sum[:]) + "\n")
}

// checkKeys refuses what is no list of keys.
func checkKeys(keys [][]byte) error {
	if len(keys) == 0 {
		return fmt.Errorf("%w: no gossip key; `weft keygen` makes one", ErrConfig)
	}
	for _, k := range keys {
		if len(k) != KeySize {
			return fmt.Errorf("%w: a gossip key of %d bytes, want %d; `weft keygen` makes one", ErrConfig, len(k), KeySize)
		}
	}
	return nil
}

// newKeyring makes the keys to start with. Those that the mesh has exchanged
// since count, until the configured ones change: that is how a node that was
// away comes back, and an operator has the last word.
func newKeyring(configured [][]byte, dir string) (*memberlist.Keyring, error) {
	keys := configured
	if dir != "" {
		was, err := os.ReadFile(filepath.Join(dir, sourceFile))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if bytes.Equal(was, source(configured)) {
			if keys, err = readKeyring(filepath.Join(dir, keyringFile)); err != nil {
				return nil, err
			}
		} else if err := writeKeyring(dir, configured, configured); err != nil {
			return nil, err
		}
	}
	return memberlist.NewKeyring(keys, keys[0])
}

func readKeyring(file string) ([][]byte, error) {
	b, err := pki.ReadSecret(file)
	if err != nil {
		return nil, err
	}
	var texts []string
	err = json.Unmarshal(b, &texts)
	var keys [][]byte
	for _, t := range texts {
		k, bad := base64.StdEncoding.DecodeString(t)
		err = errors.Join(err, bad)
		keys = append(keys, k)
	}
	if err = errors.Join(err, checkKeys(keys)); err != nil {
		return nil, fmt.Errorf("%s cannot be read (%w): remove it and %s, and have the mesh's present key in the node's key file", file, err, sourceFile)
	}
	return keys, nil
}

// writeKeyring keeps keys as those that the mesh uses; the source last, since
// it vouches for them.
func writeKeyring(dir string, keys, configured [][]byte) error {
	var texts []string
	for _, k := range keys {
		texts = append(texts, base64.StdEncoding.EncodeToString(k))
	}
	b, err := json.Marshal(texts)
	if err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, sourceFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, f := range []struct {
		name    string
		content []byte
	}{{keyringFile, b}, {sourceFile, source(configured)}} {
		if err := os.WriteFile(filepath.Join(dir, f.name), f.content, 0o600); err != nil {
			return fmt.Errorf("keep the gossip keys: %w", err)
		}
	}
	return nil
}

// SetKeys uses the configured keys in place of those there are: the first
// encrypts, and all decrypt.
func (g *Gossip) SetKeys(keys [][]byte) error {
	if err := checkKeys(keys); err != nil {
		return err
	}
	if g.keyring == nil {
		return fmt.Errorf("%w: gossip is in plain text", ErrConfig)
	}
	g.keys.Lock()
	defer g.keys.Unlock()
	for _, k := range keys {
		if err := g.keyring.AddKey(k); err != nil {
			return err
		}
	}
	if err := g.keyring.UseKey(keys[0]); err != nil {
		return err
	}
	for _, k := range g.keyring.GetKeys() {
		if !contains(keys, k) {
			if err := g.keyring.RemoveKey(k); err != nil {
				return err
			}
		}
	}
	if g.cfg.DataDir == "" {
		return nil
	}
	return writeKeyring(g.cfg.DataDir, keys, keys)
}

func contains(keys [][]byte, key []byte) bool {
	for _, k := range keys {
		if bytes.Equal(k, key) {
			return true
		}
	}
	return false
}
