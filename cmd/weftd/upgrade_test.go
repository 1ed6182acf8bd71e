package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/upgradetest"
	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/tiering"
)

// Configurations of the first release, one with every key and one with those
// that are needed, are sound and mean what they meant. The values are not to be
// changed; keys that are added have a default.
func TestConfigurationsOfVersion1AreRead(t *testing.T) {
	for name, want := range map[string]func(c *configFile){
		"weftd.yaml": func(c *configFile) {
			c.Node.Name, c.Node.Tier, c.Node.Retain, c.Node.Threads = "edge-1", tiering.Edge, 100, 2
			c.Node.Capacity.CPU, c.Node.Capacity.Memory, c.Node.Capacity.Disk = 1500, 4<<30, 32<<30
			c.DataDir, c.MediaDir, c.ModelsDir, c.Catalogue = "data", "media", "models", "models.yaml"
			c.Listen.Gossip, c.Listen.Data, c.Listen.Raft = "0.0.0.0:1", "0.0.0.0:2", "0.0.0.0:3"
			c.Listen.API, c.Listen.HTTP, c.Listen.MQTT = "0.0.0.0:4", "127.0.0.1:5", "0.0.0.0:6"
			c.Advertise, c.Join = "192.168.1.21", []string{"192.168.1.10:7946", "192.168.1.11:7946"}
			c.Coordinator.Enabled, c.Coordinator.Expect, c.Coordinator.Dedicated = true, 3, true
			c.MQTT.Broker = "tls://mqtt.example:8883"
			c.Log.Level, c.Log.Format = slog.LevelDebug, "json"
		},
		"least.yaml": func(c *configFile) {
			c.Node.Name, c.Node.Tier, c.Node.Retain = "edge-1", tiering.Edge, 500
			c.DataDir = "/var/lib/weft"
			c.Listen.Gossip, c.Listen.Data, c.Listen.Raft = "0.0.0.0:7946", "0.0.0.0:7947", "0.0.0.0:7948"
			c.Listen.API, c.Listen.HTTP, c.Listen.MQTT = "0.0.0.0:7949", "127.0.0.1:7950", "0.0.0.0:8883"
			c.Coordinator.Expect = 1
			c.Log.Format = "text"
		},
	} {
		path := filepath.Join("testdata", "v1", name)
		got, expected := defaults(), defaults()
		doc, err := yamlfile.Decode(path, upgradetest.Read(t, path), &got)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := check(doc, &got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		expected.Mesh, expected.GossipKey = "farm", "gossip.key"
		expected.TLS.CA, expected.TLS.Cert, expected.TLS.Key = "ca.crt", "edge-1.crt", "edge-1.key"
		want(&expected)
		if !reflect.DeepEqual(got, expected) {
			t.Errorf("%s is read as %+v, it meant %+v", name, got, expected)
		}
	}
}

// A node whose files the first release made starts with them. Its certificate
// has no tier, which is its configuration's then.
func TestANodeOfVersion1Starts(t *testing.T) {
	file, text := goodConfig(t)
	if err := os.WriteFile(file, []byte(strings.NewReplacer("edge-1", "fog-1", "tier: edge", "tier: fog").Replace(text)), 0o600); err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(filepath.Dir(file), "keys")
	if err := os.RemoveAll(keys); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ca.crt", "fog-1.crt", "fog-1.key"} {
		content := upgradetest.Read(t, filepath.Join("..", "..", "internal", "pki", "testdata", "v1", name))
		if err := os.WriteFile(filepath.Join(keys, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, _, err := readConfig(t.Context(), file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Identity.Subject.String(); s != "spiffe://farm/agent/fog/fog-1" {
		t.Errorf("it is %s", s)
	}
}
