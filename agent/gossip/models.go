package gossip

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/serf/serf"
)

// The names of a node's models are most of its tags. As long as all fit they are
// told as they are. Where they do not, each is told by the start of its digest:
// names of any length take the same, and three times as many fit as of names of
// 15 letters. Who reads that finds the names among those that it knows; a model
// that nobody there has heard of is of no use to it.

// shortSize is the bytes of a name's digest that are told. That two of a hundred
// names are taken for each other happens once in 800,000 such lists.
const shortSize = 4

// short tells a name from others.
func short(name string) string {
	sum := sha256.Sum256([]byte(name))
	return base64.RawURLEncoding.EncodeToString(sum[:shortSize])
}

// modelTags tells of models in at most so many bytes, the first ones first, and
// of how many.
func modelTags(names []string, room int) (tags map[string]string, told int) {
	if len(names) == 0 {
		return nil, 0
	}
	room += encodedSize(nil) // which the other tags have
	whole := map[string]string{tagModels: strings.Join(slices.Sorted(slices.Values(names)), ",")}
	if encodedSize(whole) <= room {
		return whole, len(names)
	}
	room -= encodedSize(map[string]string{tagShort: ""})
	told = min(len(names), base64.RawURLEncoding.DecodedLen(max(room, 0))/shortSize)
	if told == 0 {
		return nil, 0
	}
	var all []byte
	for _, name := range slices.Sorted(slices.Values(names[:told])) {
		sum := sha256.Sum256([]byte(name))
		all = append(all, sum[:shortSize]...)
	}
	return map[string]string{tagShort: base64.RawURLEncoding.EncodeToString(all)}, told
}

// modelsOf reads what modelTags tells. known are the names that there may be, by
// their short forms.
func modelsOf(tags map[string]string, known func() map[string]string) ([]string, error) {
	all, err := base64.RawURLEncoding.DecodeString(tags[tagShort])
	if err != nil || len(all)%shortSize != 0 {
		return nil, fmt.Errorf("models %q", tags[tagShort])
	}
	out := split(tags[tagModels])
	for form := range slices.Chunk(all, shortSize) {
		if name, ok := known()[base64.RawURLEncoding.EncodeToString(form)]; ok {
			out = append(out, name)
		}
	}
	if len(all) > 0 {
		slices.Sort(out)
		out = slices.Compact(out)
	}
	return out, nil
}

// names are the names of models that this node has heard of, by their short
// forms: its own, what Config.Known says, and what members tell in full.
func (g *Gossip) names(members []serf.Member) map[string]string {
	g.mu.Lock()
	all := slices.Clone(g.node.Models)
	g.mu.Unlock()
	if g.cfg.Known != nil {
		all = append(all, g.cfg.Known()...)
	}
	for i := range members {
		all = append(all, split(members[i].Tags[tagModels])...)
	}
	out := make(map[string]string, len(all))
	for _, name := range all {
		out[short(name)] = name
	}
	return out
}

// SetModels says which models this node can load now, those first that others
// need to know of most, and gossips it. If there is no room for all, others hear
// of the first told, and the error is ErrTags.
func (g *Gossip) SetModels(names []string) (told int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := g.models
	g.node.Models = slices.Clone(names)
	tags, told, err := g.tags(g.free)
	if err != nil {
		return 0, err
	}
	if after := modelsOnly(tags); after != before {
		g.send(tags, time.Now())
	}
	if told < len(names) {
		return told, fmt.Errorf("%w: gossip has room for %d of the %d models of node %s; others do not hear of %s",
			ErrTags, told, len(names), g.node.ID, strings.Join(names[told:], ", "))
	}
	return told, nil
}

// modelsOnly is what tags tell of models.
func modelsOnly(tags map[string]string) string { return tags[tagModels] + "|" + tags[tagShort] }
