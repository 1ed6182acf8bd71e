package coordinator

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// The conditions under which two coordinators do not talk.
var (
	// ErrOtherMesh: the two are of meshes that were set up apart.
	ErrOtherMesh = errors.New("coordinator of another mesh")
	// ErrOtherNode: who answers is not who was meant, or not who it says.
	ErrOtherNode = errors.New("not the coordinator that was meant")
	// ErrHello: the other end does not speak this version's protocol.
	ErrHello = errors.New("no common Raft protocol")
)

const (
	helloVersion = 1
	maxHello     = 4 << 10
)

// hello is what each end of a Raft connection says of itself first, the one
// that dialled before the one that answers: two bytes of length, then JSON.
// Fields may be added; a change of meaning takes a new version.
type hello struct {
	Version int    `json:"version"`
	Cluster string `json:"cluster,omitempty"` // ID of the mesh; empty: it has none yet
	Node    string `json:"node"`
	Address string `json:"address"`        // where the others dial it
	Want    string `json:"want,omitempty"` // node that the caller means to reach
	// Refused is why the answering end will not go on.
	Refused string `json:"refused,omitempty"`
}

// check compares what the other end says with what this one knows. proven is
// the node that its certificate is of.
func (h *hello) check(peer *hello, proven string) error {
	switch {
	case peer.Version != helloVersion:
		return fmt.Errorf("%w: %s at %s speaks version %d, %s at %s version %d; run the same weftd on all coordinators",
			ErrHello, peer.Node, peer.Address, peer.Version, h.Node, h.Address, helloVersion)
	case peer.Node != proven:
		return fmt.Errorf("%w: %s at %s has the certificate of %s; issue it its own with `weft ca issue`", ErrOtherNode, peer.Node, peer.Address, proven)
	case h.Cluster != "" && peer.Cluster != "" && h.Cluster != peer.Cluster:
		return fmt.Errorf("%w: %s at %s is of mesh %s, %s at %s of mesh %s, set up apart under one name; correct `join` on whichever is wrong, or, to give up its mesh, stop it and remove its data directory's raft/",
			ErrOtherMesh, h.Node, h.Address, h.Cluster, peer.Node, peer.Address, peer.Cluster)
	case peer.Node == h.Node:
		return fmt.Errorf("%w: %s at %s has the name of the coordinator at %s; give one of them another `node.name` and a certificate for it",
			ErrOtherNode, peer.Node, peer.Address, h.Address)
	case peer.Want != "" && peer.Want != h.Node:
		return fmt.Errorf("%w: %s looks for %s at %s, where %s is now; the address was used again; a leader will look for %s where gossip says it is, and if none is elected because the majority moved, see docs/recovery.md",
			ErrOtherNode, peer.Node, peer.Want, h.Address, h.Node, peer.Want)
	}
	return nil
}

func (h *hello) write(w io.Writer) error {
	body, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if len(body) > maxHello {
		return fmt.Errorf("%w: a hello of %d bytes", ErrHello, len(body))
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(body))), body...)) //nolint:gosec // at most maxHello
	return err
}

func (h *hello) read(r io.Reader) error {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint16(size[:])
	if n > maxHello {
		return fmt.Errorf("%w: a hello of %d bytes", ErrHello, n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	if err := json.Unmarshal(body, h); err != nil {
		return fmt.Errorf("%w: %w", ErrHello, err)
	}
	return nil
}
