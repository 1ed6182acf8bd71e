package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/weft-mesh/weft/tiering"
)

// GossipKeySize is the length of a gossip key in bytes.
const GossipKeySize = 32

// GossipKey is a new key for gossip.
type GossipKey struct {
	Key string `json:"key"` // base64
}

// GossipKeys asks every node that is alive which keys it has.
func (c *Client) GossipKeys(ctx context.Context) (ks []tiering.NodeKeys, err error) {
	return ks, c.get(ctx, "/v1/gossip-keys", nil, &ks)
}

// RotateGossipKey has every node that is alive use this key and no other. With
// the same key again it goes on where it got stuck.
func (c *Client) RotateGossipKey(ctx context.Context, key []byte) (r tiering.KeyRotation, err error) {
	body, err := json.Marshal(GossipKey{base64.StdEncoding.EncodeToString(key)})
	if err != nil {
		return r, fmt.Errorf("encode key: %w", err)
	}
	return r, c.do(ctx, call{method: http.MethodPost, path: "/v1/gossip-keys", contentType: "application/json", body: body, repeatable: true}, &r)
}
