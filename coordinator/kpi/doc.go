// Package kpi turns what agents report of their instances into how a workflow
// is doing: frames accounted for, latencies split by stage, detections.
//
// Reports are soft state: they are kept in the leader's memory, never
// replicated, and say what happened since that leader took office or, if
// later, since the agents' instances started. The package is pure; it uses no
// clock and no network. coordinator keeps one [Reports]; coordinator/api hands
// [Workflow] on to clients.
//
// # Frames that nobody will settle
//
// An agent accounts for the frames of its sources: captured = delivered +
// filtered + dropped by reason + in flight. When its node fails or its source has ended,
// nobody will say what became of those in flight; they are counted as dropped
// because they were lost, so that the sum stays true. If the node turns out to
// live after all, its next report corrects that.
package kpi
