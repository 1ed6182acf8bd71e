// Package library keeps a node's models: it watches the model directory, says
// what of it can be used, and gets what the mesh wants the node to have from
// nodes that have it.
//
// A coordinator tells each node, with its assignments, which models it is to
// have, with the digests of their files ([Library.Want]). What is missing is
// fetched by digest, one file after the other, from the nodes that say they have
// the model, in random order; what is corrupt there is refused and fetched from
// another, and all is tried again later; why one does not come is in the node's
// reports ([Library.Lacking]). A model is said to be had when all of
// its files are there and were compared with their digests, and not before: only
// then is anything placed here that needs it.
//
// An entry that this node's own catalogue does not have is kept beside the files,
// so that the model can be loaded when no coordinator answers.
//
// cmd/weftd wires it to gossip, to the API and to the stages.
package library
