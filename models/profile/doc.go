// Package profile is what a detector was measured to cost on a platform: how
// long a frame takes, how long it takes to load, how much memory and energy it
// needs.
//
// It is pure: the record, what makes one valid, how newer ones take the place of
// older ones, and when what is seen live says that one no longer holds. Package
// bench measures; agent/profiler decides when; coordinator/state keeps them.
package profile
