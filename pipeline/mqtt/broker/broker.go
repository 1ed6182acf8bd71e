package broker

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"

	"github.com/weft-mesh/weft/internal/pki"
)

// ErrConfig reports settings that make no broker.
var ErrConfig = errors.New("invalid MQTT broker settings")

// The defaults, and what is not worth a setting.
const (
	// defaultMaxPacket admits the largest frame that links send by default.
	defaultMaxPacket = 17 << 20
	defaultPending   = 64
	defaultPerOwner  = 64
	defaultStall     = 10 * time.Second
	maxClients       = 1024
	sysInterval      = 60 // s between $SYS messages; each stops the world for its memory statistics
	bufferSize       = 64 << 10
	reportInterval   = 10 * time.Second
)

// Config is what a Broker needs. Zero numbers take the default in brackets.
type Config struct {
	Listen    string      // host:port; port 0: a free one
	TLS       *tls.Config // mutual TLS, with the clients' CAs
	Peers     *pki.Peers  // connections end with the trust in their peer; nil: they do not
	Plaintext bool        // no TLS: anyone who can connect may read and write everything

	// Allow says whether the holder of a certificate may publish to a topic
	// (write), or subscribe to a filter and be sent what is published to a
	// topic. Needed with TLS; it is called from many goroutines, for every
	// message and delivery.
	Allow func(who pki.Subject, topic string, write bool) bool

	// Users may connect over TLS without a certificate; nil: nobody may.
	Users Users
	// PlainListen is a further address, host:port, at which users may connect
	// without TLS, and nobody else; empty: there is none.
	PlainListen string

	MaxPacket int // bytes of the largest packet [17 MiB]
	// Pending is how many messages may wait for a subscriber [64]. Times
	// MaxPacket it is the most that a subscriber can make the broker hold.
	Pending  int
	PerOwner int           // connections of the holder of one certificate [64]
	Stall    time.Duration // longest a subscriber may take nothing of what is sent to it [10 s]
	Log      *slog.Logger
}

// Users are those who have a password in place of a certificate. Both methods
// are called from many goroutines.
type Users interface {
	// Login reports whether the password is the user's. It may be slow.
	Login(name string, password []byte) bool
	// Allowed is to users what Config.Allow is to holders of certificates.
	Allowed(name, topic string, write bool) bool
}

// Broker is an MQTT broker that listens at one address, or two.
type Broker struct {
	server *mochi.Server
	main   *listener
	plain  *listener // nil: none
	failed chan error
	gate   *gate
	log    *slog.Logger
}

// New checks the settings and binds the address. Connections are served by
// Run; a broker that is not run is to be closed. Errors are ErrConfig or what
// the operating system says of the address.
func New(conf Config) (*Broker, error) {
	switch {
	case conf.TLS == nil && !conf.Plaintext:
		return nil, fmt.Errorf("%w: neither certificates nor plain text: give TLS settings, or ask for plaintext by name", ErrConfig)
	case conf.TLS != nil && conf.Plaintext:
		return nil, fmt.Errorf("%w: both certificates and plain text are asked for: choose one", ErrConfig)
	case conf.TLS != nil && !pki.AsksForCertificates(conf.TLS):
		return nil, fmt.Errorf("%w: TLS settings that let clients in without a certificate", ErrConfig)
	case conf.TLS != nil && conf.Allow == nil:
		return nil, fmt.Errorf("%w: nothing says what a certificate's holder may do", ErrConfig)
	case conf.Plaintext && conf.Allow != nil:
		return nil, fmt.Errorf("%w: in plain text nobody can be told apart, so everything must be allowed", ErrConfig)
	case conf.Plaintext && conf.Users != nil:
		return nil, fmt.Errorf("%w: in plain text everybody may do everything, users or not", ErrConfig)
	case conf.PlainListen != "" && conf.Users == nil:
		return nil, fmt.Errorf("%w: an address without TLS, and no users for it", ErrConfig)
	case conf.MaxPacket < 0 || conf.MaxPacket > 256<<20:
		return nil, fmt.Errorf("%w: packets of %d bytes: want 1 to 268435456", ErrConfig, conf.MaxPacket)
	case conf.Pending < 0 || conf.Pending > 65535:
		return nil, fmt.Errorf("%w: %d pending messages: want 1 to 65535", ErrConfig, conf.Pending)
	case conf.PerOwner < 0 || conf.Stall < 0:
		return nil, fmt.Errorf("%w: counts and durations must not be negative", ErrConfig)
	}
	conf.MaxPacket = cmp.Or(conf.MaxPacket, defaultMaxPacket)
	conf.Pending = cmp.Or(conf.Pending, defaultPending)
	conf.PerOwner = cmp.Or(conf.PerOwner, defaultPerOwner)
	conf.Stall = cmp.Or(conf.Stall, defaultStall)
	log := slog.New(newQuieter(conf.Log.Handler()))
	trouble := &limited{conf.Log, newPace()}

	limits := mochi.NewDefaultServerCapabilities()
	limits.MaximumClients = maxClients
	limits.MaximumPacketSize = uint32(conf.MaxPacket)
	limits.MaximumClientWritesPending = int32(conf.Pending)
	limits.MaximumInflight = uint16(conf.Pending)
	limits.ReceiveMaximum = uint16(conf.Pending)
	// What would stay when its client is gone, and grow: a session's messages,
	// retained ones, and names for topics.
	limits.MaximumSessionExpiryInterval = 0
	limits.RetainAvailable = 0
	limits.TopicAliasMaximum = 0
	// An acknowledgement of mochi's carries what the publication did, and the
	// one of QoS 2 is kept until the client releases it.
	limits.Compatibilities.NoInheritedPropertiesOnAck = true
	server := mochi.New(&mochi.Options{
		Capabilities: limits, Logger: log, SysTopicResendInterval: sysInterval,
		ClientNetReadBufferSize: bufferSize, ClientNetWriteBufferSize: bufferSize,
	})
	access := &gate{server: server, allow: conf.Allow, users: conf.Users, logins: newLogins(), log: trouble}
	if err := server.AddHook(access, nil); err != nil {
		return nil, fmt.Errorf("mqtt broker: %w", err)
	}
	b := &Broker{server: server, failed: make(chan error, 2), gate: access, log: conf.Log}
	secure := conf.TLS
	if secure != nil && conf.Users != nil {
		secure = pki.OptionalClient(secure)
	}
	var err error
	if b.main, err = b.listen("mqtt", conf.Listen, secure, conf, trouble); err != nil {
		return nil, err
	}
	if conf.PlainListen != "" {
		if b.plain, err = b.listen("mqtt-plain", conf.PlainListen, nil, conf, trouble); err != nil {
			return nil, errors.Join(err, b.Close())
		}
	}
	return b, nil
}

