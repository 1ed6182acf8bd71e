package broker

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/weft-mesh/weft/internal/logtest"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
)

// Whoever publishes what it may not is disconnected, with a reason in MQTT 5,
// and nobody gets the message.
func TestPublicationsRefused(t *testing.T) {
	m := startMesh(t, Config{})
	frames := inbox(t, m.join(t, pki.Agent, "fog-1", nil), "weft/v1/frames/fog-1/+/+")
	control := inbox(t, m.join(t, pki.Coordinator, "fog-2", nil), "weft/v1/control/fog-2/R/+/+")
	results := inbox(t, m.join(t, pki.Operator, "ops", nil), "weft/v1/detections/#")
	refused := 0
	for _, c := range []struct {
		role        pki.Role
		name, topic string
	}{
		{pki.Agent, "edge-2", "weft/v1/frames/fog-1/edge-1/R"},
		{pki.Agent, "edge-1", "weft/v1/frames/fog-1/edge-10/R"},
		{pki.Coordinator, "edge-2", "weft/v1/control/fog-2/R/edge-1/R"},
		{pki.Operator, "edge-1", "weft/v1/frames/fog-1/edge-1/R"},
		{pki.Operator, "edge-1", "weft/v1/control/fog-2/R/edge-1/R"},
		{pki.Operator, "edge-1", "weft/v1/detections/people/gate"},
		{pki.Agent, "edge-1", "cams/gate"},
		{pki.Agent, "edge-1", "$SYS/broker/version"},
		{pki.Agent, "edge-1", "weft/v1/detections/people/" + strings.Repeat("x/", 30_000)},
	} {
		for _, qos := range []byte{0, 1, 2} {
			lost := make(chan error, 1)
			m.join(t, c.role, c.name, lost).Publish(c.topic, qos, false, "forged")
			select {
			case <-lost:
			case <-time.After(patience):
				t.Fatalf("%s %s publishes to %.60s with QoS %d and stays connected", c.role, c.name, c.topic, qos)
			}
			five, _ := m.v5(t, c.role, c.name, nil)
			five.send(packets.Publish, packets.Packet{FixedHeader: packets.FixedHeader{Qos: qos}, PacketID: uint16(qos), TopicName: c.topic, Payload: []byte("forged")})
			if pk := five.receive(packets.Disconnect); pk.ReasonCode != packets.ErrNotAuthorized.Code {
				t.Errorf("%s %s publishes to %.60s with QoS %d: reason code %#x", c.role, c.name, c.topic, qos, pk.ReasonCode)
			}
			refused += 2
		}
	}
	if n := m.Stats().Refused; n != uint64(refused) {
		t.Errorf("%d refused, want %d", n, refused)
	}
	edge := m.join(t, pki.Agent, "edge-1", nil)
	for topic, got := range map[string]chan string{
		"weft/v1/frames/fog-1/edge-1/R": frames, "weft/v1/control/fog-2/R/edge-1/R": control, "weft/v1/detections/people/gate": results,
	} {
		done(t, edge.Publish(topic, 1, false, "real"))
		if s := <-got; s != topic+" real" {
			t.Errorf("got %s, want the real message first", s)
		}
	}
}

// A topic alias of MQTT 5 is no way around the topic's check.
func TestTopicAlias(t *testing.T) {
	m := startMesh(t, Config{})
	c, ack := m.v5(t, pki.Agent, "edge-1", nil)
	if ack.Properties.TopicAliasMaximum != 0 || ack.Properties.RetainAvailable != 0 || !ack.Properties.RetainAvailableFlag ||
		ack.Properties.MaximumPacketSize != defaultMaxPacket {
		t.Errorf("CONNACK promises %+v", ack.Properties)
	}
	c.send(packets.Publish, packets.Packet{
		TopicName: "weft/v1/frames/fog-1/edge-1/R", Payload: []byte("x"),
		Properties: packets.Properties{TopicAlias: 1, TopicAliasFlag: true},
	})
	if pk := c.receive(packets.Disconnect); pk.ReasonCode != packets.ErrTopicAliasInvalid.Code {
		t.Errorf("reason code %#x", pk.ReasonCode)
	}
}

