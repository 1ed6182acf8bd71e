package gossip

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/tiering"
)

func someKey(b byte) []byte { return bytes.Repeat([]byte{b}, KeySize) }

// prints are the fingerprints of a node's keys.
func (m *member) prints() string { return strings.Join(fingerprints(m.keyring.GetKeys()), " ") }

func wants(keys ...byte) string {
	var out []string
	for _, k := range keys {
		out = append(out, Fingerprint(someKey(k)))
	}
	return strings.Join(out, " ")
}

// trio is three nodes that keep their keys.
func trio(t *testing.T) (all []*member, configs []Config) {
	t.Helper()
	for i, id := range []string{"cloud-1", "fog-1", "edge-1"} {
		cfg := config(id, tiering.Tiers()[2-i])
		cfg.DataDir = t.TempDir()
		if i > 0 {
			cfg.Join = []string{all[0].Addr()}
		}
		all, configs = append(all, start(t, cfg)), append(configs, cfg)
	}
	eventually(t, "all see all", func() bool {
		for _, m := range all {
			if m.alive() != 3 {
				return false
			}
		}
		return true
	})
	return all, configs
}

func (m *member) rotate(t *testing.T, key byte) tiering.KeyRotation {
	t.Helper()
	r, err := m.RotateKey(t.Context(), someKey(key))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// done rotates until nobody is behind: on a busy machine an answer may be lost.
func (m *member) done(t *testing.T, key byte) tiering.KeyRotation {
	t.Helper()
	var r tiering.KeyRotation
	eventually(t, "the key is exchanged", func() bool { r = m.rotate(t, key); return r.Done })
	return r
}

func TestKeysAreExchangedEverywhere(t *testing.T) {
	t.Parallel()
	all, configs := trio(t)
	r := all[0].done(t, 9)
	if r.Key != wants(9) || r.Why != "" || len(r.Nodes) != 3 || r.Nodes[0].Node != "cloud-1" || r.Nodes[2].Keys[0] != wants(9) {
		t.Errorf("%+v", r)
	}
	for i, m := range all {
		if got := m.prints(); got != wants(9) {
			t.Errorf("%s has %s", configs[i].Node.ID, got)
		}
		if f, err := os.Stat(filepath.Join(configs[i].DataDir, keyringFile)); err != nil || f.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", f.Mode(), err)
		}
	}
	if again := all[1].done(t, 9); !again.Done {
		t.Errorf("once more: %+v", again)
	}
	for _, n := range r.Nodes {
		for _, k := range n.Keys {
			if strings.Contains(k, "CQkJ") || len(k) != 16 {
				t.Errorf("%s tells %q", n.Node, k)
			}
		}
	}

	// The configuration still has the old key, and the node the new one.
	all[2].leave()
	eventually(t, "edge-1 leaves", func() bool { return all[0].sees("edge-1", tiering.NodeLeft) })
	back := start(t, configs[2])
	eventually(t, "edge-1 is back", func() bool { return all[0].sees("edge-1", tiering.NodeAlive) })
	if back.prints() != wants(9) {
		t.Errorf("edge-1 has %s", back.prints())
	}
	stranger := start(t, config("edge-2", tiering.Edge))
	if _, err := stranger.serf.Join([]string{all[0].Addr()}, true); err == nil {
		t.Error("a node with the old key joined")
	}
}

// TestANodeThatWasAway comes back with a new key file.
func TestANodeThatWasAway(t *testing.T) {
	t.Parallel()
	all, configs := trio(t)
	all[2].leave()
	eventually(t, "edge-1 leaves", func() bool { return all[0].sees("edge-1", tiering.NodeLeft) })
	if r := all[0].done(t, 9); len(r.Nodes) != 2 {
		t.Errorf("%+v", r)
	}
	away := start(t, configs[2])
	if _, err := away.serf.Join([]string{all[0].Addr()}, true); err == nil {
		t.Fatal("it joined with the old key")
	}
	away.leave()
	configs[2].Keys = [][]byte{someKey(9)}
	back := start(t, configs[2])
	eventually(t, "edge-1 is back", func() bool { return all[0].sees("edge-1", tiering.NodeAlive) })
	if back.prints() != wants(9) {
		t.Errorf("edge-1 has %s", back.prints())
	}
}

