package tiering

import (
	"errors"
	"maps"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"
)

func image(resolution int) Data { return Data{Type: "image", Format: "jpeg", Resolution: resolution} }

// Houmani et al., section VI-D: by resolution, type and format.
func TestDiscoverByData(t *testing.T) {
	offers := []Offer{
		{Instance: "416", Node: "a", Accepts: Data{Type: "image", Resolution: 416}},
		{Instance: "512", Node: "a", Accepts: Data{Type: "image", Resolution: 512}},
		{Instance: "png", Node: "a", Accepts: Data{Type: "image", Format: "png", Resolution: 608}},
		{Instance: "sound", Node: "a", Accepts: Data{Type: "audio"}},
		{Instance: "nano", Node: "a", Accepts: Data{Type: "image", Resolution: 320, Model: "nano"}},
		{Instance: "large", Node: "a", Accepts: Data{Type: "image", Resolution: 320, Model: "large"}},
	}
	tests := []struct {
		want Data
		got  string // instance; empty: none
	}{
		{image(416), "416"},
		{image(512), "512"},
		{image(608), ""},
		{Data{Type: "image", Format: "png", Resolution: 608}, "png"},
		{Data{Type: "image", Resolution: 608}, "png"},
		{image(0), ""},
		{Data{Type: "audio", Resolution: 3}, "sound"},
		{Data{Type: "text"}, ""},
		{Data{Type: "image", Resolution: 320, Model: "large"}, "large"},
		{Data{Type: "image", Resolution: 320, Model: "huge"}, ""},
		{image(320), "nano"},
		{Data{Type: "image", Resolution: 416, Model: "huge"}, "416"}, // of before offers named models
	}
	for _, tt := range tests {
		o, err := Discover(tt.want, "a", Edge, offers, nil, 0)
		if o.Instance != tt.got || errors.Is(err, ErrNoOffer) != (tt.got == "") {
			t.Errorf("Discover(%v) = %q, %v; want %q", tt.want, o.Instance, err, tt.got)
		}
	}
	_, err := Discover(Data{Type: "image", Resolution: 320, Model: "huge"}, "a", Edge, offers[4:5], nil, 0)
	if want := "no instance takes the data: image at 320 for huge is wanted, on offer is image at 320 for nano"; err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	_, err = Discover(image(600), "a", Edge, offers[:2], nil, 0)
	if want := "no instance takes the data: image jpeg at 600 is wanted, on offer is image at 416, image at 512"; err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	_, err = Discover(image(600), "a", Edge, nil, nil, 0)
	if want := "no instance takes the data: image jpeg at 600 is wanted and no instance is running"; err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

func TestDiscoverNearest(t *testing.T) {
	offer := func(node string, t Tier) Offer {
		return Offer{Instance: node, Node: node, Tier: t, Accepts: Data{Type: "image"}}
	}
	here, edge2 := offer("edge-1", Edge), offer("edge-2", Edge)
	fog1, fog2, cloud := offer("fog-1", Fog), offer("fog-2", Fog), offer("cloud", Cloud)
	trips := map[string]float64{"edge-1 edge-2": 18, "edge-1 fog-1": 8, "edge-1 fog-2": 8.7, "cloud edge-1": 8.9}
	tests := []struct {
		name   string
		offers []Offer
		trips  map[string]float64
		turns  []string // instances, turn by turn
	}{
		{"same node before anything", []Offer{cloud, fog1, here, edge2}, map[string]float64{"cloud edge-1": 0}, []string{"edge-1", "edge-1"}},
		{"round trip before tier", []Offer{edge2, fog1}, trips, []string{"fog-1", "fog-1"}},
		{"measured before unmeasured", []Offer{edge2, fog1}, map[string]float64{"edge-1 fog-1": 50}, []string{"fog-1", "fog-1"}},
		{"tier when nothing is measured", []Offer{cloud, fog1, edge2}, nil, []string{"edge-2", "edge-2"}},
		{"equals take turns", []Offer{fog1, cloud, fog2}, nil, []string{"fog-1", "fog-2", "fog-1"}},
		{"a millisecond apart is equal, but for the tier", []Offer{fog1, cloud, fog2}, trips, []string{"fog-1", "fog-2", "fog-1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for turn, want := range tt.turns {
				o, err := Discover(image(416), "edge-1", Edge, tt.offers, tripTable(tt.trips), uint64(turn))
				if err != nil || o.Instance != want {
					t.Errorf("turn %d: %q, %v; want %q", turn, o.Instance, err, want)
				}
			}
		})
	}
}

// Nearest are those that Discover returns as turns go on, whatever there is.
func TestNearestTakeTurns(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		nodes := []string{"a", "b", "c", "d"}
		offers := make([]Offer, rng.IntN(7))
		for i := range offers {
			offers[i] = Offer{
				Instance: strconv.Itoa(i), Node: nodes[rng.IntN(len(nodes))], Tier: Tier(rng.IntN(3)),
				Accepts: Data{Type: "image", Resolution: []int{0, 416, 512}[rng.IntN(3)]},
			}
		}
		far := map[string]time.Duration{}
		for _, n := range nodes {
			far[n] = time.Duration(rng.IntN(4)) * 700 * time.Microsecond
		}
		rtt := func(_, to string) (time.Duration, bool) { return far[to], to != "d" }
		near, found := map[string]bool{}, map[string]bool{}
		for _, o := range Nearest(image(416), "a", Edge, offers, rtt) {
			near[o.Instance] = true
		}
		for turn := range uint64(len(offers)) {
			if o, err := Discover(image(416), "a", Edge, offers, rtt, turn); err == nil {
				found[o.Instance] = true
			}
		}
		if !maps.Equal(near, found) {
			t.Fatalf("%+v at %v: nearest are %v, found are %v", offers, far, near, found)
		}
	}
}
