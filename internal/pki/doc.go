// Package pki is Weft's built-in certificate authority and the TLS settings
// that follow from it.
//
// Every machine and operator of a mesh holds one certificate, issued by the
// mesh's own CA. It names its subject SPIFFE-style in a URI,
//
//	spiffe://MESH/ROLE/NAME
//
// and has the DNS names ROLE.MESH.weft for each role it may act in, so that
// plain TLS verification (never InsecureSkipVerify) checks a peer's role,
// whatever address it is reached at. A coordinator may also act as an agent;
// nothing else acts for another.
//
// Any package may import pki; it imports the standard library only.
package pki