// Subscriptions to what a client may not read are refused one by one, and
// nothing arrives through them.
func TestSubscriptionsRefused(t *testing.T) {
	m := startMesh(t, Config{})
	for _, role := range []pki.Role{pki.Agent, pki.Coordinator, pki.Operator} {
		allowed := "cams/#"
		filters := map[string]byte{allowed: 2}
		var list packets.Subscriptions
		for _, f := range []string{
			"weft/v1/frames/fog-1/+/+", "weft/v1/control/fog-1/#", "#", "+/#", "weft/#", "weft/v1/+/fog-1/+/+", "+/v1/frames/#",
			"$share/g/weft/v1/frames/fog-1/+/+", "$SHARE/g/#", "weft/v1/frames/#", "weft/v1/frames/" + strings.Repeat("+/", 30_000) + "+",
		} {
			filters[f] = 1
			list = append(list, packets.Subscription{Filter: f, Qos: 1})
		}
		spy := m.join(t, role, "spy", nil)
		seen := make(chan string, 10)
		tok := spy.SubscribeMultiple(filters, func(_ paho.Client, msg paho.Message) { seen <- msg.Topic() })
		tok.Wait() // an error if any is refused
		for f, code := range tok.(*paho.SubscribeToken).Result() {
			if want := map[bool]byte{true: 0, false: 0x80}[f == allowed]; code != want {
				t.Errorf("%s: subscription to %.60s is answered with %#x, want %#x", role, f, code, want)
			}
		}
		five, _ := m.v5(t, role, "spy-5", nil)
		five.send(packets.Subscribe, packets.Packet{PacketID: 1, Filters: list})
		for i, code := range five.receive(packets.Suback).ReasonCodes {
			if code != packets.ErrNotAuthorized.Code {
				t.Errorf("%s: subscription to %.60s is answered with %#x in MQTT 5", role, list[i].Filter, code)
			}
		}
		frames := inbox(t, m.join(t, pki.Agent, "fog-1", nil), "weft/v1/frames/fog-1/+/+")
		done(t, m.join(t, pki.Agent, "edge-1", nil).Publish("weft/v1/frames/fog-1/edge-1/R", 1, false, "frame"))
		<-frames
		done(t, m.join(t, pki.Operator, "cam", nil).Publish("cams/gate", 1, false, "picture"))
		if s := <-seen; s != "cams/gate" {
			t.Errorf("%s: the spy sees %s", role, s)
		}
	}
}

// A will is a publication: who may not publish it is not let in.
func TestWills(t *testing.T) {
	m := startMesh(t, Config{})
	frames := inbox(t, m.join(t, pki.Agent, "fog-1", nil), "weft/v1/frames/fog-1/+/+")
	const forged = "weft/v1/frames/fog-1/edge-1/R"
	for _, topic := range []string{forged, "weft/v1/frames/+/edge-2/R", "$SYS/x", "cams/gate"} {
		tok := paho.NewClient(m.options(t, pki.Agent, "edge-2", nil).SetWill(topic, "forged", 0, false)).Connect()
		if tok.Wait(); tok.Error() == nil || !strings.Contains(tok.Error().Error(), "not Authorized") {
			t.Errorf("a will for %s: %v", topic, tok.Error())
		}
		_, ack := m.v5(t, pki.Agent, "edge-2", func(pk *packets.Packet) {
			pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload = true, topic, []byte("forged")
		})
		if ack.ReasonCode != packets.ErrNotAuthorized.Code {
			t.Errorf("a will for %s is answered with %#x", topic, ack.ReasonCode)
		}
	}
	own, _ := m.v5(t, pki.Agent, "edge-2", func(pk *packets.Packet) {
		pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload = true, "weft/v1/frames/fog-1/edge-2/R", []byte("own")
	})
	_ = own.Close()
	if s := <-frames; s != "weft/v1/frames/fog-1/edge-2/R own" {
		t.Errorf("got %s", s)
	}
}

