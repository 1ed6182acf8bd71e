package mqtt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/weft-mesh/weft/pipeline"
)

const (
	connectTimeout = 10 * time.Second
	keepAlive      = 10 * time.Second // a silent broker is noticed after this and pingTimeout
	pingTimeout    = 5 * time.Second
	quiesce        = 250 // ms for DISCONNECT to be written
	// handOver is how long paho may take to take a message, which it does at
	// once unless the connection has just been lost.
	handOver = time.Second
)

// errLost is the cause of a session's end where paho gives none.
var errLost = errors.New("connection lost")

// session is one connection to the broker, from CONNECT to its loss. A Link
// makes a new one to reconnect: paho's own reconnecting drops QoS 0 messages
// silently while the connection is down.
type session struct {
	client paho.Client
	ctx    context.Context // ends with the connection; its cause says why
	end    context.CancelCauseFunc
}

type sessionConfig struct {
	broker   endpoint
	clientID string
	limit    int           // bytes of the largest packet to accept
	stall    time.Duration // longest time to write a packet
	oversize func(bytes int)
	filters  []string
	receive  func(s *session, topic string, payload []byte) // must not block
}

// connect opens a session and subscribes. Its errors are ErrUnreachable and
// name the broker.
func connect(ctx context.Context, c sessionConfig) (*session, error) {
	fail := func(err error) error {
		return fmt.Errorf("%w: mqtt broker %s: %w", pipeline.ErrUnreachable, c.broker, err)
	}
	s := &session{}
	s.ctx, s.end = context.WithCancelCause(context.WithoutCancel(ctx)) // to say good-bye after ctx
	conn, err := open(ctx, c)
	if err != nil {
		s.end(err)
		return nil, fail(err)
	}
	// Whatever waits in paho while connecting ends with the connection.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := s.handshake(c, conn); err != nil {
		_ = conn.Close()
		s.end(err)
		return nil, fail(err)
	}
	if err := s.subscribe(ctx, c.filters); err != nil {
		s.close()
		return nil, fail(err)
	}
	return s, nil
}

func open(ctx context.Context, c sessionConfig) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := c.broker.dial(ctx)
	if err != nil {
		return nil, err
	}
	return newGuard(conn, c.limit, c.stall, c.oversize), nil
}

func (s *session) handshake(c sessionConfig, conn net.Conn) error {
	o := paho.NewClientOptions()
	o.Servers = []*url.URL{c.broker.url}
	o.SetClientID(c.clientID)
	o.SetProtocolVersion(4) // 3.1.1, and no second try with 3.1
	o.SetCleanSession(true)
	o.SetAutoReconnect(false)
	o.SetOrderMatters(true)
	o.SetKeepAlive(keepAlive)
	o.SetPingTimeout(pingTimeout)
	o.SetConnectTimeout(connectTimeout)
	o.SetWriteTimeout(handOver) // guard bounds the write itself
	o.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) { return conn, nil })
	o.SetConnectionLostHandler(func(_ paho.Client, err error) { s.end(err) })
	o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { c.receive(s, m.Topic(), m.Payload()) })
	s.client = paho.NewClient(o)
	return wait(s.client.Connect())
}

func (s *session) subscribe(ctx context.Context, filters []string) error {
	if len(filters) == 0 {
		return nil
	}
	want := map[string]byte{}
	for _, f := range filters {
		want[f] = 0
	}
	token := s.client.SubscribeMultiple(want, nil)
	timer := time.NewTimer(connectTimeout)
	defer timer.Stop()
	select {
	case <-token.Done():
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return errors.New("no answer to a subscription")
	}
	if err := token.Error(); err != nil {
		return err
	}
	const refused = 0x80 // MQTT 3.1.1, section 3.9.3
	granted := token.(*paho.SubscribeToken).Result()
	for _, f := range slices.Sorted(slices.Values(filters)) {
		if granted[f] == refused {
			return fmt.Errorf("subscription to %s refused: allow it in the broker's access list", f)
		}
	}
	return nil
}

// publish hands one message to paho and returns when it has been written to
// the socket. After an error the session is of no more use.
func (s *session) publish(topic string, payload []byte) error {
	token := s.client.Publish(topic, 0, false, payload)
	select {
	case <-token.Done():
		return token.Error()
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

// close says good-bye to the broker if it still listens.
func (s *session) close() {
	s.client.Disconnect(quiesce)
	s.end(errLost)
}

// wait returns a token's outcome. paho's own deadline ends the wait.
func wait(t paho.Token) error {
	<-t.Done()
	return t.Error()
}
