package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"

	"github.com/weft-mesh/weft/internal/pki"
)

// tlsContender sends each frame behind its length over TCP with TLS 1.3 and
// TCP_NODELAY (Go's default), a connection for each camera.
func tlsContender(name string, t tcp) contender {
	return contender{name: name, senders: 1,
		listen: func(addr string, id *pki.Identity, got func([]byte)) (*listening, error) {
			ln, err := tls.Listen("tcp", addr, id.ServerTLS(pki.Agent))
			if err != nil {
				return nil, err
			}
			var (
				wg    sync.WaitGroup
				mu    sync.Mutex
				conns []net.Conn
			)
			wg.Go(func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					mu.Lock()
					conns = append(conns, c)
					mu.Unlock()
					wg.Go(func() { receiveTLS(c, got) })
				}
			})
			return &listening{ln.Addr().String(), func() error {
				err := ln.Close()
				mu.Lock()
				for _, c := range conns {
					_ = c.Close() // most are closed already
				}
				mu.Unlock()
				wg.Wait()
				return err
			}}, nil
		},
		dial: func(ctx context.Context, addr string, id *pki.Identity, cameras int) (*dialled, error) {
			conns := make([]net.Conn, 0, cameras)
			closeAll := func() error {
				var errs []error
				for _, c := range conns {
					// Not tls.Conn's Close: it would wait behind a full buffer.
					errs = append(errs, c.(*tls.Conn).NetConn().Close())
				}
				return errors.Join(errs...)
			}
			d := &tls.Dialer{NetDialer: t.dialer(), Config: id.ClientTLS(pki.Agent)}
			for range cameras {
				c, err := d.DialContext(ctx, "tcp", addr)
				if err != nil {
					return nil, errors.Join(err, closeAll())
				}
				conns = append(conns, c)
			}
			return &dialled{
				send: func(_ context.Context, camera int, f frame) error {
					_, err := conns[camera].Write(f)
					return err
				},
				close: closeAll,
			}, nil
		},
	}
}

func receiveTLS(c net.Conn, got func([]byte)) {
	defer c.Close()
	for {
		picture, err := readFrame(c)
		if err != nil {
			return
		}
		got(picture)
	}
}
