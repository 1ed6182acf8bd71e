package state

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/tiering"
)

var update = flag.Bool("update", false, "rewrite the golden files; only together with a new format version")

// golden compares bytes in hexadecimal, so that a diff shows what changed. A
// difference means that logs and snapshots on disk can no longer be read.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Fatalf("the format on disk has changed: got\n%s\nwant\n%s", got, want)
	}
}

// commands has one of each kind, and together makes a state with one of
// everything, but for those of drains.
func commands() []Command {
	w := pipelineOf("people", 1)
	p := func(task string, instance int, on, tier string, c tiering.Category, r tiering.Resources) tiering.Placement {
		t, _ := tiering.ParseTier(tier)
		return tiering.Placement{
			ID: tiering.SlotID("people", task, instance), Workflow: "people", Task: task, Instance: instance,
			Source: c == "", Node: on, Tier: t, Category: c, Requested: r, Reserved: r, Reason: "because",
		}
	}
	one := tiering.Resources{CPU: 1000, Memory: gib}
	small := tiering.Resources{CPU: 100, Memory: gib / 8}
	detect := p("detect@416", 0, "fog-1", "fog", tiering.HI, one)
	moved := detect
	moved.Node = "fog-2"
	return []Command{
		&SetCluster{Name: "demo", At: at(0)},
		&RegisterNode{Node: node("edge-1", tiering.Edge, 1), At: at(1)},
		&RegisterNode{Node: node("fog-1", tiering.Fog, 4), At: at(2)},
		&RegisterNode{Node: node("fog-2", tiering.Fog, 4), At: at(3)},
		&SubmitWorkflow{Workflow: w, Document: "kind: Workflow\n", Plan: &tiering.Plan{
			Workflow: "people", Index: 4, Categories: map[string]tiering.Category{"resize": tiering.NI, "detect@416": tiering.HI, "draw": tiering.NI},
			Reservations: []tiering.Reservation{{Node: "fog-1", Tier: tiering.Fog, Category: tiering.HI, Count: 1, Each: one, Asked: one}},
			Place: []tiering.Placement{
				p("cam", 0, "edge-1", "edge", "", tiering.Resources{}), p("resize", 0, "edge-1", "edge", tiering.NI, small),
				detect, p("draw", 0, "fog-1", "fog", tiering.NI, small),
			},
			Unplaced: []tiering.Unplaced{{Name: "gate", Reason: "node edge-9 is not alive"}},
		}, At: at(4)},
		&SetNodeStatus{Node: "fog-1", Status: tiering.NodeFailed, At: at(5)},
		&SetWorkflowStatus{Name: "people", Status: Degraded, Reason: "fog is short of 1 core", At: at(6)},
		&CommitPlan{Plan: &tiering.Plan{
			Workflow: "people", Index: 7, Place: []tiering.Placement{moved},
			Adjust: []tiering.Adjustment{}, Remove: []string{"people/draw#0"},
		}, Version: 1, At: at(7)},
		&ForgetNode{Node: "fog-1", At: at(8)},
		&StopWorkflow{Name: "cars", At: at(9)},
		&PutToken{ID: "0123456789abcdef", Name: "ci", Scope: ScopeSubmit, Hash: bytes.Repeat([]byte{0xa5}, 32), Expires: at(99), At: at(10)},
		&PutToken{ID: "fedcba9876543210", Name: "old", Scope: ScopeRead, Hash: bytes.Repeat([]byte{0x5a}, 32), At: at(11)},
		&DeleteToken{Name: "old", At: at(12)},
	}
}

// drains goes on from commands with those of drains, which came later: that the
// golden files of the others are as they were shows that old logs are read.
func drains() []Command {
	moving := tiering.Placement{
		ID: "people/detect@416#0", Workflow: "people", Task: "detect@416", Node: "cloud-1", Tier: tiering.Cloud, Category: tiering.HI,
		Requested: tiering.Resources{CPU: 1000, Memory: gib}, Reserved: tiering.Resources{CPU: 1000, Memory: gib}, Reason: "because", From: "fog-2",
	}
	return []Command{
		&RegisterNode{Node: node("cloud-1", tiering.Cloud, 8), At: at(10)},
		&SetNodeDrain{Node: "fog-2", Drain: true, At: at(11)},
		&HoldPlacement{Placement: moving.ID, Node: "fog-2", Reason: "no cloud node is alive", At: at(12)},
		&CommitPlan{Plan: &tiering.Plan{Workflow: "people", Index: 12, Place: []tiering.Placement{moving}, Unplaced: []tiering.Unplaced{}}, Version: 1, At: at(13)},
		&SwitchMove{Placement: moving.ID, Node: "cloud-1", At: at(14)},
		&SetNodeDrain{Node: "edge-1", Drain: true, At: at(15)},
		&HoldPlacement{Placement: "people/resize#0", Node: "edge-1", Reason: "it fits nowhere", At: at(15)},
		&FinishMove{Placement: "people/none#0", Node: "cloud-1", At: at(16)},
	}
}

