package broker

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
)

// mesh is a broker with certificates, and the authority that issues them.
type mesh struct {
	*Broker
	ca   *pki.CA
	stop func()
}

func startMesh(t *testing.T, conf Config) *mesh {
	t.Helper()
	ca := pkitest.CA(t)
	conf.TLS = pkitest.Issue(t, ca, pki.Agent, "fog-1").ServerTLS(pki.Agent, pki.Operator)
	b, stop := start(t, conf)
	return &mesh{b, ca, stop}
}

func (m *mesh) creds(t *testing.T, role pki.Role, name string) *tls.Config {
	t.Helper()
	return pkitest.Issue(t, m.ca, role, name).ClientTLS(pki.Agent)
}

// options are paho's for the holder of a certificate; lost, which may be nil,
// is told when the connection ends.
func (m *mesh) options(t *testing.T, role pki.Role, name string, lost chan error) *paho.ClientOptions {
	o := paho.NewClientOptions().AddBroker("tls://" + m.Addr()).SetTLSConfig(m.creds(t, role, name)).SetProtocolVersion(4).
		SetClientID(name).SetAutoReconnect(false).SetConnectTimeout(patience)
	if lost != nil {
		o.SetConnectionLostHandler(func(_ paho.Client, err error) { lost <- err })
	}
	return o
}

func (m *mesh) join(t *testing.T, role pki.Role, name string, lost chan error) paho.Client {
	t.Helper()
	c := paho.NewClient(m.options(t, role, name, lost))
	done(t, c.Connect())
	t.Cleanup(func() { c.Disconnect(250) })
	return c
}

// inbox subscribes to a filter, which must be granted.
func inbox(t *testing.T, c paho.Client, filter string) chan string {
	t.Helper()
	got := make(chan string, 100)
	tok := c.Subscribe(filter, 1, func(_ paho.Client, m paho.Message) { got <- m.Topic() + " " + string(m.Payload()) })
	done(t, tok)
	if code := tok.(*paho.SubscribeToken).Result()[filter]; code != 0 {
		t.Fatalf("subscription to %s is answered with %#x, want QoS 0 granted", filter, code)
	}
	return got
}

// v5 is a client of MQTT 5, packet by packet.
type v5 struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (m *mesh) v5(t *testing.T, role pki.Role, name string, connect func(*packets.Packet)) (*v5, packets.Packet) {
	t.Helper()
	conn, err := tls.Dial("tcp", m.Addr(), m.creds(t, role, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	c := &v5{t, conn, bufio.NewReader(conn)}
	pk := packets.Packet{Connect: packets.ConnectParams{ProtocolName: []byte("MQTT"), Clean: true, ClientIdentifier: name, Keepalive: 60}}
	if connect != nil {
		connect(&pk)
	}
	c.send(packets.Connect, pk)
	return c, c.receive(packets.Connack)
}

func (c *v5) send(kind byte, pk packets.Packet) {
	c.t.Helper()
	pk.FixedHeader.Type, pk.ProtocolVersion = kind, 5
	var (
		b   bytes.Buffer
		err error
	)
	switch kind {
	case packets.Connect:
		err = pk.ConnectEncode(&b)
	case packets.Publish:
		err = pk.PublishEncode(&b)
	case packets.Subscribe:
		pk.FixedHeader.Qos = 1
		err = pk.SubscribeEncode(&b)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.Write(b.Bytes()); err != nil {
		c.t.Fatal(err)
	}
}

func (c *v5) receive(kind byte) packets.Packet {
	c.t.Helper()
	pk := packets.Packet{ProtocolVersion: 5}
	first, err := c.r.ReadByte()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := pk.FixedHeader.Decode(first); err != nil {
		c.t.Fatal(err)
	}
	if pk.FixedHeader.Remaining, _, err = packets.DecodeLength(c.r); err != nil {
		c.t.Fatal(err)
	}
	body := make([]byte, pk.FixedHeader.Remaining)
	if _, err := io.ReadFull(c.r, body); err != nil {
		c.t.Fatal(err)
	}
	if pk.FixedHeader.Type != kind {
		c.t.Fatalf("received a packet of type %d, want %d", pk.FixedHeader.Type, kind)
	}
	switch kind {
	case packets.Connack:
		err = pk.ConnackDecode(body)
	case packets.Suback:
		err = pk.SubackDecode(body)
	case packets.Disconnect:
		err = pk.DisconnectDecode(body)
	case packets.Publish:
		err = pk.PublishDecode(body)
	case packets.Pubrec:
		err = pk.PubrecDecode(body)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return pk
}
