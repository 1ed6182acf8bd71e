// Package darknet reads darknet's .cfg files and works out what they say of the
// .weights beside them. OpenCV reads weights without asking whether there are
// enough, and weft, which has no OpenCV, looks at models that are to be added.
//
// It is pure, and any package may import it.
package darknet
