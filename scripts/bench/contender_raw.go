package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/weft-mesh/weft/internal/pki"
)

// rawContender is the least that sends frames over QUIC: a stream each, the
// same settings of QUIC as the link, and nothing else.
func rawContender() contender {
	config := func(streams int64) *quic.Config {
		return &quic.Config{
			MaxIdleTimeout: 5 * time.Second, KeepAlivePeriod: time.Second,
			InitialStreamReceiveWindow: 2 << 20, InitialConnectionReceiveWindow: 4 << 20,
			MaxStreamReceiveWindow: 8 << 20, MaxConnectionReceiveWindow: 16 << 20,
			MaxIncomingStreams: -1, MaxIncomingUniStreams: streams,
		}
	}
	withALPN := func(c *tls.Config) *tls.Config {
		c.NextProtos = []string{"raw"}
		return c
	}
	return contender{name: "raw quic-go", senders: 1,
		listen: func(addr string, id *pki.Identity, got func([]byte)) (*listening, error) {
			socket, err := listenUDP(addr)
			if err != nil {
				return nil, err
			}
			t := &quic.Transport{Conn: socket}
			ln, err := t.Listen(withALPN(id.ServerTLS(pki.Agent)), config(256))
			if err != nil {
				return nil, errors.Join(err, socket.Close())
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					conn, err := ln.Accept(context.Background())
					if err != nil {
						return
					}
					wg.Go(func() { receiveRaw(conn, got) })
				}
			})
			return &listening{socket.LocalAddr().String(), func() error {
				err := errors.Join(ln.Close(), t.Close())
				wg.Wait()
				return errors.Join(err, socket.Close())
			}}, nil
		},
		dial: func(ctx context.Context, addr string, id *pki.Identity, _ int) (*dialled, error) {
			to, err := net.ResolveUDPAddr("udp", addr)
			if err != nil {
				return nil, err
			}
			socket, err := listenUDP(anyPort(addr))
			if err != nil {
				return nil, err
			}
			t := &quic.Transport{Conn: socket}
			conn, err := t.Dial(ctx, to, withALPN(id.ClientTLS(pki.Agent)), config(-1))
			if err != nil {
				return nil, errors.Join(err, t.Close(), socket.Close())
			}
			return &dialled{
				send: func(ctx context.Context, _ int, f frame) error {
					s, err := conn.OpenUniStreamSync(ctx)
					if err != nil {
						return err
					}
					if _, err := s.Write(f); err != nil {
						return err
					}
					return s.Close()
				},
				close: func() error {
					return errors.Join(conn.CloseWithError(0, ""), t.Close(), socket.Close())
				},
			}, nil
		},
	}
}

func receiveRaw(conn *quic.Conn, got func([]byte)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		s, err := conn.AcceptUniStream(conn.Context())
		if err != nil {
			return
		}
		wg.Go(func() {
			picture, err := readFrame(s)
			if err != nil {
				return
			}
			if _, err := s.Read(make([]byte, 1)); err != io.EOF { // the end is still to be read
				return
			}
			got(picture)
		})
	}
}

func listenUDP(addr string) (*net.UDPConn, error) {
	a, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, err
	}
	return net.ListenUDP("udp", a)
}

// anyPort is where to dial an address from.
func anyPort(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil || !net.ParseIP(host).IsLoopback() {
		return "0.0.0.0:0"
	}
	return net.JoinHostPort(host, "0")
}
