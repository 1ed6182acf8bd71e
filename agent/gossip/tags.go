package gossip

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/tiering"
)

// ErrTags reports tags that cannot be read, or that do not fit in gossip.
var ErrTags = errors.New("invalid gossip tags")

// tagsVersion is the version of the tags' meaning. A reader refuses another.
const tagsVersion = "1"

// tagsLimit is what memberlist allows for a node's encoded tags.
const tagsLimit = 512

// The tags' keys are short because they count against tagsLimit.
const (
	tagVersion   = "v" // tagsVersion
	tagMesh      = "n" // name of the mesh
	tagCluster   = "i" // short form of the mesh's ID; of coordinators only
	tagWeft      = "w" // version of weftd
	tagTier      = "t"
	tagCapacity  = "c" // cores in thousandths / memory in MiB / disk in MiB
	tagFree      = "f" // likewise
	tagPlatforms = "p" // type:count,…
	tagModels    = "m" // names,…
	tagShort     = "k" // instead of tagModels: short forms of names
	tagData      = "d" // addresses: host:port, or :port at the gossip address
	tagAPI       = "a"
	tagRaft      = "r"
	tagHTTP      = "h" // scheme|host:port
	tagMQTT      = "q" // scheme|host:port
	tagRun       = "u" // this run of the node
	tagUplink    = "b" // bits a second; none: nobody said
	tagFault     = "o" // why its coordinator is out of service
)

// clusterSize is the length of the short form of a mesh's ID. Coordinators of a
// mesh that is still to be formed keep room for it.
const clusterSize = 8

// shortCluster is what gossip carries of a mesh's ID: enough to tell meshes
// apart that are joined by mistake.
func shortCluster(id string) string { return id[:min(len(id), clusterSize)] }

const mebi = 1 << 20

// encodeTags says what a node is in at most tagsLimit bytes. host is the
// node's gossip address, which readers know already; run names its run; cluster
// is the short form of its mesh's ID, where it is a coordinator of one. Of its
// models it tells the first ones, as many as there is room for.
func encodeTags(mesh, cluster, host, run string, n tiering.Node, free tiering.Resources) (tags map[string]string, models int, err error) {
	tags = map[string]string{
		tagVersion:  tagsVersion,
		tagMesh:     mesh,
		tagTier:     n.Tier.String(),
		tagCapacity: formatResources(n.Capacity),
		tagFree:     formatResources(free),
	}
	set := func(key, v string) {
		if v != "" {
			tags[key] = v
		}
	}
	set(tagWeft, n.Version)
	if n.Uplink > 0 {
		set(tagUplink, strconv.FormatInt(n.Uplink, 10))
	}
	set(tagRun, run)
	var platforms []string
	for _, p := range n.Platforms {
		platforms = append(platforms, p.Type+":"+strconv.Itoa(p.Count))
	}
	set(tagPlatforms, strings.Join(platforms, ","))
	set(tagData, shorten(n.Addresses.Data, host))
	set(tagAPI, shorten(n.Addresses.API, host))
	set(tagRaft, shorten(n.Addresses.Raft, host))
	for key, v := range map[string]string{tagHTTP: n.Addresses.HTTP, tagMQTT: n.Addresses.MQTT} {
		if v == "" {
			continue
		}
		u, err := url.Parse(v)
		if err != nil || u.Host == "" {
			return nil, 0, fmt.Errorf("%w: address %q is not a URL", ErrTags, v)
		}
		set(key, u.Scheme+"|"+shorten(u.Host, host))
	}
	// What is free changes, and models are not to come and go with it.
	size := encodedSize(tags) + max(0, len(tags[tagCapacity])-len(tags[tagFree]))
	if n.Addresses.Raft != "" {
		size += encodedSize(map[string]string{tagCluster: strings.Repeat("x", clusterSize)})
		set(tagCluster, cluster)
	}
	if size > tagsLimit {
		return nil, 0, fmt.Errorf("%w: node %s needs %d bytes, gossip carries %d: use a shorter name for the mesh, or shorter addresses",
			ErrTags, n.ID, size, tagsLimit)
	}
	of, models := modelTags(n.Models, tagsLimit-size)
	maps.Copy(tags, of)
	return tags, models, nil
}

