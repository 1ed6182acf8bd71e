package tiering

import (
	"errors"
	"fmt"
	"strings"
)

// ErrPeer reports a text that is no [Peer].
var ErrPeer = errors.New("not a node and its address")

// Peer is a node at an address. The address is whatever somebody said of it;
// who dials it makes sure that it is that node which answers.
type Peer struct {
	Node    string
	Tier    Tier
	Address string // host:port
}

// String is TIER/NODE@HOST:PORT.
func (p Peer) String() string { return p.Tier.String() + "/" + p.Node + "@" + p.Address }

// ParsePeer is the inverse of Peer.String.
func ParsePeer(s string) (Peer, error) {
	who, address, ok := strings.Cut(s, "@")
	tier, node, named := strings.Cut(who, "/")
	if !ok || !named || node == "" || address == "" {
		return Peer{}, fmt.Errorf("%w: %q: use TIER/NODE@HOST:PORT", ErrPeer, s)
	}
	p := Peer{Node: node, Address: address}
	var err error
	if p.Tier, err = ParseTier(tier); err != nil {
		return Peer{}, fmt.Errorf("%w: %q: %w", ErrPeer, s, err)
	}
	return p, nil
}

// To is where the offer's link takes frames: to a node by its ID over MQTT,
// where the broker's topics name it, and else to a [Peer].
func (o *Offer) To() string {
	if o.Link.Transport == MQTT {
		return o.Address
	}
	return Peer{o.Node, o.Tier, o.Address}.String()
}
