// Package detector holds the files of the default detector, the model street
// of the catalogue: a small YOLO network that this project trained on the
// scenes of package street (models/street/train). They are under the project's
// own licence, like the rest of the tree.
package detector

import (
	"embed"
	"io/fs"
)

//go:embed street.cfg street.weights
var files embed.FS

// Files are the config and the weights, under the names that the catalogue has
// for them.
func Files() fs.FS { return files }
