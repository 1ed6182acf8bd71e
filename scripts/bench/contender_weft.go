package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/pipeline/quic"
)

// weftContender is the QUIC link as weftd makes it.
func weftContender() contender {
	return contender{name: "weft", senders: 4,
		listen: func(addr string, id *pki.Identity, got func([]byte)) (*listening, error) {
			l, stop, err := runLink(addr, id, func(_ string, f *pipeline.Frame) {
				got(f.Image.Data)
				f.Settle(pipeline.Outcome{Stage: "detect", Age: f.Age(time.Now())})
			})
			if err != nil {
				return nil, err
			}
			return &listening{l.Addr(), stop}, nil
		},
		dial: func(ctx context.Context, addr string, id *pki.Identity, _ int) (*dialled, error) {
			l, stop, err := runLink(anyPort(addr), id, func(_ string, f *pipeline.Frame) { f.Settle(pipeline.Outcome{Reason: pipeline.ReasonNoRoute}) })
			if err != nil {
				return nil, err
			}
			send := func(ctx context.Context, camera int, f frame) error {
				return l.Send(ctx, addr, instance, weftFrame(camera, f, time.Now(), clock()))
			}
			// The first frame makes the connection.
			if err := send(ctx, 0, newFrame(0, clock(), 10*time.Second, stampSize)); err != nil {
				return nil, errors.Join(err, stop())
			}
			return &dialled{send, stop}, nil
		},
	}
}

// instance is what the link's frames are for.
const instance = "people/detect@512#0"

// weftFrame is the frame as an agent sends it. now and at are the same moment, on
// both clocks.
func weftFrame(camera int, f frame, now time.Time, at time.Duration) *pipeline.Frame {
	seq, captured, deadline := stamp(f.picture())
	return &pipeline.Frame{
		ID:       pipeline.FrameID{Workflow: "people", Source: fmt.Sprintf("gate-%d", camera), Epoch: 7, Seq: seq},
		Captured: now.Add(captured - at), Deadline: now.Add(deadline - at), Quality: 512, SourceWidth: 768, SourceHeight: 576,
		Image: pipeline.Image{Format: pipeline.JPEG, Width: 512, Height: 384, Data: f.picture()},
	}
}

// runLink runs a link until stop.
func runLink(addr string, id *pki.Identity, recv pipeline.ReceiverFunc) (l *quic.Link, stop func() error, err error) {
	l, err = quic.New(quic.Config{
		Listen: addr, Node: id.Subject.Name, ServerTLS: id.ServerTLS(pki.Agent), ClientTLS: id.ClientTLS(pki.Agent),
		Log: slog.New(slog.DiscardHandler),
	}, recv)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	return l, func() error { cancel(); return <-done }, nil
}
