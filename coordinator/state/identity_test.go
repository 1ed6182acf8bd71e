package state

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

const someID = "6c8e7a36-5a57-4d56-9f0b-0c7d1f2f6a11"

func TestMeshGetsItsIDOnce(t *testing.T) {
	f := newFixture(t)
	// As an older version wrote it: a name and no ID.
	f.must(&SetCluster{Name: "demo", At: at(0)})
	if id := f.Snapshot().ClusterID(); id != "" {
		t.Fatalf("nobody drew an ID, and it is %q", id)
	}
	f.must(&SetCluster{Name: "demo", ID: someID, At: at(1)})
	f.must(&SetCluster{Name: "demo", ID: "another", At: at(2)})
	f.must(&SetCluster{Name: "demo", At: at(3)})
	if s := f.Snapshot(); s.ClusterID() != someID || s.Cluster() != "demo" {
		t.Fatalf("mesh %q has ID %q, want the first, %q", s.Cluster(), s.ClusterID(), someID)
	}
	f.refused(&SetCluster{Name: "other", ID: someID, At: at(4)}, ErrConflict)
}

// The ID came later: what has none is still written and read as before, which
// the golden files of the commands and of the snapshot see to.
func TestGoldenIdentity(t *testing.T) {
	f := newFixture(t)
	cmd := &SetCluster{Name: "demo", ID: someID, At: at(0)}
	f.must(cmd)
	entry, err := Encode(cmd)
	if err != nil {
		t.Fatal(err)
	}
	b := persist(t, f.Snapshot())
	var out strings.Builder
	fmt.Fprintf(&out, "%T\n%ssnapshot\n%s", cmd, hex.Dump(entry), hex.Dump(b))
	golden(t, "identity.golden", out.String())

	back := New()
	if err := back.Restore(bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	if id := back.Snapshot().ClusterID(); id != someID {
		t.Fatalf("restored ID %q", id)
	}
}
