// Package pipeline moves frames through the stages of a workflow: the words
// ([Frame], [Stage], [Source], [Sender], [Outcome]); what runs them ([Feed] a
// source, [Runner] a stage behind its [Queue], [Router] the way on,
// [Switchboard] the way in); the [Ledger] that accounts for every frame; what
// links are made of ([Codec], [ClockSync], [Pending]); and a link in memory
// ([MemoryNetwork]).
//
//	Feed → Router → link → Switchboard → Runner → Router → … → delivered
//	  ↑ Ledger ← ─ ─ ─ outcomes, hop by hop ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ┘
//
// DESIGN.md, beside this file, says why.
//
// It imports no socket and no OpenCV: links are in pipeline/quic and
// pipeline/mqtt, pictures in pipeline/vision, cameras in pipeline/source.
// Every link passes the conformance suite of pipeline/linktest.
//
// # How a frame is accounted for
//
// A frame has one owner at a time. Whoever owns it must settle it exactly
// once: [Frame.Settle] says that it was delivered or why it was dropped. A
// link that has handed a frame to its peer settles it with what the peer says
// of it, so an outcome travels back hop by hop to the source, whose [Ledger]
// holds captured = delivered + filtered + dropped by reason + in flight. What is never
// heard of again (a node died) is settled as [ReasonLost] by the ledger.
//
// # Time
//
// Times in a Frame are of this process's clock. On the wire there are only
// durations (age, time left); a link measures its transfer time by round trips.
package pipeline
