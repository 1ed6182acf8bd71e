// Package mqtt carries frames between nodes over an MQTT 3.1.1 broker, and
// publishes what was found in them, through eclipse/paho.mqtt.golang. It is
// the link for machines that can reach a broker but not each other; where they
// can, pipeline/quic is faster and can cancel a frame that is late. An
// embedded broker is in pipeline/mqtt/broker; mosquitto and others do as well.
//
// # Topics
//
//	weft/v1/frames/TO/FROM/RUN                 one frame message of pipeline.Codec
//	weft/v1/control/TO/TO-RUN/FROM/FROM-RUN    settlements, clock pings and pongs
//	weft/v1/detections/WORKFLOW/SOURCE         JSON, see [Detections]
//	weft/v1/pictures/WORKFLOW/SOURCE           JPEG
//
// TO and FROM are node names. RUN is drawn at random by each [Link], so that
// what was meant for a process that has ended, say the settlement of a frame
// it sent, reaches nobody. Names are escaped: whatever is no letter, digit or
// one of - _ . ~ is written %XX, since MQTT gives / + and # a meaning. The
// instance that a frame is for ("people/detect@512#0") is in the message: an
// instance may move, and a node needs one subscription for all it runs.
//
// # Who may do what
//
// The embedded broker tells clients apart by their certificates and lets them
// do what [Allowed] says: publish frames as themselves, read what is addressed
// to them. A receiver takes the sender of a message from its topic, and an
// outcome only from the node that the frame was sent to; so no node can pass
// for another. An external broker has to be told; for mosquitto, with
// `use_identity_as_username true` and the mesh's CA as its `cafile`, nodes need
//
//	pattern write weft/v1/frames/+/%u/+
//	pattern write weft/v1/control/+/+/%u/+
//	pattern read weft/v1/frames/%u/+/+
//	pattern read weft/v1/control/%u/+/+/+
//	topic write weft/v1/detections/+/+
//	topic write weft/v1/pictures/+/+
//
// and to read the topics of mqtt: sources. mosquitto takes operators for nodes
// of the same name.
//
// TLS is the default and plain text asked for by name, see [Config.Plaintext].
//
// # Quality of service
//
// Everything is published with QoS 0, never retained, in clean sessions.
// QoS 1 and 2 would have client and broker keep frames and send them again
// after a reconnect, when they are late; and they acknowledge what the broker
// got, not what became of the frame. A link does that itself: the receiving
// node settles each frame, and one of which nothing is heard until its deadline
// and a grace is settled as [pipeline.ReasonLink]. Losing the connection
// settles all frames under way in the same way, and a broker forgets what
// waited for a clean session, so nothing stale is delivered after a reconnect.
//
// # Deadlines
//
// MQTT cannot cancel a message. One at a time is handed to paho and the most
// urgent is chosen, and its deadline checked, only then; a broker that does
// not take it within [Config.Stall] loses the connection. What arrives late
// nevertheless is settled by the receiving link and not delivered.
//
// Only pipeline's users may import this package: agent, pipeline/source, cmd.
package mqtt
