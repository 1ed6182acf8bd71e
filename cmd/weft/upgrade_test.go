package main

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/weft-mesh/weft/internal/upgradetest"
	"github.com/weft-mesh/weft/internal/yamlfile"
)

// The configuration of the first release's client means what it meant.
func TestConfigurationOfVersion1IsRead(t *testing.T) {
	path := filepath.Join("testdata", "v1", "weft.yaml")
	var c clientFile
	if _, err := yamlfile.Decode(path, upgradetest.Read(t, path), &c); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Addresses, []string{"192.168.1.10:7949", "cloud-2:7949"}) || c.CA != "ca.crt" || c.Cert != "me.crt" || c.Key != "keys/me.key" {
		t.Errorf("read as %+v", c)
	}
}
