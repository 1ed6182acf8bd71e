package gossip

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/serf/serf"

	"github.com/weft-mesh/weft/tiering"
)

// keysQuery asks every node for the fingerprints of its keys. Serf's own list
// query would send the keys themselves.
const keysQuery = "weft-keys"

const (
	keysTimeout = 5 * time.Second
	maxTold     = 16 // fingerprints in an answer, which has room for 1 KB
)

// answer tells the fingerprints of this node's keys.
func (g *Gossip) answer(q *serf.Query) {
	if q.Name != keysQuery || g.keyring == nil {
		return
	}
	prints := fingerprints(g.keyring.GetKeys())
	b, err := json.Marshal(prints[:min(len(prints), maxTold)])
	if err == nil {
		err = q.Respond(b)
	}
	if err != nil {
		g.cfg.Log.Warn("cannot say which gossip keys this node has", "err", err)
	}
}

// Keys asks every node that is alive for its keys. Nodes that do not answer
// have none in the list.
func (g *Gossip) Keys(ctx context.Context) ([]tiering.NodeKeys, error) {
	if g.keyring == nil {
		return nil, fmt.Errorf("%w: gossip is in plain text", ErrConfig)
	}
	told := map[string][]string{}
	for _, m := range g.serf.Members() {
		if m.Status == serf.StatusAlive {
			told[m.Name] = []string{}
		}
	}
	p := g.serf.DefaultQueryParams()
	p.Timeout = keysTimeout
	p.RelayFactor = 1
	resp, err := g.serf.Query(keysQuery, nil, p)
	if err != nil {
		return nil, fmt.Errorf("ask the nodes for their gossip keys: %w", err)
	}
	defer resp.Close()
	for missing := len(told); missing > 0; {
		select {
		case r, ok := <-resp.ResponseCh():
			var keys []string
			if !ok {
				missing = 0
			} else if was, alive := told[r.From]; alive && len(was) == 0 && json.Unmarshal(r.Payload, &keys) == nil && len(keys) > 0 {
				told[r.From] = keys
				missing--
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	out := []tiering.NodeKeys{}
	for n, keys := range told {
		out = append(out, tiering.NodeKeys{Node: n, Keys: keys})
	}
	slices.SortFunc(out, func(a, b tiering.NodeKeys) int { return cmp.Compare(a.Node, b.Node) })
	return out, nil
}

// RotateKey has every node that is alive install a key, use it, and remove all
// others, in this order, and each only after all have done the one before. It
// stops where one has not; run again with the same key, it goes on.
//
// The key goes to the others by gossip, encrypted with the old one: whoever
// has that one and hears the mesh learns the new one. Against a stolen key,
// give every node a new key file instead.
func (g *Gossip) RotateKey(ctx context.Context, key []byte) (tiering.KeyRotation, error) {
	if err := checkKeys([][]byte{key}); err != nil {
		return tiering.KeyRotation{}, err
	}
	g.keys.Lock()
	defer g.keys.Unlock()
	text, print := base64.StdEncoding.EncodeToString(key), Fingerprint(key)
	out := tiering.KeyRotation{Key: print}
	nodes, err := g.Keys(ctx)
	if err != nil {
		return out, err
	}
	manager := g.serf.KeyManager()
	old := map[string]string{} // this node knows the keys, the others tell fingerprints
	for _, k := range g.keyring.GetKeys() {
		if Fingerprint(k) != print {
			old[Fingerprint(k)] = base64.StdEncoding.EncodeToString(k)
		}
	}
	for _, step := range []struct {
		what string
		done func(keys []string) bool
		do   func() error
	}{
		{"do not have the new key yet", func(k []string) bool { return slices.Contains(k, print) }, func() error {
			_, err := manager.InstallKey(text)
			return err
		}},
		{"do not encrypt with the new key yet; both are accepted", func(k []string) bool { return k[0] == print }, func() error {
			_, err := manager.UseKey(text)
			return err
		}},
		{"still accept another key", func(k []string) bool { return len(k) == 1 }, func() error {
			var errs []error
			for _, k := range old {
				_, err := manager.RemoveKey(k)
				errs = append(errs, err)
			}
			return errors.Join(errs...)
		}},
	} {
		late := behind(nodes, step.done)
		if len(late) > 0 {
			// What it comes to is asked of the nodes: Serf's count includes
			// those that have just died.
			if err := step.do(); err != nil {
				g.cfg.Log.Warn("exchanging the gossip key", "err", err)
			}
			if nodes, err = g.Keys(ctx); err != nil {
				return out, err
			}
			late = behind(nodes, step.done)
		}
		out.Nodes = nodes
		if len(late) > 0 {
			out.Why = strings.Join(late, ", ") + " " + step.what
			return out, nil
		}
	}
	out.Done = true
	return out, nil
}

// behind are the nodes of which something does not hold, or that do not say.
func behind(nodes []tiering.NodeKeys, holds func([]string) bool) (late []string) {
	for _, n := range nodes {
		if len(n.Keys) == 0 || !holds(n.Keys) {
			late = append(late, n.Node)
		}
	}
	return late
}
