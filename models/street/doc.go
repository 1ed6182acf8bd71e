// Package street draws street scenes of which it knows what is in them: cars,
// trucks, buses, people and bicycles, by day and at dusk, in rain, hidden by
// each other and by trees, from a few pixels high to most of the picture. The
// default detector is trained on them, evaluated on them, and a mesh can be run
// on cameras that show them (street: of tiering/sourceuri), with known truth.
//
// A street is decided by its seed. Frames are pure functions of seed and time:
// any can be asked for by itself, and is the same to the byte on every machine
// and with every version of Go, for which the geometry is in integers. A
// change to what is drawn changes the golden digests in testdata, and what a
// detector's accuracy was measured on; it needs a reason and a new measurement.
//
//	s, err := street.New(street.Options{Seed: 7})
//	bgr := make([]byte, s.Bytes())
//	objects := s.RenderAt(1, bgr) // the first frame and what is in it
//	same := s.TruthAt(1)          // without the picture, at half the cost
//
// # How it is made
//
// The camera stands above a street of lanes, pavements and houses, looks along
// it, aslant or across it, and sees it up to a crest, behind which everything
// sinks out of sight. So objects grow from nothing, and how small they get
// before they vanish is the choice of one number (farPersonLeast and
// farPersonMost). On each lane objects set out at times that are decided by
// their number alone, which makes the traffic of a moment computable without
// that of the moments before.
//
// What stands still is drawn once, with its distance for each pixel. What
// moves is drawn over it, what hides others after them; which object is seen at which
// pixel is noted on the way, so that truth is what is seen, not what is there.
//
// # What counts as an object
//
// A box is around what can be seen of an object, as in COCO. A bicycle's
// includes its rider, who is not a person as well. An object is to be ignored
// where less than MinVisible percent of it can be seen, or where its box is
// smaller than MinHeight or MinWidth; whoever evaluates treats it as COCO does
// a crowd: a detection that fits it is neither right nor wrong, and not finding
// it is no miss. What cannot be seen at all is in no list.
//
// Any package may import street; it opens nothing.
package street