// makers goes on from them with tokens that say who made them.
func makers() []Command {
	return []Command{
		&PutToken{ID: "00000000000000aa", Name: "board", Scope: ScopeRead, Hash: bytes.Repeat([]byte{0xaa}, 32), At: at(17), By: "spiffe://demo/operator/ada"},
		&PutToken{ID: "00000000000000bb", Name: "nested", Scope: ScopeAdmin, Hash: bytes.Repeat([]byte{0xbb}, 32), Expires: at(99), At: at(18), By: "token:ci:0123456789abcdef"},
	}
}

// adaptations go on from commands with the qualities of sources.
func adaptations() []Command {
	return []Command{
		&AdaptSources{
			Workflow: "people", Version: 1, Why: "the fastest with accuracy of 0.500 or more", Memory: []byte(`{"turn":1}`), At: at(20),
			Adaptation: tiering.Adaptation{Qualities: map[string]tiering.Quality{"cam": {Model: "yolo", Resolution: 416, Every: 2}}},
		},
		&AdaptSources{
			Workflow: "people", Version: 1, Why: "no source can be served", Memory: []byte(`{"turn":2}`), At: at(21),
			Adaptation: tiering.Adaptation{
				Qualities: map[string]tiering.Quality{"cam": {Model: "yolo", Resolution: 416, Every: 1}}, Held: map[string]string{"cam": "0.9 is asked for"},
			},
		},
	}
}

// profiles go on from commands with what detectors were measured to cost.
func profiles() []Command {
	slower := measured("yolo", 416, 160*time.Millisecond, 60)
	slower.Live = true
	return []Command{
		&PutProfiles{Node: "fog-2", Profiles: []profile.Profile{measured("yolo", 512, 120*time.Millisecond, 30), measured("yolo", 416, 80*time.Millisecond, 30)}, At: at(31)},
		&PutProfiles{Node: "fog-2", Profiles: []profile.Profile{slower}, At: at(61)},
	}
}

// awaited goes on from commands with a version that waits for a model, and then
// cannot be placed.
func awaited() []Command {
	w := pipelineOf("people", 1)
	w.Tasks[1].Model.Name = "yolox"
	plan := func(why string) *tiering.Plan {
		return &tiering.Plan{
			Workflow: "people", Index: 13, Awaits: true, Categories: map[string]tiering.Category{}, Reservations: []tiering.Reservation{},
			Place: []tiering.Placement{}, Keep: []tiering.Placement{}, Adjust: []tiering.Adjustment{}, Remove: []string{},
			Unplaced: []tiering.Unplaced{{Name: "detect@416", Reason: why}},
		}
	}
	return []Command{
		&SubmitWorkflow{Workflow: w, Document: "kind: Workflow\n# new\n", Plan: plan("waiting for model yolox on fog-2"), At: at(40)},
		&SetWorkflowStatus{Name: "people", Status: Pending, Reason: "fog is short of 1 core", Next: 2, At: at(41)},
		&CommitPlan{Plan: plan("waiting for model yolox on fog-2, fog-3"), Version: 2, At: at(42)},
	}
}

func TestGoldenCommands(t *testing.T) {
	goldenCommands(t, "adaptations.golden", adaptations())
	goldenCommands(t, "awaited.golden", awaited())
	goldenCommands(t, "commands.golden", commands())
	goldenCommands(t, "drains.golden", drains())
	goldenCommands(t, "makers.golden", makers())
	goldenCommands(t, "profiles.golden", profiles())
}

func goldenCommands(t *testing.T, file string, commands []Command) {
	t.Helper()
	var b strings.Builder
	for _, cmd := range commands {
		entry, err := Encode(cmd)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%T\n%s", cmd, hex.Dump(entry))
		back, err := Decode(entry)
		if err != nil || !Same(back, cmd) {
			t.Fatalf("%T came back as %+v, %v", cmd, back, err)
		}
	}
	golden(t, file, b.String())
}

