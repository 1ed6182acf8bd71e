// Package broker embeds an MQTT broker, mochi-mqtt, for meshes that have none:
// weftd dev starts one, and any node may. It speaks MQTT 3.1, 3.1.1 and 5.
//
// Clients are who their certificates say. What each may publish, subscribe to
// and be sent, [Config.Allow] decides; a client that publishes or has a will
// for something else loses the connection (with reason code 0x87 in MQTT 5), a
// subscription to something else is answered with 0x80 or 0x87. Refusals are
// counted, and logged at a bounded pace. Client identifiers are each
// certificate's own: nobody takes over another's session, whatever identifiers
// they choose. Without TLS whoever can connect may do everything.
//
// Cameras and other clients without a certificate may log in with a name and a
// password, over TLS, or in plain text at an address of its own, if [Config.Users]
// says so. Checking passwords is slow on purpose; how many are checked at once is
// bounded, and how many one network may have wrong. A wrong name and a wrong
// password are answered alike (reason code 0x86; 5 in MQTT 3).
//
// What one client can make the broker hold or do is bounded: by the largest
// packet, by the messages that wait for a slow subscriber (further ones are
// dropped and counted), by how long a stuck one may take nothing before it is
// disconnected, by its connections and subscriptions, and by the time a
// connection may take to introduce itself. Connections whose other end is not
// known yet have places of their own, for which the oldest gives way to the
// newest, so that strangers who hold some shut nobody out. Publications of any
// QoS are acknowledged, deliveries are of QoS 0. Nothing is kept: no session
// outlives its connection, no message is retained, nothing survives a restart.
package broker
