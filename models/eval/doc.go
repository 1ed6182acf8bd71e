// Package eval measures a detector on a data set: one run gives how right it is
// at its confidence, its average precision, and how long a picture takes.
//
// The detector is handed over with a low confidence ([Unsure]), since average
// precision needs all there is; what it would find live is what is above the
// confidence (see models/score). Pictures are decoded before the clock starts:
// live it is a camera's frame, which is not a JPEG from a disk. What the clock
// sees is the detector's own scaling, the network, and thinning out the boxes,
// of the unsure ones as well, which adds about a millisecond.
//
// [RunFilters] measures what frame filters (adaptation/filter) are worth with a
// detector, on the made streets.
//
// The daemon's `eval`, its `filter` and tests use it.
package eval