// Only certificates of the mesh's own authority connect.
func TestCertificates(t *testing.T) {
	m := startMesh(t, Config{})
	stranger := m.creds(t, pki.Agent, "edge-1") // it trusts the broker
	stranger.GetClientCertificate = pkitest.Issue(t, pkitest.CA(t), pki.Agent, "edge-1").ClientTLS(pki.Agent).GetClientCertificate
	none := m.creds(t, pki.Agent, "edge-1")
	none.GetClientCertificate = nil
	old := m.creds(t, pki.Agent, "edge-1")
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	for what, conf := range map[string]*tls.Config{"of another authority": stranger, "none": none, "TLS 1.2": old} {
		c := paho.NewClient(paho.NewClientOptions().AddBroker("tls://" + m.Addr()).SetTLSConfig(conf).SetProtocolVersion(4).SetConnectRetry(false))
		if tok := c.Connect(); !tok.WaitTimeout(patience) || tok.Error() == nil {
			t.Errorf("certificate %s: let in", what)
			c.Disconnect(0)
		}
	}
	plain := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + m.Addr()).SetProtocolVersion(4))
	if tok := plain.Connect(); !tok.WaitTimeout(patience) || tok.Error() == nil {
		t.Error("plain text: let in")
	}
	if s := m.Stats(); s.Clients != 0 {
		t.Errorf("%+v, want no client", s)
	}
}

// Nobody takes over another's session by its client identifier, not even an
// operator that has the name of a node.
func TestClientIdentifiers(t *testing.T) {
	m := startMesh(t, Config{})
	lost := make(chan error, 1)
	victim := paho.NewClient(m.options(t, pki.Agent, "edge-1", lost).SetClientID("weft-edge-1-ABC"))
	done(t, victim.Connect())
	defer victim.Disconnect(250)
	frames := inbox(t, victim, "weft/v1/frames/edge-1/+/+")
	for role, name := range map[pki.Role]string{pki.Agent: "edge-2", pki.Operator: "edge-1"} {
		thief := paho.NewClient(m.options(t, role, name, nil).SetClientID("weft-edge-1-ABC").SetCleanSession(false))
		done(t, thief.Connect())
		defer thief.Disconnect(250)
	}
	done(t, m.join(t, pki.Agent, "fog-1", nil).Publish("weft/v1/frames/edge-1/fog-1/R", 1, false, "frame"))
	select {
	case <-frames:
	case err := <-lost:
		t.Errorf("the session was taken over: %v", err)
	case <-time.After(patience):
		t.Error("the subscription was taken over")
	}
	tok := paho.NewClient(m.options(t, pki.Agent, "edge-3", nil).SetClientID(strings.Repeat("x", maxClientID+1))).Connect()
	if tok.Wait(); tok.Error() == nil || !strings.Contains(tok.Error().Error(), "identifier rejected") {
		t.Errorf("a long identifier: %v", tok.Error())
	}
}

// Neither retained messages nor sessions outlive what a client does.
func TestNothingIsKept(t *testing.T) {
	m := startMesh(t, Config{})
	cam := m.join(t, pki.Operator, "cam", nil)
	done(t, cam.Publish("cams/gate", 1, true, "retained"))
	away := func() paho.Client {
		c := paho.NewClient(m.options(t, pki.Agent, "edge-1", nil).SetCleanSession(false))
		tok := c.Connect()
		done(t, tok)
		if tok.(*paho.ConnectToken).SessionPresent() {
			t.Error("the session was kept")
		}
		return c
	}
	c := away()
	got := inbox(t, c, "cams/#")
	c.Disconnect(250)
	eventually(t, "it to be gone", func() bool { return m.Stats().Clients == 1 && len(m.server.Clients.GetAll()) == 1 })
	done(t, cam.Publish("cams/gate", 1, false, "while away"))
	c = away()
	defer c.Disconnect(250)
	again := inbox(t, c, "cams/#")
	done(t, cam.Publish("cams/gate", 1, false, "now"))
	if s := <-again; s != "cams/gate now" || len(got) > 0 {
		t.Errorf("got %s, and %d messages of the earlier session", s, len(got))
	}
	five, ack := m.v5(t, pki.Agent, "edge-5", func(pk *packets.Packet) {
		pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = 3600, true
	})
	if !ack.Properties.SessionExpiryIntervalFlag || ack.Properties.SessionExpiryInterval != 0 {
		t.Errorf("CONNACK promises a session of %d s", ack.Properties.SessionExpiryInterval)
	}
	_ = five.Close()
	eventually(t, "its session to end", func() bool { return len(m.server.Clients.GetAll()) == 2 })
}

