package testbed

import (
	"fmt"
	"slices"
)

// WithSources returns the scenario with n sources like its own, which it must
// have: the first of them, or all of them and more like the first, which go on
// over the nodes that have sources. None come or go later.
func (s *Scenario) WithSources(n int) *Scenario {
	out := *s
	out.Reserve = nil
	out.Sources = slices.Clone(s.Sources[:min(n, len(s.Sources))])
	var nodes []string
	for _, x := range s.Sources {
		if !slices.Contains(nodes, x.Node) {
			nodes = append(nodes, x.Node)
		}
	}
	for k := len(out.Sources); k < n; k++ {
		x := s.Sources[0]
		x.Name, x.Node = fmt.Sprintf("more-%d", k+1), nodes[k%len(nodes)]
		out.Sources = append(out.Sources, x)
	}
	return &out
}

// WithRate returns the scenario with another rate, in bits a second (0:
// unshaped), on the link between two tiers, which its network must have.
func (s *Scenario) WithRate(between Ends, rate int64) (*Scenario, error) {
	out := *s
	out.Network.Tiers = slices.Clone(s.Network.Tiers)
	key := tierPair(between.A.Tier, between.B.Tier)
	i := slices.IndexFunc(out.Network.Tiers, func(l TierLink) bool { return tierPair(l.A, l.B) == key })
	if !between.Tiers() || i < 0 {
		return nil, fmt.Errorf("%s has no link between the tiers %s; name two of network.tiers", s.Name, between)
	}
	out.Network.Tiers[i].Link.Rate = rate
	return &out, nil
}
