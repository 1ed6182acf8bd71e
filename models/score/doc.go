// Package score says how right a detector is: what it found in pictures,
// against what is in them.
//
//   - [Tally] counts, at the confidence that the detections come with: precision,
//     recall and F1 at an IoU of 0.5 and the right label, micro-averaged and of
//     each class. It is for frames as they are delivered: it keeps four numbers
//     a class however many frames it has seen, and takes some microseconds a
//     frame (BenchmarkTally).
//   - [Curves] is for average precision, which needs what was found down to the
//     lowest scores: AP50 and COCO's mean over IoU 0.50 to 0.95. It keeps 16
//     bytes a detection, so it is for data sets and not for what never ends.
//
// # As pycocotools does it
//
// Within a picture and a class, detections choose in the order of their
// scores; each takes the object left over that it overlaps most, if that is
// enough. What overlaps an ignored object only (COCO's crowds, or what a
// generator deems too small to see) counts neither way, and so does missing
// it; any number of detections fit one such object, and their overlap with it
// is the share of the detection that is within. Average precision is that of
// COCO's evaluation: precision interpolated at 101 recalls, 100 detections a
// picture and class, classes without objects left out of the mean. The tests
// compare it with figures that pycocotools computed.
//
// Two differences. [Tally] takes every detection, not the surest 100, for that
// is what a user is shown. And a [Tally] over all classes adds up the counts
// (micro-average), while average precision is the mean of the classes.
//
// # The confidence
//
// Average precision wants a detector run at a far lower score than it runs at
// live; [Above] then gives the detections that it would have given live.
// Greedy suppression within a class goes from the surest box down, so whether
// a box stays depends on surer ones only, and leaving out the unsure after it
// is the same as before it. pipeline/vision tests that for each detector.
//
// The package is pure. The daemon's `eval`, the demo's report and experiments
// use it; any package may.
package score
