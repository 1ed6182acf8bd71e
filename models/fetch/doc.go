// Package fetch gets the files of detectors over HTTP, from the internet or from
// other nodes of the mesh, into a model directory.
//
// What comes is trusted for nothing. No more is taken than the catalogue says
// the file has; a server that sends too slowly is given up; and a file gets its
// name only when its digest is right. What did come of one that broke off stays,
// and is gone on with (Range) if the server still has the same (If-Range), or if
// the digest will tell. A source that serves something else is passed over for
// the next.
//
// cmd/weft, cmd/weftd and agent/library use it.
package fetch
