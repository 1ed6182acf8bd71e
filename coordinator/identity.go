package coordinator

import (
	"fmt"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/weft-mesh/weft/tiering"
)

// keyCluster is where the stable store keeps the ID of the mesh: a coordinator
// that restarts knows it before it has heard from the others.
var keyCluster = []byte("WeftCluster")

// meshID is the ID of the mesh, once it is known. It never changes.
type meshID struct {
	mu    sync.Mutex
	id    string
	known chan struct{} // closed when id is set
}

func (i *meshID) get() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.id
}

// learn sets the ID. It reports whether that is news.
func (i *meshID) learn(id string) (bool, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch i.id {
	case id:
		return false, nil
	case "":
		i.id = id
		close(i.known)
		return true, nil
	}
	return false, fmt.Errorf("%w: it is of mesh %s, the others of mesh %s", ErrWrongMesh, i.id, id)
}

// ClusterID tells this mesh from others of the same name; empty until Identified.
func (c *Coordinator) ClusterID() string { return c.identity.get() }

// Identified is closed when the mesh has an ID and this coordinator knows it.
func (c *Coordinator) Identified() <-chan struct{} { return c.identity.known }

// recall reads the ID that was kept, or keeps it if it is known by now: it
// could not be kept when it came.
func (c *Coordinator) recall(kept raft.StableStore) error {
	id, err := kept.Get(keyCluster)
	if err != nil {
		return err
	}
	if len(id) == 0 {
		c.keep(kept)
		return nil
	}
	_, err = c.identity.learn(string(id))
	return err
}

// identified keeps the ID of the mesh that the state machine has come to know.
// An error is that it is another mesh's.
func (c *Coordinator) identified(id string, keep raft.StableStore) error {
	if id == "" {
		return nil
	}
	news, err := c.identity.learn(id)
	if err != nil || !news {
		return err
	}
	c.log.Info("the mesh has an ID", "mesh", c.cfg.Cluster, "id", id)
	c.keep(keep)
	return nil
}

// keep keeps the ID, if it is known. That it cannot is no reason to stop.
func (c *Coordinator) keep(kept raft.StableStore) {
	id := c.ClusterID()
	if id == "" {
		return
	}
	if err := kept.Set(keyCluster, []byte(id)); err != nil {
		c.log.Error("the ID of the mesh is not kept; trying again when the storage is opened anew", "id", id, "error", err)
	}
}

var _ acquaintance = (*Coordinator)(nil)

func (c *Coordinator) hello() hello {
	return hello{Version: helloVersion, Cluster: c.ClusterID(), Node: c.cfg.ID, Address: c.addr}
}

func (c *Coordinator) elsewhere(node, addr string) (string, bool) {
	for _, m := range c.members.Members() {
		home := m.Node.Addresses.Raft
		if m.Node.ID == node && m.Status == tiering.NodeAlive && home != "" && home != addr {
			return home, true
		}
	}
	return "", false
}
