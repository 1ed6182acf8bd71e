package mqtt

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/pipeline"
)

// SubscribeConfig says what to subscribe to. Zero numbers take the default in
// brackets.
type SubscribeConfig struct {
	Broker    string      // as in Config
	TLS       *tls.Config // as in Config
	Peers     *pki.Peers  // as in Config
	Plaintext bool        // as in Config
	Topic     string      // or a filter, with + and #

	MaxPayload int // bytes; larger messages are thrown away [16 MiB]
	Queue      int // messages that wait for handle; when full the oldest is dropped [4]
	Log        *slog.Logger
}

// Subscribe hands the payloads published on a topic to handle, one after the
// other, until ctx ends (nil) or the connection is lost or refused
// (ErrUnreachable; the caller tries again after a while). Settings that can't
// work are ErrConfig. handle may block; payloads that come meanwhile are
// queued, the newest kept.
func Subscribe(ctx context.Context, conf SubscribeConfig, handle func(payload []byte)) error {
	broker, err := parseBroker(conf.Broker, conf.TLS, conf.Peers, conf.Plaintext)
	if err != nil {
		return err
	}
	if err := checkFilter(conf.Topic); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if conf.MaxPayload < 0 || conf.Queue < 0 {
		return fmt.Errorf("%w: sizes must not be negative", ErrConfig)
	}
	limit := cmp.Or(conf.MaxPayload, pipeline.DefaultLimits().Image)
	log := conf.Log.With("broker", broker.String(), "topic", conf.Topic)
	var (
		mu        sync.Mutex
		queue     = newRing[[]byte](cmp.Or(conf.Queue, 4))
		wake      = make(chan struct{}, 1)
		complaint limiter
	)
	oversize := func(bytes int) {
		if complaint.allow(time.Now()) {
			log.Warn("mqtt: message thrown away: too large", "bytes", bytes, "limit", limit)
		}
	}
	s, err := connect(ctx, sessionConfig{
		broker: broker, clientID: "weft-sub-" + rand.Text()[:10],
		limit: 65537 + limit, stall: 10 * time.Second,
		oversize: oversize,
		filters:  []string{conf.Topic},
		receive: func(_ *session, _ string, payload []byte) {
			if len(payload) > limit { // within what a packet may be with the longest topic
				oversize(len(payload))
				return
			}
			mu.Lock()
			_, full := queue.push(payload)
			mu.Unlock()
			if full && complaint.allow(time.Now()) {
				log.Warn("mqtt: messages come faster than they are handled, dropping the oldest")
			}
			select {
			case wake <- struct{}{}:
			default:
			}
		},
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer s.close()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.ctx.Done():
			return notConnected(broker, context.Cause(s.ctx))
		case <-wake:
		}
		for ctx.Err() == nil {
			mu.Lock()
			payload, ok := queue.pop()
			mu.Unlock()
			if !ok {
				break
			}
			handle(payload)
		}
	}
}
