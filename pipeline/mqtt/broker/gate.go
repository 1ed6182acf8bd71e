package broker

import (
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/weft-mesh/weft/internal/pki"
)

const (
	maxClientID      = 256 // bytes
	maxSubscriptions = 256 // of a client
)

// gate is the hook through which mochi asks what a client may do. mochi asks
// before a subscription, a publication and a delivery; it does not ask about
// wills, refuses publications of QoS 0 silently, and lets clients grow what the
// broker holds for them. The gate closes these gaps.
type gate struct {
	mochi.HookBase
	server  *mochi.Server
	allow   func(who pki.Subject, topic string, write bool) bool // nil: everything is allowed
	users   Users                                                // nil: there are none
	logins  *logins
	log     *limited
	refused atomic.Uint64
}

func (g *gate) ID() string { return "gate" }

func (g *gate) Provides(hook byte) bool {
	switch hook {
	case mochi.OnConnect, mochi.OnConnectAuthenticate, mochi.OnPacketRead, mochi.OnPacketEncode, mochi.OnACLCheck, mochi.OnSubscribe:
		return true
	}
	return false
}

// OnConnect admits a client whom TLS has authenticated, or its password does. Its
// identifier becomes one of a space of its own, ROLE/NAME/ID: whatever it calls
// itself, it cannot take over the session of another.
func (g *gate) OnConnect(cl *mochi.Client, pk packets.Packet) error {
	if len(pk.Connect.ClientIdentifier) > maxClientID {
		return g.turnAway(cl, packets.ErrClientIdentifierNotValid, packets.ErrClientIdentifierNotValid)
	}
	if c, ok := cl.Net.Conn.(*guest); ok {
		if code := g.login(c, pk.Connect); code != packets.CodeSuccess {
			return g.turnAway(cl, code, code)
		}
	}
	if will := pk.Connect; will.WillFlag && !g.may(cl, will.WillTopic, true) {
		g.refuse(cl, "will", will.WillTopic)
		return g.turnAway(cl, packets.ErrNotAuthorized, packets.ErrBadUsernameOrPassword)
	}
	if g.allow != nil {
		cl.ID = ownerOf(cl) + "/" + cl.ID
	}
	// Sessions end with their connections; MQTT 5 clients are told so by their
	// CONNACK, older ones by the next one, which never finds a session.
	if cl.Properties.ProtocolVersion < 5 {
		cl.Properties.Clean = true
	}
	// mochi forgets that a message which introduced an alias was dropped.
	cl.Properties.Props.TopicAliasMaximum = 0
	// A delayed will would outlive its connection, and one for each identifier.
	cl.Properties.Will.WillDelayInterval = 0
	// Each is as large as a packet, and nobody reads them.
	cl.Properties.Props.User, cl.Properties.Will.User = nil, nil
	return nil
}

// turnAway tells a client by its CONNACK why it may not connect; mochi knows
// MQTT 3's codes by the names of some of MQTT 5's.
func (g *gate) turnAway(cl *mochi.Client, v5, v3 packets.Code) error {
	code := v5
	if cl.Properties.ProtocolVersion < 5 {
		code = v3
	}
	_ = g.server.SendConnack(cl, code, false, nil) // the connection ends in any case
	return v5
}

// OnConnectAuthenticate holds for all: TLS has verified the certificate or
// OnConnect the password, and where neither is asked for everybody is let in.
func (g *gate) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }

// OnPacketRead ends the connection of a client that publishes what it may not,
// or acknowledges what nobody sent: deliveries are of QoS 0, and mochi takes a
// PUBCOMP for any message as leave to send one more.
func (g *gate) OnPacketRead(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	switch pk.FixedHeader.Type {
	case packets.Publish:
		if g.may(cl, pk.TopicName, true) {
			return pk, nil
		}
		g.refuse(cl, "publish", pk.TopicName)
		g.end(cl, packets.ErrNotAuthorized)
		return pk, packets.ErrRejectPacket
	case packets.Puback, packets.Pubrec, packets.Pubcomp:
		g.end(cl, packets.ErrProtocolViolation)
		return pk, packets.ErrRejectPacket
	}
	return pk, nil
}

// end ends a connection. MQTT 5 has a reason code for it, MQTT 3 no other way
// to say so.
func (g *gate) end(cl *mochi.Client, code packets.Code) {
	if cl.Properties.ProtocolVersion >= 5 {
		_ = g.server.DisconnectClient(cl, code) // says what it returns
	}
	cl.Stop(code)
}

// OnPacketEncode tells MQTT 5 clients what mochi forgets to.
func (g *gate) OnPacketEncode(_ *mochi.Client, pk packets.Packet) packets.Packet {
	if pk.FixedHeader.Type == packets.Connack && pk.ReasonCode == packets.CodeSuccess.Code {
		limits := g.server.Options.Capabilities
		pk.Properties.RetainAvailable, pk.Properties.RetainAvailableFlag = limits.RetainAvailable, true
		pk.Properties.MaximumPacketSize = limits.MaximumPacketSize
	}
	return pk
}

// OnSubscribe has everything delivered with QoS 0: mochi keeps what is
// delivered with more until it is acknowledged, and has the publisher wait for
// the lock of a subscriber that is being written to.
func (g *gate) OnSubscribe(cl *mochi.Client, pk packets.Packet) packets.Packet {
	if have := cl.State.Subscriptions.Len(); have+len(pk.Filters) > maxSubscriptions {
		g.log.warn(time.Now(), "a client has too many subscriptions and is disconnected", "client", cl.ID, "remote", cl.Net.Remote, "limit", maxSubscriptions)
		_ = g.server.DisconnectClient(cl, packets.ErrQuotaExceeded)
		pk.Filters = nil
	}
	for i := range pk.Filters {
		pk.Filters[i].Qos = 0
	}
	return pk
}

// OnACLCheck is asked of each filter of a subscription (with write false), of
// each delivery (likewise), and of each publication. A subscription that it
// refuses is answered with its reason code.
func (g *gate) OnACLCheck(cl *mochi.Client, topic string, write bool) bool {
	if g.may(cl, topic, write) {
		return true
	}
	g.refuse(cl, "subscribe", topic)
	return false
}

func (g *gate) may(cl *mochi.Client, topic string, write bool) bool {
	switch c := cl.Net.Conn.(type) {
	case *known:
		return g.allow(c.who, topic, write)
	case *guest:
		return c.user != "" && g.users.Allowed(c.user, topic, write)
	}
	return g.allow == nil
}

func (g *gate) refuse(cl *mochi.Client, what, topic string) {
	n := g.refused.Add(1)
	g.log.warn(time.Now(), "refused: the client is not allowed to", "to", what,
		"topic", shortened(topic), "client", shortened(cl.ID), "who", whose(cl), "remote", cl.Net.Remote, "refused_so_far", n)
}

// ownerOf is who is at the other end of a client's connection, within the mesh;
// empty where everybody is let in.
func ownerOf(cl *mochi.Client) string {
	switch c := cl.Net.Conn.(type) {
	case *known:
		return owner(c.who)
	case *guest:
		return c.owner()
	}
	return ""
}

// whose is the same for people.
func whose(cl *mochi.Client) string {
	if c, ok := cl.Net.Conn.(*known); ok {
		return c.who.String()
	}
	return ownerOf(cl)
}

// owner names a subject within the mesh. A node and an operator may share a
// name.
func owner(s pki.Subject) string { return string(s.Role) + "/" + s.Name }

func shortened(s string) string {
	const most = 128
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
