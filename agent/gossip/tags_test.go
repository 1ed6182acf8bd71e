package gossip

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/tiering"
)

func someNode() tiering.Node {
	return tiering.Node{
		ID: "edge-1", Tier: tiering.Edge, Version: "0.1.0",
		Capacity:  tiering.Resources{CPU: 4000, Memory: 4096 * mebi, Disk: 32 << 30},
		Platforms: []tiering.Platform{{Type: "cpu", Count: 4}, {Type: "cuda", Count: 1}},
		Models:    []string{"hog-people", "yolox-nano"},
		Addresses: tiering.Addresses{
			Data: "10.0.0.7:7947", API: "10.0.0.7:7949", Raft: "192.168.1.1:7948",
			HTTP: "http://127.0.0.1:7950", MQTT: "tls://10.0.0.7:8883",
		},
	}
}

func TestTagsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := someNode()
		n.Tier = rapid.SampledFrom(tiering.Tiers()).Draw(t, "tier")
		amount := rapid.Int64Range(0, 1<<30)
		n.Uplink = amount.Draw(t, "uplink")
		n.Capacity = tiering.Resources{CPU: amount.Draw(t, "cpu"), Memory: amount.Draw(t, "mem") * mebi, Disk: amount.Draw(t, "disk") * mebi}
		host := rapid.SampledFrom([]string{"10.0.0.7", "192.168.1.1", "fe80::1"}).Draw(t, "host")
		if rapid.Bool().Draw(t, "bare") {
			n.Platforms, n.Models, n.Addresses, n.Version = nil, nil, tiering.Addresses{}, ""
		}
		free := tiering.Resources{CPU: n.Capacity.CPU / 2}
		tags, _, err := encodeTags("farm", "6c8e7a36", host, "r4nd0m", n, free)
		if err != nil {
			t.Fatal(err)
		}
		if got := tags[tagCluster]; (got == "6c8e7a36") != (n.Addresses.Raft != "") {
			t.Fatalf("a node with Raft at %q says that its mesh is %q", n.Addresses.Raft, got)
		}
		back, f, err := decodeTags(n.ID, host, tags, nil)
		if err != nil || !reflect.DeepEqual(back, n) || f != free {
			t.Fatalf("%+v %+v %v; want %+v", back, f, err, n)
		}
	})
}

func TestTagsThatDoNotFitAreRefused(t *testing.T) {
	n := someNode()
	n.Addresses.API = strings.Repeat("long.", 80) + "example:1"
	_, _, err := encodeTags("farm", "6c8e7a36", "10.0.0.7", "", n, n.Capacity)
	if !errors.Is(err, ErrTags) || !strings.Contains(err.Error(), "or shorter addresses") {
		t.Error(err)
	}
}

