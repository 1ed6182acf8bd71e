package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/internal/pki"
)

// ErrNotSent reports a request that surely reached nobody, so that it may be
// sent again, whatever it asks for.
var ErrNotSent = errors.New("request not sent")

const (
	// connectTimeout bounds finding out that a coordinator is not there, so
	// that the next is asked soon.
	connectTimeout = 2 * time.Second
	// A connection on which nothing comes is tried with a ping: a machine that
	// lost its power says nothing.
	pingAfter, pingTimeout = 5 * time.Second, 3 * time.Second
	// headerTimeout is for answers; the longest are those held for [Wait].
	headerTimeout = Wait + 10*time.Second
)

// Transport sends requests to coordinators. It gives up soon on those that are
// not there, and its errors are ErrNotSent where that is sure.
type Transport struct{ http *http.Transport }

// DialFunc makes connections, as net.Dialer's DialContext does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// NewTransport returns a transport that shows the certificate of tlsConfig.
// dial and peers may be nil.
func NewTransport(tlsConfig *tls.Config, peers *pki.Peers, dial DialFunc) *Transport {
	if dial == nil {
		dial = (&net.Dialer{Timeout: connectTimeout}).DialContext
	}
	return &Transport{&http.Transport{
		ForceAttemptHTTP2:     true,
		DialTLSContext:        secure(tlsConfig, peers, dial),
		ResponseHeaderTimeout: headerTimeout,
		IdleConnTimeout:       time.Minute,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout, WriteByteTimeout: pingAfter},
	}}
}

// secure makes connections whose TLS has begun.
func secure(tlsConfig *tls.Config, peers *pki.Peers, dial DialFunc) DialFunc {
	tlsConfig = tlsConfig.Clone()
	tlsConfig.NextProtos = []string{"h2", "http/1.1"}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		raw, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, connectTimeout)
		defer cancel()
		c := peers.Client(raw, tlsConfig)
		if err := c.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, err
		}
		return c, nil
	}
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	var connected, fresh atomic.Bool
	ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GotConn:          func(httptrace.GotConnInfo) { connected.Store(true) },
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) { fresh.Store(err == nil) },
	})
	resp, err := t.http.RoundTrip(r.WithContext(ctx))
	if err == nil {
		return resp, nil
	}
	if fresh.Load() && ctx.Err() == nil && !refusal(err) && !timedOut(err) {
		// In TLS 1.3 the client is done before the server looks at its
		// certificate; often no more of the refusal is seen than this.
		err = &worded{fmt.Sprintf("it ended the connection at once (%v): it may not accept this certificate", err), []error{err}}
	}
	if !connected.Load() {
		err = &worded{err.Error(), []error{ErrNotSent, err}}
	}
	return nil, err
}

// refusal reports whether the other side said in TLS what it does not accept.
func refusal(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

func timedOut(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// CloseIdleConnections closes the connections that no request uses.
func (t *Transport) CloseIdleConnections() { t.http.CloseIdleConnections() }

// worded is an error in other words.
type worded struct {
	text string
	errs []error
}

func (w *worded) Error() string   { return w.text }
func (w *worded) Unwrap() []error { return w.errs }

// explain words for a person why one coordinator gave no answer; the address
// is for the caller to add.
func explain(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // without the method and the URL
	}
	say := func(format string, args ...any) error { return &worded{fmt.Sprintf(format, args...), []error{err}} }
	op, isOp := errors.AsType[*net.OpError](err)
	certificate, isCertificate := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case errors.Is(err, context.Canceled):
		return say("cancelled")
	case errors.Is(err, context.DeadlineExceeded):
		return say("no answer in time")
	case isCertificate:
		return say("it is no coordinator of this mesh (%v)", certificate.Err)
	case refusal(err) && strings.Contains(op.Err.Error(), "certificate"):
		return say("it does not accept this certificate (%v)", op.Err)
	case refusal(err):
		return say("it refuses the connection (%v)", op.Err)
	case isOp && op.Op == "dial" && op.Timeout():
		return say("no connection within %s", connectTimeout)
	case isOp && op.Op == "dial":
		if refused, ok := errors.AsType[syscall.Errno](err); ok {
			return say("%v", refused) // without the system call
		}
		return say("%v", op.Err)
	}
	return err
}

// attempts are the coordinators that were asked in vain.
type attempts []attempt

type attempt struct {
	addr string
	err  error
}

func (a attempts) Error() string {
	texts := make([]string, len(a))
	for i, x := range a {
		texts[i] = x.addr + ": " + x.err.Error()
	}
	return strings.Join(texts, "; ")
}

func (a attempts) Unwrap() []error {
	errs := make([]error, len(a))
	for i, x := range a {
		errs[i] = x.err
	}
	return errs
}
