package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
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
	// send. Where all bytes are in one order anyway there is no use in several,
	// and where all streams share alike, as the raw copy's do, all would be late.
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

// contenders are all of them, Weft first and the raw copy second, those over TCP
// with this much of a queue in the kernel. TCP controls congestion by the
// algorithm that Linux comes with: what the machine is set to may be another.
func contenders(notSent int) []contender {
	c := tcp{cubic, notSent}
	return []contender{weftContender(), rawContender(), grpcContender(c), tlsContender("TCP+TLS", c)}
}

// tcp is how a contender's connections are set.
type tcp struct {
	congestion string // the algorithm that controls it
	// notSent is how many bytes the kernel takes before it can send them.
	notSent int
}

// Algorithms of congestion control.
const (
	cubic = "cubic" // what Linux comes with
	bbr   = "bbr"   // takes no loss for congestion
)

// Values of tcp.notSent.
const (
	kernels = 0 // megabytes: what Linux comes with
	// record is a TLS record. With more a frame may be old before its first byte
	// has left.
	record = 16 << 10
)

func (t tcp) dialer() *net.Dialer {
	set := func(fd int) error {
		if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, t.congestion); err != nil {
			return fmt.Errorf("congestion control %s: %w", t.congestion, err)
		}
		if t.notSent == kernels {
			return nil
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, t.notSent); err != nil {
			return fmt.Errorf("TCP_NOTSENT_LOWAT: %w", err)
		}
		return nil
	}
	return &net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) { err = set(int(fd)) }); e != nil {
			return e
		}
		return err
	}}
}

// frameSize is that of a picture of 768 × 576 pixels at good JPEG quality.
const frameSize = 60_000

// headSize is what the link's codec puts before a picture of weftFrame's, give
// or take a few bytes, by how great its numbers are. The others send as many, so
// that all send the same.
const headSize = 112

// frame is one message, as all but Weft send it: a head, which begins with the
// length of the picture and is otherwise empty, and the picture. This says which
// one it is and when it was captured, on the machine's own clock: sender and
// receiver are on one machine. Head and picture lie in one buffer, so that
// nobody has to copy a picture behind a head.
type frame []byte

const stampSize = 24

func newFrame(seq uint64, captured, allowed time.Duration, size int) frame {
	f := make(frame, headSize+size)
	binary.BigEndian.PutUint32(f, uint32(size))
	p := f.picture()
	binary.BigEndian.PutUint64(p, seq)
	binary.BigEndian.PutUint64(p[8:], uint64(captured))
	binary.BigEndian.PutUint64(p[16:], uint64(captured+allowed))
	return f
}

func (f frame) picture() []byte { return f[headSize:] }

// readFrame reads a whole frame into a buffer of its own, and returns its
// picture.
func readFrame(r io.Reader) ([]byte, error) {
	var head [headSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	picture := make([]byte, binary.BigEndian.Uint32(head[:]))
	_, err := io.ReadFull(r, picture)
	return picture, err
}

// stamp is what newFrame put into a picture.
func stamp(picture []byte) (seq uint64, captured, deadline time.Duration) {
	return binary.BigEndian.Uint64(picture), time.Duration(binary.BigEndian.Uint64(picture[8:])), time.Duration(binary.BigEndian.Uint64(picture[16:]))
}

// clock is the machine's monotonic clock, the same in all its processes and
// network namespaces.
func clock() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // fails for unknown clocks only
	return time.Duration(t.Nano())
}
