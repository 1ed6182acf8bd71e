package tiering

import (
	"errors"
	"testing"
)

func TestPeers(t *testing.T) {
	for text, want := range map[string]Peer{
		"fog/fog-2@10.0.0.2:7947":    {"fog-2", Fog, "10.0.0.2:7947"},
		"edge/a@[fe80::1%eth0]:7947": {"a", Edge, "[fe80::1%eth0]:7947"},
		"cloud/c@host.example:1":     {"c", Cloud, "host.example:1"},
	} {
		if got, err := ParsePeer(text); err != nil || got != want || got.String() != text {
			t.Errorf("%s is read as %+v (%s), %v", text, got, got, err)
		}
	}
	for _, text := range []string{"", "10.0.0.2:7947", "fog-2@10.0.0.2:7947", "@10.0.0.2:7947", "/@10.0.0.2:7947", "fog/@10.0.0.2:7947", "fog/fog-2@", "sky/fog-2@10.0.0.2:7947", "/fog-2@10.0.0.2:7947", "none/fog-2@10.0.0.2:7947"} {
		if got, err := ParsePeer(text); !errors.Is(err, ErrPeer) {
			t.Errorf("%q is read as %+v, %v", text, got, err)
		}
	}
}

func TestOffersNameTheNode(t *testing.T) {
	o := Offer{Node: "fog-2", Tier: Fog, Address: "10.0.0.2:7947", Link: Link{Transport: QUIC}}
	if got := o.To(); got != "fog/fog-2@10.0.0.2:7947" {
		t.Errorf("over QUIC to %s", got)
	}
	o.Address, o.Link.Transport = "fog-2", MQTT
	if got := o.To(); got != "fog-2" {
		t.Errorf("over MQTT to %s", got)
	}
}
