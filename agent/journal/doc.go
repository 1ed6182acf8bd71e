// Package journal keeps what a node was last told to run in a file, so that an
// agent that restarts while no coordinator can be reached goes on with it.
//
// The file is one line, "weft-assignments 1 CRC", and then JSON: the mesh, the
// node, the index of the assignments and the assignments, as the API has them.
// 1 is the version of the format, CRC the CRC-32C of the JSON in hexadecimal. A
// newer weftd may add fields, which this one skips; what cannot be skipped
// raises the version.
//
// The file is replaced whole and durably: a power cut leaves the old or the new
// one. Only its owner may read it, since the URIs of sources hold passwords. A
// file that cannot be used (damaged, of a newer version, of another mesh or
// node) is renamed and not overwritten, for someone to look at.
//
// cmd/weftd hands it to the agent, which sees it through an interface of its
// own.
package journal
