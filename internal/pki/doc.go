// Package pki is Weft's built-in certificate authority and the TLS settings
// that follow from it.
//
// Every machine and operator of a mesh holds one certificate, issued by the
// mesh's own CA. It names its subject SPIFFE-style in a URI,
//
//	spiffe://MESH/ROLE/TIER/NAME   a machine
//	spiffe://MESH/operator/NAME    a person or script
//
// (machines' certificates of before had no tier, and are still accepted). A
// coordinator may also act as an agent, unless it is at the edge, where no
// node coordinates; nothing else acts for another.
//
// Certificates change while they are in use: [Follower] reads them anew, and
// the TLS settings of an [Identity] look each time at what there is. Go's TLS
// fixes the authorities that it verifies against when its settings are made,
// so here verification is one function, called by VerifyConnection on both
// sides, as in go-spiffe; it checks the chain, the dates, the use, the list of
// what is revoked and the role, and nothing is ever accepted without it. What was
// accepted is in [Peers], and ends when a Follower reads that it would not be
// again. Every authority has a list of what is revoked, empty at first, and its
// certificate says so (by a CRL distribution point, which nobody asks): without
// the list it is of no use. Those that the first version made have one from
// their next change on.
// A certificate also has the DNS names ROLE.MESH.weft and those hosts that
// plain HTTPS clients know it by.
//
// Any package may import pki; besides the standard library it imports only
// tiering's words.
package pki
