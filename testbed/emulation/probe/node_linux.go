package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

const (
	// receiveBuffer holds what comes of 1 Gbit/s while this process does
	// something else for some tens of milliseconds; the kernel has stamped it.
	receiveBuffer = 16 << 20
	sendBuffer    = 4 << 20
	pollEvery     = time.Second // at the latest, a reader looks whether it is to end
)

// node is a peer with its socket, which sends echoes back and takes in what
// flows to it.
type node struct {
	peer  Peer
	index int // among the peers
	token uint64
	conn  *net.UDPConn
	addr  netip.AddrPort // of conn

	mu    sync.Mutex
	flows map[uint32]*flow
	spare []*net.UDPConn // to send streams from
}

// open makes the node's socket.
func open(peer Peer, index int, token uint64) (*node, error) {
	conn, err := socket(peer)
	if err != nil {
		return nil, err
	}
	n := &node{peer: peer, index: index, token: token, conn: conn, flows: map[uint32]*flow{}}
	n.addr = conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return n, nil
}

// socket makes a UDP socket in the namespace of a node.
func socket(peer Peer) (*net.UDPConn, error) {
	var conn *net.UDPConn
	err := peer.In(func() (err error) {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(peer.Addr, 0)))
		return err
	})
	if err == nil {
		err = setOptions(conn)
	}
	if err != nil {
		if conn != nil {
			err = errors.Join(err, conn.Close())
		}
		return nil, fmt.Errorf("probe: socket in %s: %w", peer.Node, err)
	}
	return conn, nil
}

func setOptions(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var stamps error
	err = raw.Control(func(fd uintptr) {
		stamps = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, 1))
		// Beyond the system's limit if we may, up to it if not.
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
		}
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
		}
	})
	return errors.Join(err, stamps)
}

// borrow returns a socket to send a stream from. They are used again, because
// the thread on which one is made ends, and with it a priority that the process
// may have given its threads.
func (n *node) borrow() (*net.UDPConn, error) {
	n.mu.Lock()
	if k := len(n.spare) - 1; k >= 0 {
		defer n.mu.Unlock()
		conn := n.spare[k]
		n.spare = n.spare[:k]
		return conn, nil
	}
	n.mu.Unlock() // what arrives meanwhile must not wait
	return socket(n.peer)
}

// giveBack takes a socket back, or closes it, if packets may be left in it or
// it was interrupted.
func (n *node) giveBack(conn *net.UDPConn, good bool) error {
	if !good {
		return conn.Close()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.spare = append(n.spare, conn)
	return nil
}

func (n *node) close() error {
	err := n.conn.Close()
	for _, c := range n.spare {
		err = errors.Join(err, c.Close())
	}
	return err
}

// header is the size in bytes of the headers of the node's packets.
func (n *node) header() int {
	if n.peer.Addr.Is6() {
		return 40 + 8
	}
	return 20 + 8
}

// expect makes a flow known to its receiver.
func (n *node) expect(f *flow) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.flows[f.id] = f
}

func (n *node) forget(f *flow) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.flows, f.id)
}

func (n *node) flow(id uint32) *flow {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.flows[id]
}

// serve reads the socket until ctx ends.
func (n *node) serve(ctx context.Context) error {
	defer interrupt(ctx, n.conn)()
	pc := ipv4.NewPacketConn(n.conn) // its batches serve IPv6 sockets as well
	msgs := make([]ipv4.Message, batch)
	for i := range msgs { // padding is cut off
		msgs[i].Buffers = [][]byte{make([]byte, smallSize)}
		msgs[i].OOB = make([]byte, unix.CmsgSpace(16))
	}
	for {
		if err := n.conn.SetReadDeadline(time.Now().Add(pollEvery)); err != nil {
			return fmt.Errorf("probe: %s: %w", n.peer.Node, err)
		}
		if ctx.Err() != nil { // after the deadline is set, so that it cannot undo interrupt's
			return nil
		}
		k, err := pc.ReadBatch(msgs, 0)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("probe: receive in %s: %w", n.peer.Node, err)
		}
		for i := range msgs[:max(k, 0)] {
			n.take(&msgs[i])
		}
	}
}

func (n *node) take(m *ipv4.Message) {
	p, ok := parse(m.Buffers[0][:m.N], n.token)
	if !ok {
		return
	}
	at := stamp(m.OOB[:m.NN])
	if p.kind == echo {
		n.sendBack(p, at, m.Addr)
		return
	}
	f := n.flow(p.flow)
	if f == nil {
		return
	}
	switch p.kind {
	case data:
		f.arrive(arrival{seq: p.seq, at: at, sent: p.out})
	case reply:
		f.arrive(arrival{seq: p.seq, at: at, held: time.Duration(p.out - p.in)})
	case mark:
		f.marked()
	}
}

// sendBack answers an echo. An error is as good as a loss, and shows as one.
func (n *node) sendBack(p packet, at int64, to net.Addr) {
	var b [smallSize]byte
	p.kind, p.in, p.out = reply, at, time.Now().UnixNano()
	p.put(b[:])
	_, _ = n.conn.WriteTo(b[:], to)
}

// stamp is when a packet arrived, ns since 1970.
func stamp(oob []byte) int64 {
	for len(oob) >= unix.SizeofCmsghdr {
		h, body, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			break
		}
		if h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPNS_NEW && len(body) >= 16 {
			return int64(binary.NativeEndian.Uint64(body))*1e9 + int64(binary.NativeEndian.Uint64(body[8:]))
		}
		oob = rest
	}
	return time.Now().UnixNano()
}

// interrupt ends reads and writes of a socket as soon as ctx ends; the caller
// calls what it returns before it closes the socket.
func interrupt(ctx context.Context, conn *net.UDPConn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}
