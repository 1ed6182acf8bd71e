// Package tiering is the vocabulary of Weft and its placement decisions.
//
// The words: [Tier], [Node], [Resources], [Platform], [Workflow], [Task],
// [Category], [Reservation], [Placement], [Plan], [Assignment], [Offer].
//
// The decisions are pure functions of a [View]; they read no clock, no
// network and no package-level state, and draw randomness only from the
// *rand.Rand they are handed, so that the coordinator's leader loop and the
// simulator drive the same code and reach the same plans:
//
//   - [Categorise] (Houmani et al., SBAC-PAD 2021, section VI-A),
//   - [Schedule], which reserves (Algorithm 2), schedules (Algorithm 3) and
//     adjusts (Algorithm 4, section VI-C),
//   - [Move], which plans how one instance leaves a draining node,
//   - [Assignments], what the agent on a node has to run,
//   - [Discover], data-driven discovery (section VI-D).
//
// The leader plans several workflows in a round by planning each on the view
// that [View.With] makes of the plan before.
//
// Every other package may import tiering; tiering imports the standard
// library only.
package tiering