// One certificate's holder does not use up the broker's connections, nor its
// memory by subscriptions.
func TestLimitsOfOne(t *testing.T) {
	m := startMesh(t, Config{PerOwner: 3})
	for i := range 3 {
		c := paho.NewClient(m.options(t, pki.Agent, "edge-1", nil).SetClientID(fmt.Sprint("c", i)))
		done(t, c.Connect())
		defer c.Disconnect(250)
	}
	if tok := paho.NewClient(m.options(t, pki.Agent, "edge-1", nil).SetClientID("c4")).Connect(); !tok.WaitTimeout(patience) || tok.Error() == nil {
		t.Error("a fourth connection is let in")
	}
	m.join(t, pki.Operator, "edge-1", nil).Disconnect(250) // another's of that name
	eventually(t, "it to be gone", func() bool { return m.Stats().Clients == 3 })

	greedy, _ := m.v5(t, pki.Agent, "edge-2", nil)
	var list packets.Subscriptions
	for i := range maxSubscriptions + 1 {
		list = append(list, packets.Subscription{Filter: fmt.Sprint("cams/", i)})
	}
	greedy.send(packets.Subscribe, packets.Packet{PacketID: 1, Filters: list})
	if pk := greedy.receive(packets.Disconnect); pk.ReasonCode != packets.ErrQuotaExceeded.Code {
		t.Errorf("reason code %#x", pk.ReasonCode)
	}
	modest, _ := m.v5(t, pki.Agent, "edge-2", nil)
	modest.send(packets.Subscribe, packets.Packet{PacketID: 1, Filters: list[:maxSubscriptions]})
	modest.receive(packets.Suback)
}

// A subscriber that never reads is disconnected, however often it says that it
// lives; meanwhile nobody waits for it, whatever QoS was asked for.
func TestStuckSubscriber(t *testing.T) {
	m := startMesh(t, Config{Pending: 4, Stall: 500 * time.Millisecond})
	stuck, _ := m.v5(t, pki.Agent, "edge-1", func(pk *packets.Packet) { pk.Connect.Keepalive = 0 })
	stuck.send(packets.Subscribe, packets.Packet{PacketID: 1, Filters: packets.Subscriptions{{Filter: "cams/gate", Qos: 2}}})
	stuck.receive(packets.Suback)
	got := inbox(t, m.join(t, pki.Agent, "fog-1", nil), "cams/gate")
	cam := m.join(t, pki.Operator, "cam", nil)
	picture := bytes.Repeat([]byte("x"), 1<<20)
	eventually(t, "it to be disconnected", func() bool {
		done(t, cam.Publish("cams/gate", 1, false, picture))
		<-got
		return m.Stats().Clients == 2
	})
	m.stop()
}

