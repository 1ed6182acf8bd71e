package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/pki"
)

// grpcContender streams frames as protobuf messages, a client stream for each
// camera on one connection, with gRPC's own windows (64 kB that grow by its
// estimate of bandwidth and delay).
func grpcContender(t tcp) contender {
	stream := grpc.StreamDesc{StreamName: "Send", ClientStreams: true}
	return contender{name: "gRPC", senders: 1,
		listen: func(addr string, id *pki.Identity, got func([]byte)) (*listening, error) {
			ln, err := net.Listen("tcp", addr)
			if err != nil {
				return nil, err
			}
			s := grpc.NewServer(grpc.Creds(credentials.NewTLS(id.ServerTLS(pki.Agent))))
			served := stream
			served.Handler = func(_ any, in grpc.ServerStream) error {
				for {
					m := &wrapperspb.BytesValue{}
					err := in.RecvMsg(m)
					if err == io.EOF {
						return in.SendMsg(&emptypb.Empty{})
					}
					if err != nil {
						return err
					}
					got(frame(m.Value).picture())
				}
			}
			s.RegisterService(&grpc.ServiceDesc{ServiceName: "bench.Frames", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{served}}, s)
			done := make(chan error, 1)
			go func() { done <- s.Serve(ln) }()
			return &listening{ln.Addr().String(), func() error { s.Stop(); return <-done }}, nil
		},
		dial: func(ctx context.Context, addr string, id *pki.Identity, cameras int) (*dialled, error) {
			conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(credentials.NewTLS(id.ClientTLS(pki.Agent))),
				grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
					return t.dialer().DialContext(ctx, "tcp", addr)
				}))
			if err != nil {
				return nil, err
			}
			life, stop := context.WithCancel(context.Background())
			streams := make([]grpc.ClientStream, cameras)
			for i := range streams {
				if streams[i], err = conn.NewStream(life, &stream, "/bench.Frames/Send", grpc.WaitForReady(true)); err != nil {
					stop()
					return nil, errors.Join(err, conn.Close())
				}
			}
			var once sync.Once
			return &dialled{
				send: func(_ context.Context, camera int, f frame) error {
					return streams[camera].SendMsg(&wrapperspb.BytesValue{Value: f})
				},
				close: func() (err error) {
					once.Do(func() { stop(); err = conn.Close() })
					return err
				},
			}, nil
		},
	}
}
