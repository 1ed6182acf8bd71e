// Package coordinator runs the replicated state machine of coordinator/state
// under Raft and, on the leader, the loop that keeps it in step with the mesh:
// what membership says of nodes becomes state, workflows that lack a node for
// something are planned again, plans are committed and re-checked.
//
// Decisions are the pure functions of package tiering; this package only
// drives them (Houmani et al., SBAC-PAD 2021, section VI). Soft state, which
// is what agents report of running frames, is kept on the leader in memory and
// never replicated. DESIGN.md says why things are as they are and lists the
// goroutines.
//
// Only cmd/weftd makes a Coordinator; coordinator/api serves it. It never
// imports agent: membership reaches it through [Membership].
package coordinator
