package state

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/upgradetest"
	"github.com/weft-mesh/weft/tiering"
)

// A log that the first release wrote is read and carried out: each line of
// commands.txt is an entry, its type and what it said.
func TestTheLogOfVersion1IsRead(t *testing.T) {
	m := New()
	kinds := map[string]bool{}
	for line := range strings.Lines(string(upgradetest.Read(t, "testdata/v1/commands.txt"))) {
		parts := strings.SplitN(strings.TrimSpace(line), " ", 3)
		entry, err := hex.DecodeString(parts[0])
		if err != nil {
			t.Fatal(err)
		}
		kinds[parts[1]] = true
		cmd, err := Decode(entry)
		if err != nil || fmt.Sprintf("%T", cmd) != "*state."+parts[1] {
			t.Fatalf("%s is read as %T, %v", parts[1], cmd, err)
		}
		upgradetest.Holds(t, parts[1], cmd, []byte(parts[2]))
		index := m.Snapshot().Index() + 1
		if r, err := m.Apply(index, entry); err != nil || r.Err != nil {
			t.Errorf("%s at index %d: %v, %v, %v", parts[1], index, err, r.Err, r.Refused)
		}
	}
	if len(kinds) != 8 {
		t.Errorf("the log has commands of %d kinds, version 1 had 8: %v", len(kinds), kinds)
	}
	// What follows from the log, such as a reason's wording, may be better told.
	var was struct {
		Cluster    string              `json:"cluster"`
		Placements []tiering.Placement `json:"placements"`
	}
	if err := json.Unmarshal(upgradetest.Read(t, "testdata/v1/snapshot.json"), &was); err != nil {
		t.Fatal(err)
	}
	if s := m.Snapshot(); s.Cluster() != was.Cluster || !slices.Equal(s.Placements(), was.Placements) {
		t.Errorf("after it, mesh %q has %+v; it had %+v", s.Cluster(), s.Placements(), was.Placements)
	}
}

// A snapshot that the first release wrote is restored, and comes back from one
// of today.
func TestTheSnapshotOfVersion1IsRestored(t *testing.T) {
	b := undump(t, upgradetest.Read(t, "testdata/v1/snapshot.hex"))
	want := upgradetest.Read(t, "testdata/v1/snapshot.json")
	m := New()
	if err := m.Restore(bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	upgradetest.Holds(t, "restored", contentsOf(m.Snapshot()), want)
	again := New()
	if err := again.Restore(bytes.NewReader(persist(t, m.Snapshot()))); err != nil {
		t.Fatal(err)
	}
	upgradetest.Holds(t, "restored from a snapshot of today", contentsOf(again.Snapshot()), want)
}

// contentsOf is all that a snapshot has.
func contentsOf(s *Snapshot) any {
	return map[string]any{
		"index": s.Index(), "revision": s.Revision(), "cluster": s.Cluster(),
		"nodes": s.Nodes(), "workflows": s.Workflows(), "placements": s.Placements(),
	}
}

// undump is the inverse of hex.Dump.
func undump(t *testing.T, dump []byte) (out []byte) {
	t.Helper()
	for line := range strings.Lines(string(dump)) {
		_, line, _ = strings.Cut(line, "  ")
		line, _, _ = strings.Cut(line, "|")
		b, err := hex.DecodeString(strings.Join(strings.Fields(line), ""))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b...)
	}
	return out
}
