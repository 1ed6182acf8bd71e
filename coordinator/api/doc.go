// Package api is the control plane's HTTP/JSON API under /v1, as its clients
// see it: the wire types, the errors and a [Client]. The OpenAPI document
// ([Document]) describes it for everyone else, and a test of the server in
// coordinator/api/server holds it against the handlers.
//
// The path holds the version of the API; bodies carry none of their own. Keys
// may be added to answers and to reports: both sides skip what they do not know,
// so that agents and coordinators need not be upgraded at the same moment. What
// exists is not renamed, removed or made necessary under /v1; testdata/v1 has
// what the first release sent, and tests here and in the server hold today's
// code against it.
//
// Agents, the weft command and scripts use the client; it knows neither Raft
// nor OpenCV, so weft installs on any laptop.
package api
