// Package agent turns assignments into running stages and reports on them.
//
// An [Agent] watches what the coordinator wants of its node, starts and stops
// sources and stages to match, tells running ones where their frames go now,
// and reports once a second. It knows neither OpenCV nor Raft: stages and
// sources come from a [Workshop], the coordinator is behind [Control].
//
// When the coordinator cannot be reached, whatever runs goes on running.
//
// Only cmd/weftd imports agent. The data-plane laws (bounded queues, every
// frame accounted for) are kept by package pipeline.
package agent