// Refusals are logged, but an offender can neither fill the disk nor write its
// messages to the log.
func TestRefusalsInTheLog(t *testing.T) {
	var book logtest.Book
	m := startMesh(t, Config{Log: book.Logger()})
	for range 5 {
		lost := make(chan error, 1)
		m.join(t, pki.Agent, "edge-2", lost).Publish("weft/v1/frames/fog-1/edge-1/R", 1, false, "secret")
		<-lost
		c, _ := m.v5(t, pki.Agent, "edge-2", nil)
		c.send(packets.Publish, packets.Packet{TopicName: "weft/v1/detections/a/b", Payload: []byte("secret"),
			Properties: packets.Properties{SubscriptionIdentifier: []int{1}}}) // a breach of the protocol
		c.receive(packets.Disconnect)
	}
	m.stop()
	said := book.String()
	if n := strings.Count(said, "refused"); n != strings.Count(said, "refused: ")*2 || !strings.Contains(said, "who=spiffe://test/agent/edge/edge-2") ||
		strings.Count(said, "refused: ") != 1 || strings.Contains(said, "secret") || strings.Count(said, "error processing packet") != 1 {
		t.Errorf("log:\n%s", said)
	}
	if n := m.Stats().Refused; n != 5 {
		t.Errorf("%d refused, want 5", n)
	}
}

// mosquitto's clients, as people use them: an operator sees what is detected
// and is a camera; what it may not do it is told.
func TestMosquittoClients(t *testing.T) {
	for _, tool := range []string{"mosquitto_pub", "mosquitto_sub"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("no mosquitto clients here: apt-get install mosquitto-clients")
		}
	}
	m := startMesh(t, Config{})
	dir := t.TempDir()
	if err := pkitest.Issue(t, m.ca, pki.Operator, "ops").Save(dir); err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(m.Addr())
	if err != nil {
		t.Fatal(err)
	}
	command := func(tool string, args ...string) *exec.Cmd {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		t.Cleanup(cancel)
		return exec.CommandContext(ctx, tool, append([]string{"-h", host, "-p", port, "--cafile", dir + "/ca.crt",
			"--cert", dir + "/ops.crt", "--key", dir + "/ops.key"}, args...)...)
	}
	edge := m.join(t, pki.Agent, "edge-1", nil)
	seen := inbox(t, edge, "cams/#")
	for _, version := range []string{"311", "5"} {
		if out, err := command("mosquitto_pub", "-V", version, "-q", "1", "-t", "cams/gate", "-m", version).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if s := <-seen; s != "cams/gate "+version {
			t.Errorf("got %s", s)
		}
		if out, err := command("mosquitto_pub", "-V", version, "-q", "1", "-t", "weft/v1/frames/edge-1/ops/R", "-m", "x").CombinedOutput(); err == nil {
			t.Errorf("MQTT %s: an operator publishes a frame: %s", version, out)
		}
		out, err := command("mosquitto_sub", "-V", version, "-C", "1", "-W", "5", "-t", "weft/v1/frames/#").CombinedOutput()
		if !strings.Contains(string(out), "denied") { // its exit status depends on its version
			t.Errorf("MQTT %s: an operator subscribes to frames: %v, %s", version, err, out)
		}
		sub := command("mosquitto_sub", "-V", version, "-C", "1", "-t", "weft/v1/detections/#")
		var heard bytes.Buffer
		sub.Stdout = &heard
		eventually(t, "the earlier ones to be gone", func() bool { return m.Stats().Clients == 1 })
		if err := sub.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- sub.Wait() }()
		eventually(t, "mosquitto_sub to hear of a detection", func() bool {
			if m.Stats().Clients > 1 {
				done(t, edge.Publish("weft/v1/detections/people/gate", 1, false, "{}"))
			}
			select {
			case err := <-ended:
				return err == nil
			default:
				return false
			}
		})
		if heard.String() != "{}\n" {
			t.Errorf("MQTT %s: heard %q", version, heard.String())
		}
	}
}

