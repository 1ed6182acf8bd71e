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
				now := time.Now()
				captured := now.Add(f.captured - clock())
				return l.Send(ctx, addr, "people/detect@512#0", &pipeline.Frame{
					ID:       pipeline.FrameID{Workflow: "people", Source: fmt.Sprintf("gate-%d", camera), Epoch: 7, Seq: f.seq},
					Captured: captured, Deadline: captured.Add(f.deadline - f.captured), Quality: 512, SourceWidth: 768, SourceHeight: 576,
					Image: pipeline.Image{Format: pipeline.JPEG, Width: 512, Height: 384, Data: f.data},
				})
			}
			// The first frame makes the connection.
			if err := send(ctx, 0, newFrame(0, clock(), 10*time.Second, stampSize)); err != nil {
				return nil, errors.Join(err, stop())
			}
			return &dialled{send, stop}, nil
		},
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