// TestNobodyIsLeftBehind: a node that does not take the new key stops the
// exchange, and it goes on when it does.
func TestNobodyIsLeftBehind(t *testing.T) {
	t.Parallel()
	all, configs := trio(t)
	// It cannot keep the key, so it says no.
	keyring := filepath.Join(configs[2].DataDir, keyringFile)
	if err := errors.Join(os.Remove(keyring), os.Mkdir(keyring, 0o700)); err != nil {
		t.Fatal(err)
	}
	// Serf adds the key before it fails to keep it, so that this node has it.
	// Another has not heard: its answers are taken away with its loop.
	deaf, err := New(config("edge-2", tiering.Edge, all[0].Addr()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := deaf.serf.Join([]string{all[0].Addr()}, true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "edge-2 is there", func() bool { return all[0].alive() == 4 })
	r := all[0].rotate(t, 9)
	if r.Done || !strings.Contains(r.Why, "edge-2") || !strings.HasSuffix(r.Why, "do not have the new key yet") {
		t.Errorf("%+v", r)
	}
	for _, m := range all {
		if first, _, _ := strings.Cut(m.prints(), " "); first != wants(7) {
			t.Errorf("a node encrypts with %s already", first)
		}
	}
	if err := os.Remove(keyring); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- deaf.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	if r := all[0].done(t, 9); len(r.Nodes) != 4 {
		t.Errorf("%+v", r)
	}
}

func TestKeysByFile(t *testing.T) {
	t.Parallel()
	all, configs := trio(t)
	// Out of band, one node after the other, and nobody loses anybody.
	for _, keys := range [][][]byte{{someKey(7), someKey(9)}, {someKey(9), someKey(7)}, {someKey(9)}} {
		for _, m := range all {
			if err := m.SetKeys(keys); err != nil {
				t.Fatal(err)
			}
		}
	}
	nodes, err := all[1].Keys(t.Context())
	if err != nil || len(nodes) != 3 {
		t.Fatal(nodes, err)
	}
	for _, m := range all {
		if m.prints() != wants(9) || m.alive() != 3 {
			t.Errorf("%s, %d alive", m.prints(), m.alive())
		}
	}
	all[0].leave()
	cfg := configs[0]
	cfg.Keys = [][]byte{someKey(9)}
	if got := start(t, cfg); got.prints() != wants(9) {
		t.Errorf("after a restart %s", got.prints())
	}
	for want, keys := range map[string][][]byte{"no gossip key": nil, "3 bytes": {{1, 2, 3}}} {
		if err := all[1].SetKeys(keys); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %s", err, want)
		}
	}
}

func TestDamagedKeyrings(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		damage func(file string) error
		want   string
	}{
		"garbage":  {func(f string) error { return os.WriteFile(f, []byte("garbage"), 0o600) }, "keyring cannot be read"},
		"empty":    {func(f string) error { return os.WriteFile(f, []byte("[]"), 0o600) }, "remove it and keyring.source"},
		"gone":     {os.Remove, "no such file"},
		"readable": {func(f string) error { return os.Chmod(f, 0o644) }, "chmod 600"},
	} {
		cfg := config("fog-1", tiering.Fog)
		cfg.DataDir = t.TempDir()
		start(t, cfg).leave()
		if err := tc.damage(filepath.Join(cfg.DataDir, keyringFile)); err != nil {
			t.Fatal(err)
		}
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPlainTextIsAskedForByName(t *testing.T) {
	t.Parallel()
	cfg := config("fog-1", tiering.Fog)
	cfg.Keys, cfg.Plaintext = nil, true
	m := start(t, cfg)
	if _, err := m.Keys(t.Context()); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
	if err := m.SetKeys([][]byte{key}); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
	if _, err := start(t, config("edge-1", tiering.Edge)).serf.Join([]string{m.Addr()}, true); err == nil {
		t.Error("an encrypted node joined one in plain text")
	}
}
