// Package baseline has other ways to place a workflow than package tiering's
// (Houmani et al., Algorithms 2 to 4), to hold those against: everything on one
// tier, at random, greedily where latency is least, and as somebody says, which
// is how every placement of a small case is tried.
//
// Each is a pure function of the view and the workflow. They keep to what tiering
// keeps to: capacity, models, platforms, drains, sources that are attached to
// their nodes, as many instances as the document asks, and one beside each source
// of what comes first. What does not fit is left out, and the plan says so; ours
// would refuse the workflow. They reserve what a task requests and know no
// categories, so nothing is kept off the edge.
//
// Experiments may import this package, daemons not.
package baseline
