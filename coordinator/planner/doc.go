// Package planner is what the leader of a mesh decides: which nodes count as
// alive, what is placed where, how it moves off nodes that drain, and what is
// said of what cannot be placed. It decides by the rules of package tiering and commits to a [State],
// of which there are two kinds: the coordinator's, replicated by Raft, and the
// simulator's. So what was simulated is what runs.
//
// planner is pure: time is an argument and random choices follow from the
// state. Package coordinator and testbed/sim drive it.
package planner
