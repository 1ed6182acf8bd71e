// Package sim carries out a scenario in virtual time: a discrete-event
// simulator that drives the decisions of the real software. Which nodes are
// alive, what is placed where, what an agent runs, at which quality a source is
// analysed and which instance a frame goes to is decided by coordinator/planner,
// coordinator/adapter, coordinator/state and [tiering.Discover], the same code
// as in weftd; sim itself decides nothing.
//
// What it models is the rest, after packages pipeline, pipeline/quic and agent:
//
//   - a node's cores, shared by capture, encoding, stages and decoding
//     (processor.go), each of which takes the time that [testbed.Costs] says;
//   - queues, outboxes, deadlines and reasons for drops (router.go, stage.go);
//   - a link's rate, delay, jitter and loss, one frame at a time, the newest
//     first, and connections that break and are made again (link.go);
//   - membership as the leader sees it, elections, and assignments on their way
//     to agents (control.go, members.go, agents.go), and the agents' reports, from
//     which adaptation measures (adapt.go).
//
// What it leaves out: outcomes travel back at once if the way is open, packets
// are not modelled one by one (loss costs its share of the rate), and a frame
// over MQTT is held up by the two legs of its way as by one link. Every node
// can load every model.
//
// The same scenario, costs and seed give the same Recording, to the byte, on
// one kind of processor (floating-point arithmetic may differ between kinds).
// Each purpose draws from a random stream of its own, named after what it is
// for, so that a node more does not change the others.
//
// The engine is checked against closed forms of queueing theory through this
// very code: M/M/1, M/D/1, M/M/1/K, M/M/c, M/G/1 with processor sharing and
// tandem queues (Kleinrock, Queueing Systems, volumes I and II), and the frame
// path against package pipeline itself. testbed/sim/des holds the events.
//
// cmd/weft and testbed/experiment may import this package.
package sim