func TestGoldenSnapshot(t *testing.T) {
	goldenSnapshot(t, "snapshot.golden", commands())
	goldenSnapshot(t, "draining.golden", append(commands(), drains()...))
	goldenSnapshot(t, "made.golden", append(commands(), makers()...))
	goldenSnapshot(t, "adapted.golden", append(commands(), adaptations()...))
	goldenSnapshot(t, "profiled.golden", append(commands(), profiles()...))
	goldenSnapshot(t, "waiting.golden", append(commands(), awaited()...))
}

func goldenSnapshot(t *testing.T, file string, commands []Command) {
	t.Helper()
	f := newFixture(t)
	for _, cmd := range commands {
		if r := f.do(cmd); r.Err != nil && !errors.Is(r.Err, ErrNotFound) {
			t.Fatal(r.Err)
		}
	}
	b := persist(t, f.Snapshot())
	golden(t, file, hex.Dump(b))

	back := New()
	if err := back.Restore(bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	s, r := f.Snapshot(), back.Snapshot()
	for what, pair := range map[string][2]any{
		"index":      {s.Index(), r.Index()},
		"revision":   {s.Revision(), r.Revision()},
		"cluster":    {s.Cluster(), r.Cluster()},
		"nodes":      {s.Nodes(), r.Nodes()},
		"workflows":  {s.Workflows(), r.Workflows()},
		"placements": {s.Placements(), r.Placements()},
		"tokens":     {s.Tokens(), r.Tokens()},
		"qualities":  {s.Adaptations(), r.Adaptations()},
		"profiles":   {s.Profiles(), r.Profiles()},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s: restored\n%+v\nwas\n%+v", what, pair[1], pair[0])
		}
	}
}

func TestRestoreRefusesDamage(t *testing.T) {
	f := newFixture(t)
	f.nodes(node("edge-1", tiering.Edge, 1), node("fog-1", tiering.Fog, 4))
	f.submit(pipelineOf("people", 1))
	good := persist(t, f.Snapshot())
	before := f.Snapshot()

	try := func(what string, b []byte) {
		if err := f.Restore(bytes.NewReader(b)); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%s: got %v, want ErrCorrupt", what, err)
		}
		if f.Snapshot().Index() != before.Index() || !bytes.Equal(persist(t, f.Snapshot()), good) {
			t.Fatalf("%s: a snapshot that was refused changed the state", what)
		}
	}
	for n := 0; n < len(good); n += 5 {
		try(fmt.Sprintf("cut at %d", n), good[:n])
	}
	for n := 0; n < len(good); n += 7 {
		b := bytes.Clone(good)
		b[n] ^= 0x10
		try(fmt.Sprintf("byte %d flipped", n), b)
	}
	try("trailing data", append(bytes.Clone(good), 0))
	try("twice", append(bytes.Clone(good), good...))
}

type brokenPipe struct{ left int }

func (b *brokenPipe) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

func TestPersistReportsWriteErrors(t *testing.T) {
	f := newFixture(t)
	f.nodes(node("edge-1", tiering.Edge, 1))
	size := len(persist(t, f.Snapshot()))
	for n := range size {
		if err := f.Snapshot().Persist(&brokenPipe{n}); !errors.Is(err, io.ErrClosedPipe) {
			t.Fatalf("disk full after %d of %d bytes: %v", n, size, err)
		}
	}
}

