// Package dataset reads pictures with what is in them, to measure detectors
// with (models/score).
//
//   - coco:DIR has COCO's own annotations, annotations/instances_NAME.json, and
//     the pictures in NAME, images/NAME or images; what the annotation file
//     says of a picture it must have.
//   - yolo:DIR has pictures in images and, at the same place in labels, a text
//     file each: a line "class cx cy w h" an object, in fractions of the
//     picture. A picture without a file shows nothing. The names of the classes
//     are in classes.txt or NAME.names, else those of the detector.
//   - street:seeds=A-B are scenes that models/street draws, the first frame of
//     each seed.
//
// Labels are read and checked when a set is opened, pictures when they are
// asked for. What is wrong with a label is a yamlfile.Problem, which names file
// and line and says what would be right. A picture whose name leads out of the
// directory is not opened.
//
// A detector and a data set need not tell the same things apart: [Set.For]
// leaves what both know, in the detector's words.
//
// The package is pure but for the files; `weftd eval` and tests use it.
package dataset
