package gossip

import (
	"errors"
	"fmt"
	"reflect"
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
		n.Capacity = tiering.Resources{CPU: amount.Draw(t, "cpu"), Memory: amount.Draw(t, "mem") * mebi, Disk: amount.Draw(t, "disk") * mebi}
		host := rapid.SampledFrom([]string{"10.0.0.7", "192.168.1.1", "fe80::1"}).Draw(t, "host")
		if rapid.Bool().Draw(t, "bare") {
			n.Platforms, n.Models, n.Addresses, n.Version = nil, nil, tiering.Addresses{}, ""
		}
		free := tiering.Resources{CPU: n.Capacity.CPU / 2}
		tags, err := encodeTags("farm", "6c8e7a36", host, "r4nd0m", n, free)
		if err != nil {
			t.Fatal(err)
		}
		if got := tags[tagCluster]; (got == "6c8e7a36") != (n.Addresses.Raft != "") {
			t.Fatalf("a node with Raft at %q says that its mesh is %q", n.Addresses.Raft, got)
		}
		back, f, err := decodeTags(n.ID, host, tags)
		if err != nil || !reflect.DeepEqual(back, n) || f != free {
			t.Fatalf("%+v %+v %v; want %+v", back, f, err, n)
		}
	})
}

func TestTagsThatDoNotFitAreRefused(t *testing.T) {
	n := someNode()
	for i := range 60 {
		n.Models = append(n.Models, fmt.Sprintf("detector-%d", i))
	}
	_, err := encodeTags("farm", "6c8e7a36", "10.0.0.7", "", n, n.Capacity)
	if !errors.Is(err, ErrTags) || !strings.Contains(err.Error(), "offer fewer models") {
		t.Error(err)
	}
}

func TestTagsOfAnotherVersionAreRefused(t *testing.T) {
	tags, err := encodeTags("farm", "6c8e7a36", "10.0.0.7", "", someNode(), tiering.Resources{})
	if err != nil {
		t.Fatal(err)
	}
	for key, v := range map[string]string{tagVersion: "2", tagTier: "sky", tagCapacity: "1/2", tagFree: "-1/0/0", tagPlatforms: "cpu", tagHTTP: "nowhere"} {
		bad := map[string]string{}
		for k, w := range tags {
			bad[k] = w
		}
		bad[key] = v
		if _, _, err := decodeTags("edge-1", "10.0.0.7", bad); !errors.Is(err, ErrTags) {
			t.Errorf("%s=%s: %v", key, v, err)
		}
	}
}

func FuzzDecodeTags(f *testing.F) {
	f.Add("1", "edge", "1/2/3", "1/2/3", "cpu:1", "a,b", ":1", "http|:2")
	f.Add("1", "cloud", "", "x", ":", ",", "", "|")
	f.Fuzz(func(t *testing.T, v, tier, capacity, free, platforms, models, data, http string) {
		n, _, err := decodeTags("n", "10.0.0.7", map[string]string{
			tagVersion: v, tagTier: tier, tagCapacity: capacity, tagFree: free,
			tagPlatforms: platforms, tagModels: models, tagData: data, tagHTTP: http,
		})
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