// FuzzApply feeds bytes to the log: they are refused as corrupt, or they are a
// command that comes back from its encoding and is applied alike everywhere.
func FuzzApply(f *testing.F) {
	for _, cmd := range slices.Concat(commands(), drains(), adaptations(), profiles(), awaited()) {
		entry, err := Encode(cmd)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(entry)
	}
	f.Add([]byte{commandVersion, byte(kindCommitPlan), 0xa0})
	f.Fuzz(func(t *testing.T, entry []byte) {
		m, replica := New(), New()
		for i, cmd := range commands()[:5] {
			b, err := Encode(cmd)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range []*Machine{m, replica} {
				if _, err := x.Apply(uint64(i+1), b); err != nil {
					t.Fatal(err)
				}
			}
		}
		r, err := m.Apply(6, entry)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("error %v is not ErrCorrupt", err)
			}
			return
		}
		if r.Err != nil && len(r.Events) > 0 {
			t.Fatal("a refused command has events")
		}
		if _, err := replica.Apply(6, entry); err != nil {
			t.Fatalf("a replica could not apply it: %v", err)
		}
		b := persist(t, m.Snapshot())
		if !bytes.Equal(b, persist(t, replica.Snapshot())) {
			t.Fatal("replicas differ")
		}
		back := New()
		if err := back.Restore(bytes.NewReader(b)); err != nil {
			t.Fatalf("what was persisted cannot be restored: %v", err)
		}
		if !bytes.Equal(b, persist(t, back.Snapshot())) {
			t.Fatal("restored state differs")
		}
		cmd, err := Decode(entry)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Encode(cmd)
		if err != nil {
			t.Fatal(err)
		}
		if cmd2, err := Decode(again); err != nil || !Same(cmd, cmd2) {
			t.Fatalf("%+v came back as %+v, %v", cmd, cmd2, err)
		}
	})
}

// FuzzRestore feeds bytes as a snapshot: they are refused as corrupt, or they
// are a state that comes back from its own snapshot.
func FuzzRestore(f *testing.F) {
	m := newFixture(f)
	f.Add(persist(f, m.Snapshot()))
	for _, cmd := range slices.Concat(commands(), drains(), adaptations(), profiles(), awaited()) {
		m.do(cmd)
		f.Add(persist(f, m.Snapshot()))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := New()
		if err := m.Restore(bytes.NewReader(b)); err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("error %v is not ErrCorrupt", err)
			}
			return
		}
		first := persist(t, m.Snapshot())
		back := New()
		if err := back.Restore(bytes.NewReader(first)); err != nil {
			t.Fatalf("what was persisted cannot be restored: %v", err)
		}
		if !bytes.Equal(first, persist(t, back.Snapshot())) {
			t.Fatal("restored state differs")
		}
	})
}

// FuzzRestoreRecord gets past the checksum: one record with any body.
func FuzzRestoreRecord(f *testing.F) {
	c := newCodec()
	add := func(k recordKind, v any) {
		b, err := c.enc.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(k), b)
	}
	add(recordCluster, cluster{Key: clusterKey, Name: "demo"})
	add(recordNode, Node{Node: node("fog-1", tiering.Fog, 4), Status: tiering.NodeAlive, Since: at(0)})
	add(recordWorkflow, Workflow{Name: "people", Spec: pipelineOf("people", 1), Status: Running})
	add(recordWorkflow, Workflow{Name: "people", Spec: pipelineOf("people", 1), Status: Running, Next: &Submission{Spec: pipelineOf("people", 2), Version: 2}})
	add(recordToken, Token{ID: "0123456789abcdef", Name: "ci", Scope: ScopeRead})
	add(recordAdaptation, Adaptation{Workflow: "people", Adaptation: tiering.Adaptation{
		Qualities: map[string]tiering.Quality{"cam": {Model: "yolo", Resolution: 416, Every: 2}}, Held: map[string]string{"cam": "0.9 is asked for"},
	}})
	add(recordProfiles, Profiles{Node: "fog-1", Profiles: []profile.Profile{measured("yolo", 416, time.Millisecond, 1)}})
	add(recordPlacement, tiering.Placement{ID: "people/cam#0", Workflow: "people", Node: "fog-1"})
	f.Fuzz(func(t *testing.T, kind uint8, body []byte) {
		var b bytes.Buffer
		p := &persister{codec: c, w: &b}
		p.write([]byte(magic))
		p.item(header{snapshotVersion, 1, 1})
		p.item(record{Kind: recordKind(kind), Body: body})
		p.records++
		e := end{p.records, p.crc}
		p.item(record{Kind: recordEnd, Body: p.marshal(e)})
		if p.err != nil {
			t.Skip("not CBOR")
		}
		m := New()
		if err := m.Restore(&b); err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("error %v is not ErrCorrupt", err)
			}
			return
		}
		persist(t, m.Snapshot())
		_ = m.Snapshot().View(nil)
		_ = m.Snapshot().Assignments("fog-1")
		for i, cmd := range []Command{
			&SetNodeStatus{Node: "fog-1", Status: tiering.NodeFailed, At: at(1)},
			&StopWorkflow{Name: "people", At: at(2)},
		} {
			entry, err := Encode(cmd)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.Apply(uint64(i+2), entry); err != nil {
				t.Fatal(err)
			}
		}
	})
}
