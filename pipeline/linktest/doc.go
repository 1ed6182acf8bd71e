// Package linktest is the conformance suite that every link of Weft passes:
// the in-memory one, QUIC and MQTT. It states, as tests, what
// [pipeline.Sender] and [pipeline.Receiver] promise.
//
// A link's own tests call [Run] with a [Factory] that starts one sending and
// one receiving end. They add what only that link has (priorities,
// certificates, topics); what all links share is tested here, once.
package linktest
