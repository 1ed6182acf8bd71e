package mqtt

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/weft-mesh/weft/internal/pki"
)

// ErrConfig reports settings that make no link.
var ErrConfig = errors.New("invalid MQTT settings")

// endpoint is a broker, as its URL and the TLS settings name it.
type endpoint struct {
	url   *url.URL    // the host always has a port
	tls   *tls.Config // nil: plain text
	peers *pki.Peers
}

// CheckURL says what is wrong with a broker's URL; plaintext says that plain
// text is wanted. Errors are ErrConfig.
func CheckURL(raw string, plaintext bool) error {
	_, err := parseURL(raw, plaintext)
	return err
}

// parseURL reads a broker's URL. Plain text is asked for twice, by the scheme
// and by plaintext: neither a mistyped URL nor one that others suggest gives up
// TLS by itself.
func parseURL(raw string, plaintext bool) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: broker %q is not a URL: want tls://HOST:PORT, or tcp://HOST:PORT for plain text; in a password write %%40 for @, %%3A for : and %%2F for /", ErrConfig, shown(raw))
	}
	var port string
	switch u.Scheme {
	case "tcp", "mqtt":
		port = "1883"
		if !plaintext {
			return nil, fmt.Errorf("%w: broker %s: %s:// is plain text, which everybody on the way can read and change: use tls://, or ask for plain text by name (plaintext: true)",
				ErrConfig, shown(raw), u.Scheme)
		}
	case "tls", "mqtts", "ssl":
		port = "8883"
		if plaintext {
			return nil, fmt.Errorf("%w: broker %s: plain text is asked for, but %s:// is TLS: choose one", ErrConfig, shown(raw), u.Scheme)
		}
	default:
		return nil, fmt.Errorf("%w: broker %q: want tls://HOST:PORT, or tcp://HOST:PORT for plain text", ErrConfig, shown(raw))
	}
	switch {
	case u.Hostname() == "":
		return nil, fmt.Errorf("%w: broker %q names no host: want %s://HOST:PORT", ErrConfig, shown(raw), u.Scheme)
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%w: broker %s: nothing may follow the port", ErrConfig, shown(raw))
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), port)
	}
	return u, nil
}

// shown is a broker's URL without what is before its host: in one that is
// mistyped a password may be anywhere there.
func shown(raw string) string {
	if i := strings.LastIndexByte(raw, '@'); i >= 0 {
		return "…" + raw[i:]
	}
	return raw
}

// parseBroker reads a broker's URL and checks the TLS settings for it.
func parseBroker(raw string, conf *tls.Config, peers *pki.Peers, plaintext bool) (endpoint, error) {
	u, err := parseURL(raw, plaintext)
	switch {
	case err != nil:
		return endpoint{}, err
	case plaintext && conf != nil:
		return endpoint{}, fmt.Errorf("%w: broker %s: certificates are given, but %s:// is plain text: use tls://",
			ErrConfig, u.Redacted(), u.Scheme)
	case !plaintext && conf == nil:
		return endpoint{}, fmt.Errorf("%w: broker %s: %s:// needs certificates: give them", ErrConfig, u.Redacted(), u.Scheme)
	case conf != nil && !pki.VerifiesServer(conf):
		return endpoint{}, fmt.Errorf("%w: broker %s: the broker's certificate must be verified", ErrConfig, u.Redacted())
	}
	return endpoint{url: u, tls: conf, peers: peers}, nil
}

// String is the URL without its password.
func (e endpoint) String() string { return e.url.Redacted() }

// dial opens the connection, including the TLS handshake.
func (e endpoint) dial(ctx context.Context) (net.Conn, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", e.url.Host)
	if err != nil || e.tls == nil {
		return raw, err
	}
	conf := e.tls.Clone()
	conf.ServerName = cmp.Or(conf.ServerName, e.url.Hostname())
	c := e.peers.Client(raw, conf)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return c, nil
}
