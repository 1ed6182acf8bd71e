package gossip

import (
	"encoding/json"
	"maps"
	"testing"

	"github.com/weft-mesh/weft/internal/upgradetest"
	"github.com/weft-mesh/weft/tiering"
)

// What nodes of the first release gossip is read as what they meant, with and
// without tags that are not known; and what today's gossip, it reads.
func TestTagsOfVersion1AreRead(t *testing.T) {
	var golden map[string]struct {
		Tags map[string]string `json:"tags"`
		Node json.RawMessage   `json:"node"` // as the first release read them
		Free json.RawMessage   `json:"free"`
	}
	if err := json.Unmarshal(upgradetest.Read(t, "testdata/v1/tags.json"), &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden) != 2 {
		t.Fatalf("%d nodes", len(golden))
	}
	for name, g := range golden {
		more := maps.Clone(g.Tags)
		more["z"] = "added since"
		for _, tags := range []map[string]string{g.Tags, more} {
			n, free, err := decodeTags("edge-1", "10.0.0.7", tags, nil)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			upgradetest.Holds(t, name, n, g.Node)
			upgradetest.Holds(t, name+" free", free, g.Free)
		}
		var (
			n    tiering.Node
			free tiering.Resources
		)
		if err := json.Unmarshal(g.Node, &n); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(g.Free, &free); err != nil {
			t.Fatal(err)
		}
		now, _, err := encodeTags("farm", "", "10.0.0.7", "", n, free)
		if err != nil {
			t.Fatal(err)
		}
		for key, v := range g.Tags {
			if now[key] != v {
				t.Errorf("%s: tag %s is now %q, it was %q", name, key, now[key], v)
			}
		}
	}
}