func (b *Broker) listen(name, address string, secure *tls.Config, conf Config, trouble *limited) (*listener, error) {
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("mqtt broker: %w", err)
	}
	l := newListener(name, tcp, secure, conf, b.failed, trouble)
	if err := b.server.AddListener(l); err != nil {
		return nil, errors.Join(fmt.Errorf("mqtt broker: %w", err), tcp.Close())
	}
	return l, nil
}

// Addr is the address it listens at, host:port.
func (b *Broker) Addr() string { return b.main.Address() }

// PlainAddr is the one for users without TLS; empty: none.
func (b *Broker) PlainAddr() string {
	if b.plain == nil {
		return ""
	}
	return b.plain.Address()
}

// Close frees the addresses of a broker that is not run.
func (b *Broker) Close() error {
	err := b.main.tcp.Close()
	if b.plain != nil {
		err = errors.Join(err, b.plain.tcp.Close())
	}
	return err
}

// Run serves until ctx ends (nil) or the listener fails. It closes every
// connection and is to be called once.
func (b *Broker) Run(ctx context.Context) error {
	if err := b.server.Serve(); err != nil {
		return errors.Join(fmt.Errorf("mqtt broker: %w", err), b.Close())
	}
	report := time.NewTicker(reportInterval)
	defer report.Stop()
	var reported uint64
	var failed error
	for ctx.Err() == nil && failed == nil {
		select {
		case <-ctx.Done():
		case failed = <-b.failed:
		case <-report.C:
			if n := b.Stats().Dropped; n > reported {
				b.log.Warn("mqtt broker: dropped messages for subscribers that are too slow", "dropped", n-reported)
				reported = n
			}
		}
	}
	if err := b.server.Close(); err != nil {
		failed = errors.Join(failed, err)
	}
	if failed != nil {
		return fmt.Errorf("mqtt broker: %w", failed)
	}
	return nil
}

// Stats are a broker's counts since New, and its state.
type Stats struct {
	Clients  int    // connected
	Received uint64 // messages published by clients
	Sent     uint64 // messages written to subscribers
	Dropped  uint64 // messages that a subscriber was too slow for
	Refused  uint64 // publications, subscriptions and wills that were not allowed
}

// Stats returns the counts.
func (b *Broker) Stats() Stats {
	i := b.server.Info.Clone()
	return Stats{
		Clients:  int(i.ClientsConnected),
		Received: uint64(i.MessagesReceived),
		Sent:     uint64(i.MessagesSent),
		Dropped:  uint64(i.MessagesDropped + i.InflightDropped),
		Refused:  b.gate.refused.Load(),
	}
}