// However many models a node has, its tags fit, and tell of the first ones: in
// full as long as all fit so, then in short.
func TestTagsOfManyModels(t *testing.T) {
	var names []string
	for i := range 300 {
		names = append(names, fmt.Sprintf("detector-%06d", (i*7919)%1000000)) // 15 letters
	}
	forms := map[string]string{}
	for _, name := range names {
		forms[short(name)] = name
	}
	known := func() map[string]string { return forms }
	before, most := 0, 0
	for count := range len(names) {
		n := someNode()
		n.Models = names[:count]
		tags, told, err := encodeTags("farm", "6c8e7a36", "10.0.0.7", "r4nd0m", n, tiering.Resources{CPU: 1})
		if err != nil || encodedSize(tags) > tagsLimit {
			t.Fatalf("%d models: %d bytes, %v", count, encodedSize(tags), err)
		}
		back, _, err := decodeTags(n.ID, "10.0.0.7", tags, known)
		if want := slices.Sorted(slices.Values(names[:told])); err != nil || !slices.Equal(back.Models, want) {
			t.Fatalf("%d models, told of %d: %v, %v", count, told, back.Models, err)
		}
		if told < before {
			t.Fatalf("of %d models %d are told, of one fewer %d", count, told, before)
		}
		if told == count {
			most = count
		}
		// Free capacity in more digits is no reason to tell of fewer.
		if _, again, err := encodeTags("farm", "6c8e7a36", "10.0.0.7", "r4nd0m", n, n.Capacity); err != nil || again != told {
			t.Fatalf("%d models: told of %d, and of %d with other free capacity; %v", count, told, again, err)
		}
		before = told
	}
	if most < 45 || before != most {
		t.Errorf("%d models are told of, and of 299 %d", most, before)
	}

	// Names that nobody here has heard of, and what is no list of them.
	n := someNode()
	n.Models = names[:40]
	tags, _, err := encodeTags("farm", "6c8e7a36", "10.0.0.7", "r4nd0m", n, n.Capacity)
	if err != nil {
		t.Fatal(err)
	}
	few := func() map[string]string { return map[string]string{short(names[3]): names[3]} }
	if back, _, err := decodeTags(n.ID, "10.0.0.7", tags, few); err != nil || !slices.Equal(back.Models, names[3:4]) {
		t.Errorf("%v, %v", back.Models, err)
	}
	for _, bad := range []string{"AAA", "!", "AAAAAA="} {
		tags[tagShort] = bad
		if _, _, err := decodeTags(n.ID, "10.0.0.7", tags, known); !errors.Is(err, ErrTags) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestTagsOfAnotherVersionAreRefused(t *testing.T) {
	tags, _, err := encodeTags("farm", "6c8e7a36", "10.0.0.7", "", someNode(), tiering.Resources{})
	if err != nil {
		t.Fatal(err)
	}
	for key, v := range map[string]string{tagVersion: "2", tagTier: "sky", tagCapacity: "1/2", tagFree: "-1/0/0", tagPlatforms: "cpu", tagHTTP: "nowhere"} {
		bad := map[string]string{}
		for k, w := range tags {
			bad[k] = w
		}
		bad[key] = v
		if _, _, err := decodeTags("edge-1", "10.0.0.7", bad, nil); !errors.Is(err, ErrTags) {
			t.Errorf("%s=%s: %v", key, v, err)
		}
	}
}

func FuzzDecodeTags(f *testing.F) {
	f.Add("1", "edge", "1/2/3", "1/2/3", "cpu:1", "a,b", "", ":1", "http|:2")
	f.Add("1", "edge", "1/2/3", "1/2/3", "cpu:1", "", "AAAAAAAA", ":1", "http|:2")
	f.Add("1", "cloud", "", "x", ":", ",", "A", "", "|")
	f.Fuzz(func(t *testing.T, v, tier, capacity, free, platforms, models, shorts, data, http string) {
		n, _, err := decodeTags("n", "10.0.0.7", map[string]string{
			tagVersion: v, tagTier: tier, tagCapacity: capacity, tagFree: free,
			tagPlatforms: platforms, tagModels: models, tagShort: shorts, tagData: data, tagHTTP: http,
		}, func() map[string]string { return nil })
		if err == nil && (n.Capacity.CPU < 0 || n.Capacity.Memory < 0 || n.Capacity.Disk < 0 || n.Tier == 0) {
			t.Errorf("accepted %+v", n)
		}
	})
}

func TestSmallChangesAreNotGossiped(t *testing.T) {
	whole := tiering.Resources{CPU: 4000, Memory: 4 << 30, Disk: 100 << 30}
	for _, tc := range []struct {
		name string
		now  tiering.Resources
		want bool
	}{
		{"nothing", whole, false},
		{"5 % of the cores", whole.Sub(tiering.Resources{CPU: 200}), false},
		{"10 % of the cores", whole.Sub(tiering.Resources{CPU: 400}), true},
		{"half the memory", whole.Sub(tiering.Resources{Memory: 2 << 30}), true},
		{"1 GiB of disk", whole.Sub(tiering.Resources{Disk: 1 << 30}), false},
	} {
		if got := worthTelling(whole, tc.now, whole); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}
