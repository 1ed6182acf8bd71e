package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/agent/gossip"
	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/tiering"
)

// TestGossipKeyRotation is about the file: of which key it has when.
func TestGossipKeyRotation(t *testing.T) {
	if k := bytes.Repeat([]byte{5}, gossipKeySize); keyPrint(k) != gossip.Fingerprint(k) {
		t.Fatal("fingerprints are not those of agent/gossip")
	}
	f := startFake(t)
	old := bytes.Repeat([]byte{7}, gossipKeySize)
	has := map[string][]string{"cloud-1": {keyPrint(old)}, "fog-1": {keyPrint(old)}}
	var asked []string
	takes := false
	nodes := func() []tiering.NodeKeys {
		return []tiering.NodeKeys{{Node: "cloud-1", Keys: has["cloud-1"]}, {Node: "edge-1", Keys: []string{}}, {Node: "fog-1", Keys: has["fog-1"]}}
	}
	f.handle("GET /v1/gossip-keys", func(w http.ResponseWriter, _ *http.Request) { f.send(w, http.StatusOK, nodes()) })
	f.handle("POST /v1/gossip-keys", func(w http.ResponseWriter, r *http.Request) {
		var k api.GossipKey
		if err := json.NewDecoder(r.Body).Decode(&k); err != nil {
			t.Error(err)
		}
		asked = append(asked, k.Key)
		b, _ := base64.StdEncoding.DecodeString(k.Key)
		has["cloud-1"] = []string{keyPrint(old), keyPrint(b)}
		rotation := tiering.KeyRotation{Key: keyPrint(b), Why: "fog-1 do not have the new key yet"}
		if takes {
			has["cloud-1"], has["fog-1"] = []string{keyPrint(b)}, []string{keyPrint(b)}
			rotation.Done, rotation.Why = true, ""
		}
		rotation.Nodes = nodes()
		f.send(w, http.StatusOK, rotation)
	})
	if c := weft(t, f.config, "gossip-key", "list").want(t, exitOK, ""); !strings.Contains(c.out, "edge-1   no answer ") || !strings.Contains(c.out, keyPrint(old)) {
		t.Errorf("it lists\n%s", c.out)
	}

	file := filepath.Join(t.TempDir(), "gossip.key")
	text := base64.StdEncoding.EncodeToString(old)
	write(t, file, text+"\n")
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	weft(t, f.config, "gossip-key", "rotate", "--file", file).want(t, exitFailure, "chmod 600 "+file)
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		c := weft(t, f.config, "gossip-key", "rotate", "--file", file).want(t, exitFailure, "not done: fog-1 do not have the new key yet; the new key is in "+file)
		if !strings.Contains(c.out, "fog-1") {
			t.Errorf("nothing of the nodes: %s", c.out)
		}
		if lines := strings.Fields(read(t, file)); len(lines) != 2 || lines[1] != text || lines[0] != asked[0] {
			t.Fatalf("the file has %d keys", len(lines))
		}
	}
	takes = true
	weft(t, f.config, "gossip-key", "rotate", "--file", file).want(t, exitOK, "")
	if asked[0] != asked[2] || read(t, file) != asked[0]+"\n" {
		t.Errorf("asked for %v; the file has %s", asked, read(t, file))
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	// Done means that the next time is another one.
	weft(t, f.config, "gossip-key", "rotate", "--file", file).want(t, exitOK, "")
	if asked[3] == asked[2] || read(t, file) != asked[3]+"\n" {
		t.Errorf("the key was not exchanged again")
	}

	// A copy from before somebody else's exchange would bring the old key back.
	was, asks := has["fog-1"], len(asked)
	has["cloud-1"] = append(slices.Clone(was), keyPrint(old)) // still accepts it
	stale := write(t, filepath.Join(t.TempDir(), "gossip.key"), text+"\n")
	weft(t, f.config, "gossip-key", "rotate", "--file", stale).want(t, exitFailure, "no node encrypts with a key of "+stale+
		": it is of another mesh, or from before somebody else exchanged the key (`weft gossip-key list` shows the mesh's fingerprints; this file's are "+keyPrint(old)+")")
	if len(asked) != asks || read(t, stale) != text+"\n" {
		t.Errorf("it asked for %v; the file has %s", asked[asks:], read(t, stale))
	}
	// An exchange of which the coordinators heard nothing goes on.
	now, err := base64.StdEncoding.DecodeString(asked[3])
	if err != nil || !slices.Equal(was, []string{keyPrint(now)}) {
		t.Fatalf("fog-1 has %v, %v", was, err)
	}
	next := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, gossipKeySize))
	write(t, file, next+"\n"+asked[3]+"\n")
	weft(t, f.config, "gossip-key", "rotate", "--file", file).want(t, exitOK, "")
	if asked[4] != next || read(t, file) != next+"\n" {
		t.Errorf("asked for %v; the file has %s", asked, read(t, file))
	}

	weft(t, f.config, "gossip-key", "rotate").want(t, exitUsage, "--file is needed")
	weft(t, f.config, "gossip-key", "rotate", "--file", file+"x").want(t, exitFailure, "--file names the mesh's gossip key")
	write(t, file, "garbage")
	weft(t, f.config, "gossip-key", "rotate", "--file", file).want(t, exitFailure, "holds no gossip key")
}
