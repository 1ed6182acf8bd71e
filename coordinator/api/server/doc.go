// Package server answers the control plane's API on a coordinator.
//
// Any coordinator answers. Reads of decisions come from its own copy of the
// state; writes, plans, reports and everything that only the leader knows are
// forwarded to the leader, whose answer goes back unchanged. The table of
// routes says which is which, who may ask and how much the body may hold; a
// test holds it and every answer against the OpenAPI document.
//
// Callers show a certificate or a token. An agent may ask for its own
// assignments and report for itself, an operator or a coordinator may do
// everything, and a token what its scope includes, but never what agents do.
// What a forwarded request says of its caller is believed of coordinators only.
//
// Writes are recorded in Config.AuditDir before they are carried out and after;
// what cannot be recorded is refused. Rates, bodies and connections are bounded
// for each caller, or for each address of those who cannot say who they are.
//
// Requests for assignments and events are held open, so no timeout is for the
// whole of a request: the header, the body and each part of an answer have one
// of their own, and the number of held requests is bounded.
//
// Only cmd/weftd imports server.
package server
