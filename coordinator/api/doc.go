// Package api is the control plane's HTTP/JSON API under /v1, as its clients
// see it: the wire types, the errors and a [Client]. The OpenAPI document
// ([Document]) describes it for everyone else, and a test of the server in
// coordinator/api/server holds it against the handlers.
//
// Agents, the weft command and scripts use the client; it knows neither Raft
// nor OpenCV, so weft installs on any laptop.
package api
