package state

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weft-mesh/weft/tiering"
)

const gib = 1 << 30

// epoch is when tests happen.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(second int) time.Time { return epoch.Add(time.Duration(second) * time.Second) }

func node(id string, tier tiering.Tier, cores int64) tiering.Node {
	return tiering.Node{
		ID: id, Tier: tier,
		Capacity:  tiering.Resources{CPU: cores * 1000, Memory: cores * 2 * gib, Disk: 20 * gib},
		Platforms: []tiering.Platform{{Type: "cpu", Count: int(cores)}},
		Models:    []string{"yolo"},
		Addresses: tiering.Addresses{Data: id + ":7001"},
	}
}

// pipelineOf is a small workflow: a camera, resize (NI), one detector (HI, as
// it keeps a store) and draw (NI).
func pipelineOf(name string, detectors int) *tiering.Workflow {
	one := tiering.Resources{CPU: 1000, Memory: gib}
	small := tiering.Resources{CPU: 100, Memory: gib / 8}
	return &tiering.Workflow{
		Name:    name,
		Sources: []tiering.Source{{Name: "cam", URI: "videotest:", Resolution: 416}},
		Tasks: []tiering.Task{
			{Name: "resize", Group: "resize", Type: tiering.Preprocess, Operation: "resize", Request: small, Replicas: 1},
			{
				Name: "detect@416", Group: "detect", Type: tiering.DeepModel, Operation: "detect", Store: true,
				Model: &tiering.Model{Name: "yolo", Family: "yolo", Resolution: 416, Fit: tiering.Stretch}, Request: one, Replicas: detectors,
			},
			{Name: "draw", Group: "draw", Type: tiering.Postprocess, Operation: "draw", Request: small, Replicas: 1},
		},
		Links: []tiering.Link{
			{From: "cam", To: "resize", Transport: tiering.QUIC, Encoding: tiering.JPEG, Quality: 90},
			{From: "resize", To: "detect", Transport: tiering.QUIC, Encoding: tiering.JPEG, Quality: 90},
			{From: "detect", To: "draw", Transport: tiering.QUIC, Encoding: tiering.JPEG, Quality: 90},
		},
		Objectives: tiering.Objectives{MinAccuracy: 0.5, Deadline: time.Second},
	}
}

// fixture is a machine fed through its log, as Raft would.
type fixture struct {
	testing.TB
	*Machine
	log [][]byte
}

func newFixture(t testing.TB) *fixture { return &fixture{TB: t, Machine: New()} }

// do applies a command and returns its result.
func (f *fixture) do(cmd Command) Result {
	f.Helper()
	entry, err := Encode(cmd)
	if err != nil {
		f.Fatal(err)
	}
	f.log = append(f.log, entry)
	r, err := f.Apply(uint64(len(f.log)), entry)
	if err != nil {
		f.Fatal(err)
	}
	return r
}

// must applies a command that has to succeed.
func (f *fixture) must(cmd Command) Result {
	f.Helper()
	r := f.do(cmd)
	if r.Err != nil {
		f.Fatalf("%T: %v", cmd, r.Err)
	}
	return r
}

// refused applies a command that has to fail with the error and change nothing.
func (f *fixture) refused(cmd Command, want error) Result {
	f.Helper()
	before := f.contents()
	r := f.do(cmd)
	if !errors.Is(r.Err, want) {
		f.Fatalf("%T: got %v, want %v", cmd, r.Err, want)
	}
	if len(r.Events) > 0 || !bytes.Equal(before, f.contents()) {
		f.Fatalf("%T was refused (%v) but changed the state", cmd, r.Err)
	}
	return r
}

func (f *fixture) nodes(nodes ...tiering.Node) {
	f.Helper()
	for _, n := range nodes {
		f.must(&RegisterNode{Node: n, At: at(0)})
	}
}

func (f *fixture) plan(w *tiering.Workflow) *tiering.Plan {
	f.Helper()
	p, err := tiering.Schedule(f.Snapshot().View(nil), w, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		f.Fatal(err)
	}
	return p
}

func (f *fixture) submit(w *tiering.Workflow) Result {
	f.Helper()
	return f.must(&SubmitWorkflow{Workflow: w, Document: "name: " + w.Name, Plan: f.plan(w), At: at(1)})
}

func (f *fixture) workflow(name string) *Workflow {
	f.Helper()
	w, ok := f.Snapshot().Workflow(name)
	if !ok {
		f.Fatalf("no workflow %s", name)
	}
	return w
}

// where returns the node of a placement, empty if there is none.
func (f *fixture) where(id string) string {
	for _, p := range f.Snapshot().Placements() {
		if p.ID == id {
			return p.Node
		}
	}
	return ""
}

// contents is the state without its index: equal if nothing changed.
func (f *fixture) contents() []byte {
	f.Helper()
	s := f.Snapshot()
	s.index = 0
	return persist(f, s)
}

// fataler is what helpers need of testing.TB and rapid.T.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

func persist(t fataler, s *Snapshot) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Persist(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func types(events []Event) string {
	var b bytes.Buffer
	for _, e := range events {
		fmt.Fprintf(&b, "%s ", e.Type)
	}
	return string(bytes.TrimSpace(b.Bytes()))
}