// What a client publishes with QoS 2 and never releases is bounded by the
// receive maximum, and of each only the acknowledgement is held; no packet
// gives back what it did not take.
func TestUnreleasedPublications(t *testing.T) {
	const pending = 8
	m := startMesh(t, Config{Pending: pending})
	heavy := packets.Properties{User: []packets.UserProperty{{Key: "k", Val: strings.Repeat("x", 60_000)}}}
	publish := func(c *v5, id int) {
		c.send(packets.Publish, packets.Packet{
			FixedHeader: packets.FixedHeader{Qos: 2}, PacketID: uint16(id), TopicName: "weft/v1/detections/a/b", Payload: []byte("x"), Properties: heavy,
		})
	}
	hoarder, _ := m.v5(t, pki.Agent, "edge-1", nil)
	for id := 1; id <= pending; id++ {
		publish(hoarder, id)
		hoarder.receive(packets.Pubrec)
	}
	for _, cl := range m.server.Clients.GetAll() {
		held := cl.State.Inflight.GetAll(false)
		if len(held) != pending {
			t.Errorf("%d are held, want %d", len(held), pending)
		}
		for _, pk := range held {
			if len(pk.Properties.User) > 0 || len(pk.Payload) > 0 {
				t.Fatal("more is held than an acknowledgement")
			}
		}
	}
	publish(hoarder, pending+1)
	if pk := hoarder.receive(packets.Disconnect); pk.ReasonCode != packets.ErrReceiveMaximum.Code {
		t.Errorf("one more: reason code %#x", pk.ReasonCode)
	}
	for _, kind := range []byte{packets.Puback, packets.Pubrec, packets.Pubcomp} {
		c, _ := m.v5(t, pki.Agent, "edge-2", nil)
		if _, err := c.Write([]byte{kind << 4, 2, 0xff, 0xfe}); err != nil {
			t.Fatal(err)
		}
		if pk := c.receive(packets.Disconnect); pk.ReasonCode != packets.ErrProtocolViolation.Code {
			t.Errorf("a packet of type %d that answers nothing: reason code %#x", kind, pk.ReasonCode)
		}
	}
	// Whoever releases what it publishes goes on for ever.
	honest := m.join(t, pki.Agent, "edge-3", nil)
	for range 3 * pending {
		done(t, honest.Publish("weft/v1/detections/a/b", 2, false, "x"))
	}
}

// A will comes when its connection ends, whatever delay it asks for: those that
// wait would stay when their clients have gone.
func TestWillsAreNotDelayed(t *testing.T) {
	m := startMesh(t, Config{})
	frames := inbox(t, m.join(t, pki.Agent, "fog-1", nil), "weft/v1/frames/fog-1/+/+")
	c, _ := m.v5(t, pki.Agent, "edge-2", func(pk *packets.Packet) {
		pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = 1<<31, true
		pk.Properties.User = []packets.UserProperty{{Key: "k", Val: strings.Repeat("x", 60_000)}}
		pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload = true, "weft/v1/frames/fog-1/edge-2/R", []byte("own")
		pk.Connect.WillProperties.WillDelayInterval = 1 << 31
		pk.Connect.WillProperties.User = pk.Properties.User
	})
	for id, cl := range m.server.Clients.GetAll() {
		if len(cl.Properties.Props.User) > 0 || len(cl.Properties.Will.User) > 0 {
			t.Errorf("what %s says of itself is kept", id)
		}
	}
	_ = c.Close()
	select {
	case s := <-frames:
		if s != "weft/v1/frames/fog-1/edge-2/R own" {
			t.Errorf("got %s", s)
		}
	case <-time.After(patience):
		t.Error("the will is kept")
	}
}

// Strangers that hold connections shut nobody out, whether they share an
// address with a client or not, and clients do not give way to them.
func TestStrangersShutNobodyOut(t *testing.T) {
	m := startMesh(t, Config{})
	first := m.join(t, pki.Agent, "fog-1", nil)
	for _, ip := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"} {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
		for range 256 {
			c, err := d.Dial("tcp", m.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
	}
	m.join(t, pki.Agent, "edge-1", nil)
	done(t, first.Publish("weft/v1/detections/a/b", 1, false, "x"))
	m.main.mu.Lock()
	defer m.main.mu.Unlock()
	if n := len(m.main.conns); n > 600 {
		t.Errorf("%d connections are held", n)
	}
}