// encodedSize is an upper bound of what serf sends: a magic byte, a map
// header, and a length of at most 3 bytes before every string.
func encodedSize(tags map[string]string) int {
	size := 1 + 3
	for k, v := range tags {
		size += 1 + len(k) + 3 + len(v)
	}
	return size
}

// decodeTags is the inverse of encodeTags. known are the names that models may
// have, by their short forms; it is asked where names are told so.
func decodeTags(name, host string, tags map[string]string, known func() map[string]string) (n tiering.Node, free tiering.Resources, err error) {
	fail := func(format string, args ...any) (tiering.Node, tiering.Resources, error) {
		return tiering.Node{}, tiering.Resources{}, fmt.Errorf("%w: node %s: %s", ErrTags, name, fmt.Sprintf(format, args...))
	}
	if v := tags[tagVersion]; v != tagsVersion {
		return fail("version %q, want %q", v, tagsVersion)
	}
	n = tiering.Node{ID: name, Version: tags[tagWeft]}
	if n.Tier, err = tiering.ParseTier(tags[tagTier]); err != nil {
		return fail("%v", err)
	}
	if n.Capacity, err = parseResources(tags[tagCapacity]); err != nil {
		return fail("capacity: %v", err)
	}
	if up := tags[tagUplink]; up != "" {
		if n.Uplink, err = strconv.ParseInt(up, 10, 64); err != nil || n.Uplink < 0 {
			return fail("uplink %q", up)
		}
	}
	if free, err = parseResources(tags[tagFree]); err != nil {
		return fail("free capacity: %v", err)
	}
	for _, p := range split(tags[tagPlatforms]) {
		typ, count, ok := strings.Cut(p, ":")
		c, err := strconv.Atoi(count)
		if !ok || typ == "" || err != nil || c < 0 {
			return fail("platform %q", p)
		}
		n.Platforms = append(n.Platforms, tiering.Platform{Type: typ, Count: c})
	}
	if n.Models, err = modelsOf(tags, known); err != nil {
		return fail("%v", err)
	}
	n.Addresses.Data = lengthen(tags[tagData], host)
	n.Addresses.API = lengthen(tags[tagAPI], host)
	n.Addresses.Raft = lengthen(tags[tagRaft], host)
	for _, a := range []struct {
		key string
		to  *string
	}{{tagHTTP, &n.Addresses.HTTP}, {tagMQTT, &n.Addresses.MQTT}} {
		if v := tags[a.key]; v != "" {
			scheme, addr, ok := strings.Cut(v, "|")
			if !ok {
				return fail("address %q", v)
			}
			*a.to = scheme + "://" + lengthen(addr, host)
		}
	}
	return n, free, nil
}

// shorten leaves out the host where it is the one that readers know.
func shorten(addr, host string) string {
	h, port, err := net.SplitHostPort(addr)
	if err == nil && h == host {
		return ":" + port
	}
	return addr
}

func lengthen(addr, host string) string {
	if port, ok := strings.CutPrefix(addr, ":"); ok {
		return net.JoinHostPort(host, port)
	}
	return addr
}

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func formatResources(r tiering.Resources) string {
	return fmt.Sprintf("%d/%d/%d", r.CPU, r.Memory/mebi, r.Disk/mebi)
}

func parseResources(s string) (tiering.Resources, error) {
	parts := strings.Split(s, "/")
	if len(parts) != 3 {
		return tiering.Resources{}, fmt.Errorf("%q is not cpu/memory/disk", s)
	}
	var v [3]int64
	for i, p := range parts {
		n, err := strconv.ParseInt(p, 10, 40)
		if err != nil || n < 0 {
			return tiering.Resources{}, fmt.Errorf("%q is not cpu/memory/disk", s)
		}
		v[i] = n
	}
	return tiering.Resources{CPU: v[0], Memory: v[1] * mebi, Disk: v[2] * mebi}, nil
}

// worthTelling reports whether free capacity has moved by a tenth of the
// node's capacity since it was last gossiped: smaller changes are not news.
func worthTelling(told, now, capacity tiering.Resources) bool {
	moved := func(a, b, whole int64) bool { return max(a-b, b-a)*10 >= max(whole, 1) }
	return moved(told.CPU, now.CPU, capacity.CPU) || moved(told.Memory, now.Memory, capacity.Memory) ||
		moved(told.Disk, now.Disk, capacity.Disk)
}
