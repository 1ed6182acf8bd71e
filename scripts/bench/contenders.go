package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/pki"
)

// contender is a way to get frames from one node to another.
type contender struct {
	name string
	// senders is how many of a camera's frames may be on their way at once in
	// send. Where all bytes are in one order anyway there is no use in several.
	senders int
	listen  func(addr string, id *pki.Identity, got func([]byte)) (*listening, error)
	// dial connects for so many cameras; each of them sends one at a time
	// unless senders says otherwise.
	dial func(ctx context.Context, addr string, id *pki.Identity, cameras int) (*dialled, error)
}

type listening struct {
	addr  string
	close func() error
}

type dialled struct {
	// send returns when the frame has been handed to the transport.
	send  func(ctx context.Context, camera int, f frame) error
	close func() error
}

// contenders are all of them, Weft first and the raw copy second. TCP controls
// congestion by the algorithm that Linux comes with: what the machine is set
// to may be another.
func contenders() []contender {
	return []contender{weftContender(), rawContender(), grpcContender(usual), tlsContender("TCP+TLS", usual)}
}

// Algorithms of TCP's congestion control.
const (
	usual = "cubic"
	bold  = "bbr" // takes no loss for congestion
)

// tcpDialer dials with an algorithm of congestion control.
func tcpDialer(algorithm string) *net.Dialer {
	return &net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if e := c.Control(func(fd uintptr) {
			err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, algorithm)
		}); e != nil {
			return e
		}
		if err != nil {
			return fmt.Errorf("congestion control %s: %w", algorithm, err)
		}
		return nil
	}}
}

// frameSize is that of a picture of 768 × 576 pixels at good JPEG quality.
const frameSize = 60_000

// frame is one message. Its picture says which one it is and when it was
// captured, on the machine's own clock: sender and receiver are on one machine.
type frame struct {
	seq      uint64
	captured time.Duration // of clock
	deadline time.Duration // of clock
	data     []byte        // the picture
}

const stampSize = 24

func newFrame(seq uint64, captured, allowed time.Duration, size int) frame {
	f := frame{seq, captured, captured + allowed, make([]byte, size)}
	binary.BigEndian.PutUint64(f.data, seq)
	binary.BigEndian.PutUint64(f.data[8:], uint64(captured))
	binary.BigEndian.PutUint64(f.data[16:], uint64(f.deadline))
	return f
}

// stamp is what newFrame put into a picture.
func stamp(data []byte) (seq uint64, captured, deadline time.Duration) {
	return binary.BigEndian.Uint64(data), time.Duration(binary.BigEndian.Uint64(data[8:])), time.Duration(binary.BigEndian.Uint64(data[16:]))
}

// clock is the machine's monotonic clock, the same in all its processes and
// network namespaces.
func clock() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // fails for unknown clocks only
	return time.Duration(t.Nano())
}

// headSize is what the link puts before a picture: the others send as many
// bytes more, so that all send the same.
const headSize = 160
