package quic

import (
	"cmp"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/pipeline"
)

// alpn names the protocol, with the version of what is not the codec's.
const alpn = "weft/1"

// Config says how a Link is to be. Zero durations and sizes take the default
// in brackets.
type Config struct {
	Listen    string      // host:port of the UDP socket; port 0 takes a free one
	Node      string      // this node's name, for the log
	ServerTLS *tls.Config // must require and verify the peer's certificate
	ClientTLS *tls.Config
	Peers     *pki.Peers // connections end with the trust in their peer; nil: they do not

	MaxFrame int           // bytes of a frame's picture [16 MiB]
	Grace    time.Duration // after its deadline, to hear a frame's outcome [1 s]
	Patience time.Duration // the same for a frame without a deadline; also to write or read one [30 s]
	Idle     time.Duration // an unused connection is closed after it [1 min]
	Silence  time.Duration // a peer not heard of for so long is gone [5 s]
	Log      *slog.Logger

	lanes int // connections taken from one peer [maxLanes]
}

// The limits that nobody needs to change.
const (
	maxInbound     = 1024     // connections from peers
	maxLanes       = 8        // of them from one peer
	maxStreams     = 256      // incoming frames at once on a connection
	maxHeld        = 64 << 20 // bytes of half-read frames of a peer, at least two frames
	maxTries       = 2        // connections for one frame: the first may just have ended
	maxFlights     = 4096     // frames handed to a peer and not settled
	maxOutcomes    = 4096     // outcomes waiting to go to a peer
	maxBatch       = 100      // outcomes a message: fits its header whatever they say
	flushEvery     = 5 * time.Millisecond
	pingEvery      = time.Second
	firstPings     = 8               // right after one another
	answerWithin   = 3 * time.Second // a handshake step, a control write
	goodbyeWithin  = 300 * time.Millisecond
	firstBackoff   = 100 * time.Millisecond
	longestBackoff = 5 * time.Second
	forgetAfter    = 10 * time.Minute // a peer with no connection
	complainEvery  = 10 * time.Second // about one peer's malformed input
)

// Codes with which connections are closed.
const (
	closeDone quic.ApplicationErrorCode = iota
	closeShutdown
	closeIdle
	closeReplaced
	closeBusy
	closeProtocol
	closeDistrusted
)

// Codes with which streams are cancelled, by either side.
const (
	cancelLate quic.StreamErrorCode = iota + 1
	cancelAbandoned
	cancelOversized
	cancelMalformed
	cancelBusy
	cancelSlow
	cancelClosing
)

func (c Config) withDefaults() Config {
	l := pipeline.DefaultLimits()
	c.MaxFrame = cmp.Or(c.MaxFrame, l.Image)
	c.Grace = cmp.Or(c.Grace, time.Second)
	c.Patience = cmp.Or(c.Patience, 30*time.Second)
	c.Idle = cmp.Or(c.Idle, time.Minute)
	c.lanes = cmp.Or(c.lanes, maxLanes)
	c.Silence = cmp.Or(c.Silence, 5*time.Second)
	return c
}

func (c Config) validate() error {
	switch {
	case c.ServerTLS == nil || c.ClientTLS == nil:
		return errors.New("quic link: ServerTLS and ClientTLS are both needed")
	case !pki.AsksForCertificates(c.ServerTLS):
		return errors.New("quic link: ServerTLS must require and verify client certificates")
	case !pki.VerifiesServer(c.ClientTLS):
		return errors.New("quic link: ClientTLS must verify the peer's certificate")
	case min(c.Grace, c.Patience, c.Idle, c.Silence) < 0 || c.MaxFrame < 0:
		return fmt.Errorf("quic link: negative limit in %d bytes, grace %s, patience %s, idle %s, silence %s",
			c.MaxFrame, c.Grace, c.Patience, c.Idle, c.Silence)
	}
	return nil
}

func tlsConfig(c *tls.Config) *tls.Config {
	c = c.Clone()
	c.NextProtos = []string{alpn}
	c.MinVersion = tls.VersionTLS13
	c.ClientSessionCache = nil // every connection proves both certificates
	c.SessionTicketsDisabled = true
	return c
}

func (c Config) quicConfig() *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout:           answerWithin,
		MaxIdleTimeout:                 c.Silence,
		KeepAlivePeriod:                c.Silence / 3,
		InitialStreamReceiveWindow:     2 << 20, // most frames whole, before the first update
		InitialConnectionReceiveWindow: 4 << 20,
		MaxStreamReceiveWindow:         8 << 20,
		MaxConnectionReceiveWindow:     16 << 20,
		MaxIncomingStreams:             1, // control
		MaxIncomingUniStreams:          maxStreams,
	}
}

// diallerConfig admits no streams of the peer's.
func (c Config) diallerConfig() *quic.Config {
	q := c.quicConfig()
	q.MaxIncomingStreams, q.MaxIncomingUniStreams = -1, -1
	return q
}

// resetKey is the same after a restart with the same certificate, so that a
// peer whose connection we have forgotten is told at once (RFC 9000, section
// 10.3) and need not wait for our silence. It is nil, a random one, for a key
// that can't be read.
func resetKey(c *tls.Config) *quic.StatelessResetKey {
	if c.GetCertificate == nil {
		return nil
	}
	own, err := c.GetCertificate(&tls.ClientHelloInfo{})
	if err != nil {
		return nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		return nil
	}
	b, err := hkdf.Key(sha256.New, der, nil, "weft quic stateless reset", len(quic.StatelessResetKey{}))
	if err != nil {
		return nil
	}
	return (*quic.StatelessResetKey)(b)
}
