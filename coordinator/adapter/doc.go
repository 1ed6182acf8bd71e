// Package adapter has a leader adapt the quality at which sources are analysed:
// it measures what frames take from what agents report, has
// adaptation/survey make a view of it and adaptation/quality decide, and commits
// what is decided.
//
// Like package planner it is driven by the leader's loop and by the simulator,
// and uses no clock and no network of its own. What was measured, and the
// explanations of decisions, are soft state of one term; the decisions, and what
// the next one goes on from, are in the state.
package adapter
