package mqtt

import (
	"strings"

	"github.com/weft-mesh/weft/internal/pki"
)

// The bounds of a topic that Allowed lets through. A broker's work and memory
// grow with the levels of a topic, and MQTT itself permits 65535 of them.
const (
	maxTopic  = 1024 // bytes
	maxLevels = 32
)

// Allowed says whether the holder of a mesh certificate may publish to a topic
// (write), or subscribe to a topic filter and be sent what is published there.
// It is the access list of the embedded broker.
//
//   - Agents, and coordinators as agents, publish frames and control messages
//     with themselves as the sender, detections and pictures; they read what
//     is addressed to them, and what cameras publish.
//   - Operators publish what cameras do; they read that, detections, pictures
//     and the broker's own counts ($SYS).
//   - What cameras publish is whatever is neither under weft/ nor begins with $.
//
// A filter is allowed only if every topic that it matches is. A shared
// subscription ($share/GROUP/FILTER) is judged by its filter.
//
// A broker cannot know placements. So an agent may send frames to any node,
// which then refuses those for instances it does not run; it may publish
// detections and pictures of workflows it has no part in; and it may read every
// camera that publishes to the broker, not only those of its own sources.
func Allowed(who pki.Subject, topic string, write bool) bool {
	if len(topic) > maxTopic || who.Name == "" {
		return false
	}
	if !write {
		var ok bool
		if topic, ok = unshared(topic); !ok {
			return false
		}
	}
	if checkFilter(topic) != nil || strings.Count(topic, "/") >= maxLevels || write && strings.ContainsAny(topic, "+#") {
		return false
	}
	levels := strings.Split(topic, "/")
	switch who.Role {
	case pki.Agent, pki.Coordinator:
		if write {
			p, err := sender(topic)
			return err == nil && p.node == who.Name || len(levels) == 5 && isResults(levels)
		}
		return isCamera(levels) || isFor(levels, who.Name)
	case pki.Operator:
		if write {
			return isCamera(levels)
		}
		return isCamera(levels) || isResults(levels) || levels[0] == "$SYS"
	}
	return false
}

// unshared is the filter of a shared subscription, or the filter itself; false
// if it is a shared subscription without a group or a filter. Brokers differ
// on the case of $share.
func unshared(filter string) (string, bool) {
	first, rest, _ := strings.Cut(filter, "/")
	if !strings.EqualFold(first, "$share") {
		return filter, true
	}
	group, rest, ok := strings.Cut(rest, "/")
	return rest, ok && group != "" && !strings.ContainsAny(group, "+#")
}

// isCamera holds for topics, and filters that match only topics, that are
// neither Weft's nor the broker's.
func isCamera(levels []string) bool {
	first := levels[0]
	return first != "weft" && first != "+" && first != "#" && !strings.HasPrefix(first, "$")
}

// isFor holds for what is addressed to the node.
func isFor(levels []string, node string) bool {
	return len(levels) > 3 && levels[0] == "weft" && levels[1] == "v1" &&
		(levels[2] == "frames" || levels[2] == "control") && levels[3] == escape(node)
}

// isResults holds for detections and pictures.
func isResults(levels []string) bool {
	return len(levels) > 3 && levels[0] == "weft" && levels[1] == "v1" &&
		(levels[2] == "detections" || levels[2] == "pictures")
}
