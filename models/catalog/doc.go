// Package catalog says which detectors exist: their files with sizes and
// SHA-256 digests, the input resolutions they offer, their classes, and how a
// picture is brought to their input.
//
// The built-in catalogue is builtin.yaml; a user's own file of the same form
// adds models to it ([Load], [Catalog.Merge]). The catalogue holds facts about
// detectors; running them is the work of pipeline/vision.
//
// Any package may import catalog; it opens no file itself, except through the
// fs.FS that it is handed.
package catalog
