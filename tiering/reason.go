package tiering

import (
	"fmt"
	"strings"
)

// why puts a choice among candidates in words: "cloud-1 has most free (6.5
// cores)", "nearest to source gate (same node)".
func (s *scheduler) why(c *candidate, how decided, equals int, anchors []anchor) string {
	id := s.view.mesh.nodes[c.node].ID
	near := ""
	if len(anchors) > 0 {
		near = "nearest to " + s.view.nearness(c.node, anchors)
	}
	elsewhere := c.distance.apart == len(anchors)
	switch {
	case how == bySiblings:
		return id + " runs the fewest replicas of it"
	case how == byLack && elsewhere:
		return "only " + id + " has room"
	case how == byFree && elsewhere:
		return fmt.Sprintf("%s has most free (%s)", id, FormatCPU(c.free))
	case how == byLot && elsewhere:
		return fmt.Sprintf("%s drawn from %d equals", id, equals)
	case how == byNearness && elsewhere:
		return id + " is " + near
	}
	return near
}

// tierReason says how an intensive task came to the node's tier.
func (s *scheduler) tierReason(c *class, n int32) string {
	tiers := c.tiers
	if tiers != preference(c.category) && s.view.mesh.nodes[n].Tier == tiers[0] {
		return fmt.Sprintf("links to the %s carry too little, %s first", tiers[1], tiers[0])
	}
	if s.view.mesh.nodes[n].Tier == tiers[0] {
		return tiers[0].String() + " first"
	}
	if lack := s.lack(c, tiers[0]); lack != "" {
		return fmt.Sprintf("no %s node %s, %s next", tiers[0], lackText(lack), tiers[1])
	}
	return fmt.Sprintf("%s is full, %s next", tiers[0], tiers[1])
}

// adjustedReason says what Algorithm 4 left of what was asked for; empty: all.
func adjustedReason(asked, got Resources) string {
	if asked == got {
		return ""
	}
	var parts []string
	if got.CPU < asked.CPU {
		parts = append(parts, fmt.Sprintf("%s of %s", amount(resourceCores, got.CPU), FormatCPU(asked.CPU)))
	}
	if got.Memory < asked.Memory {
		parts = append(parts, fmt.Sprintf("%s of %s memory", FormatBytes(got.Memory), FormatBytes(asked.Memory)))
	}
	if got.Disk < asked.Disk {
		parts = append(parts, fmt.Sprintf("%s of %s disk", FormatBytes(got.Disk), FormatBytes(asked.Disk)))
	}
	return fmt.Sprintf("; adjusted to %d %% (%s)", int(100*shareOf(asked, got)+0.5), strings.Join(parts, ", "))
}
