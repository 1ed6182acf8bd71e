package coordinator

import (
	"errors"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"
)

// full is a stable store on a disk that is full, or not.
type full struct {
	raft.StableStore
	kept []byte
	err  error
}

func (f *full) Get([]byte) ([]byte, error) { return f.kept, nil }

func (f *full) Set(_, val []byte) error {
	if f.err == nil {
		f.kept = val
	}
	return f.err
}

// An ID that cannot be kept stops nothing, and is kept as soon as it can be.
func TestAnIDThatCannotBeKept(t *testing.T) {
	store := &full{err: syscall.ENOSPC}
	cfg := Config{ID: "c1", Cluster: "test", Log: discard()}
	c := newCoordinator(cfg, nil, nil, "c1:1", nil)
	if err := c.identified("mesh-1", store); err != nil || c.ClusterID() != "mesh-1" {
		t.Fatalf("it is %q, %v", c.ClusterID(), err)
	}
	if err := c.recall(store); err != nil {
		t.Fatal("the disk is still full:", err)
	}
	store.err = nil
	if err := c.recall(store); err != nil {
		t.Fatal(err)
	}
	later := newCoordinator(cfg, nil, nil, "c1:1", nil)
	if err := later.recall(store); err != nil || later.ClusterID() != "mesh-1" {
		t.Fatalf("after a restart: %q, %v", later.ClusterID(), err)
	}
	if err := later.identified("mesh-2", store); !errors.Is(err, ErrWrongMesh) {
		t.Fatalf("another mesh: %v", err)
	}
}
