package tiering

import (
	"errors"
	"fmt"
)

// ErrUnknownTier reports a tier name that is none of edge, fog and cloud.
var ErrUnknownTier = errors.New("unknown tier")

// Tier is a node's place between the data sources and the data centre
// (Houmani et al., section IV, "infrastructure level"; what the paper calls
// cloudlet is Fog).
type Tier uint8

// The tiers, ordered from the data sources to the data centre. The zero Tier
// is no tier.
const (
	Edge Tier = iota + 1
	Fog
	Cloud
)

// Tiers lists every tier from the edge to the cloud.
func Tiers() []Tier { return []Tier{Edge, Fog, Cloud} }

// String returns edge, fog or cloud.
func (t Tier) String() string {
	switch t {
	case Edge:
		return "edge"
	case Fog:
		return "fog"
	case Cloud:
		return "cloud"
	}
	return "none"
}

// ParseTier is the inverse of String.
func ParseTier(s string) (Tier, error) {
	for _, t := range Tiers() {
		if t.String() == s {
			return t, nil
		}
	}
	return 0, fmt.Errorf("%w %q: use edge, fog or cloud", ErrUnknownTier, s)
}

// MarshalText encodes the tier's name; the zero Tier is the empty text.
func (t Tier) MarshalText() ([]byte, error) {
	if t == 0 {
		return nil, nil
	}
	return []byte(t.String()), nil
}

// UnmarshalText decodes a tier's name.
func (t *Tier) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*t = 0
		return nil
	}
	v, err := ParseTier(string(b))
	if err != nil {
		return err
	}
	*t = v
	return nil
}

// Distance is the number of tiers between a and b: edge to cloud is 2, since
// data pass through the fog (Houmani et al., Eq. 2).
func Distance(a, b Tier) int {
	if a > b {
		return int(a - b)
	}
	return int(b - a)
}
