// Package store is a model directory: the files of detectors, under the names
// that the catalogue gives them, and
//
//   - catalogue.d/NAME.yaml, the entries of models that were added to it
//     ([Store.Install]);
//   - models.lock, what files were whose digests no catalogue knows
//     ([catalog.Lock]);
//   - .NAME.part, what is being fetched ([Store.Begin]), and .locks, which keeps
//     processes from writing the same.
//
// A file is under its final name when it is whole and as its catalogue says, and
// never before. Several processes may use one directory.
//
// Files that are built into the program come before those of the directory. What
// a file's digest is, is remembered for as long as its size and time stay what
// they are.
//
// cmd/weft and cmd/weftd use it; package fetch fills it. It opens no sockets.
package store
