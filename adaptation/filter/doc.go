// Package filter decides which frames of a camera need not be analysed, since
// they hardly differ from the last one that was: what was found in that one
// still holds. It follows Reducto (Li et al., SIGCOMM 2020), which filters on
// the camera by a cheap difference of pictures, with a threshold that is tuned
// by how accurate its results turn out to be.
//
//   - [View] is what differences are told by: the share of the cells of a small
//     grey copy that changed by more than noise and rain do.
//   - [Source] decides about the frames of one source. A frame that differs from
//     the last one analysed by no more than the threshold is skipped, but never
//     more than 15 in a row.
//   - The threshold is learnt. Now and then a run of 16 frames is analysed
//     whole, and replayed with each threshold: what would have been shown,
//     against what was found. The largest threshold with which the newest eight
//     runs keep the share of accuracy that is asked for is taken. Before there
//     are three runs nothing is skipped.
//
// A replay, and not a curve of accuracy over the difference, because what is
// shown in place of a frame also depends on how old it is, and that depends on
// the threshold. The price is that no more can be skipped in a row than a run is
// long.
//
// Two things that it does not know. What was found is taken for the truth, so a
// detector that changes its mind from frame to frame looks worse when filtered
// than it is: less is skipped than might be. Only where two pictures are the same
// (they differ by no more than the smallest threshold) is that held against the
// detector: one that now and then finds something in an empty street would
// otherwise have every frame of it analysed. And between two runs, 20 seconds or
// so, a scene may change to one in which the same difference means more.
//
// The package is pure: time is counted in frames. Package pipeline/vision makes
// a stage of it; the same decision can be replayed on recorded frames.
package filter
