// Package broker embeds an MQTT broker, mochi-mqtt, for meshes that have none:
// weftd dev starts one, and any node may. It speaks MQTT 3.1, 3.1.1 and 5.
//
// Whoever holds a certificate that the TLS settings accept may publish and
// subscribe to anything; without TLS whoever can connect may. What one client
// can make the broker hold is bounded: by the largest packet, by the messages
// that wait for a slow subscriber (further ones are dropped and counted), and
// by the time a connection may take to introduce itself.
//
// Nothing is kept across a restart.
package broker
