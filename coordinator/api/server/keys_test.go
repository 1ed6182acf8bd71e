package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/tiering"
)

// keyring is a mesh of one node.
type keyring struct{ keys []string }

func (k *keyring) Keys(context.Context) ([]tiering.NodeKeys, error) {
	return []tiering.NodeKeys{{Node: "c1", Keys: k.keys}}, nil
}

func (k *keyring) RotateKey(ctx context.Context, key []byte) (tiering.KeyRotation, error) {
	k.keys = []string{base64.StdEncoding.EncodeToString(key[:2])}
	nodes, err := k.Keys(ctx)
	return tiering.KeyRotation{Key: k.keys[0], Why: "edge-1 do not have the new key yet", Nodes: nodes}, err
}

func TestGossipKeys(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	ada := f.caller(pki.Operator, "ada")
	for _, method := range []string{"GET", "POST"} {
		if e := ada.do(method, "/v1/gossip-keys", `{"key":"AAAA"}`, "Content-Type", "application/json").problem(t); e.Code != api.CodeNotFound {
			t.Errorf("in plain text: %+v", e)
		}
	}

	f = newFake(t)
	f.server.cfg.GossipKeys = &keyring{keys: []string{"old"}}
	f.run()
	client := api.NewClient(func() []string { return []string{f.server.Addr()} }, pkitest.Issue(t, f.ca, pki.Operator, "ada").ClientTLS(pki.Coordinator))
	defer client.Close()
	if ks, err := client.GossipKeys(t.Context()); err != nil || len(ks) != 1 || ks[0].Keys[0] != "old" {
		t.Errorf("%v, %v", ks, err)
	}
	r, err := client.RotateGossipKey(t.Context(), bytes.Repeat([]byte{255}, api.GossipKeySize))
	if err != nil || r.Done || r.Key != "//8=" || !strings.HasPrefix(r.Why, "edge-1") || len(r.Nodes) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := client.RotateGossipKey(t.Context(), []byte("short")); err == nil || !strings.Contains(err.Error(), "want 32 bytes in base64") {
		t.Errorf("a short key: %v", err)
	}
}
