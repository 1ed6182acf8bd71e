// Package quic is the frame link over QUIC (RFC 9000): it sends frames to the
// stages of other nodes and receives theirs. Agents call it; a [Link] is a
// [pipeline.Sender] and passes the conformance suite of pipeline/linktest.
//
// # On the wire
//
// A node has one UDP socket, on which it both listens and dials. It dials a
// peer when it first has a frame for it, with certificates both ways (TLS 1.3,
// ALPN "weft/1", no 0-RTT) of which the peer's must be that of the node that is
// meant, since its address is gossip, and only the dialler sends frames over a
// connection. Where packets get lost and none wait, it dials up to seven more:
// see lanes. Each frame is one message of [pipeline.Codec] on its own
// unidirectional stream, so that a lost packet holds up one frame and a late
// frame can be cancelled without the others. The stream's ID names the frame
// (the message's Ref stays 0), so even what could not be read can be settled.
//
// The dialler's one bidirectional stream carries control messages. A round
// trip over it opens the connection: only then is it known that the peer took
// our certificate, since TLS 1.3 lets the client finish first. After that the
// receiving side sends outcomes back in batches and pings, by which it learns
// how long frames were under way without a common clock.
//
// # What goes first
//
// One frame at a time is written over a connection; then, of those that wait, the most
// urgent, and of these the newest. A more urgent frame does not wait: quic-go
// serves streams strictly by urgency, 0 to 7, of which control has 0 and each
// frame that interrupts another one less than that. To let newer frames
// interrupt as well would, under overload, send most frames in part (a
// simulated link loaded four times over delivered 60 % of what it could carry,
// and delivers all of it as it is).
//
// A frame is cancelled at its deadline: while it waits or is being written, and
// after that as long as the peer lacks a part of it.
//
// # What a bad peer can do
//
// It is limited in streams, in bytes of half-read frames, in time per stream
// and in outcomes waiting for it. What it sends in error is refused stream by
// stream, counted, and logged now and then; only an error on the control
// stream costs it the connection.
package quic
