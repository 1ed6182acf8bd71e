package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// The roles are programs of their own, as nodes are: in the process of the
// relay they would share the Go scheduler with it, which no real node does.

const (
	roleVariable = "WEFT_RELAY_TEST_ROLE"
	payload      = 1400
	wire         = payload + 8 + headerLen // bytes of IP
)

var roles = map[string]func(args []string) (any, error){
	"echo": echo, "ping": ping, "blast": blast, "sink": sink, "upload": upload, "download": download, "spin": spin,
}

// play runs a role and prints its result as JSON.
func play(role string, args []string) int {
	if role == "echo" || role == "ping" {
		// It measures the link, not the queue for a core.
		defer raise(context.Background(), slog.New(slog.DiscardHandler))()
	}
	out, err := roles[role](args)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, role, err)
		return 1
	}
	return 0
}

// ready tells the test that a server listens.
func ready() { fmt.Fprintln(os.Stdout, `"ready"`) }

// echo ADDR sends datagrams back until it is killed.
func echo(args []string) (any, error) {
	c, err := listen(args[0])
	if err != nil {
		return nil, err
	}
	ready()
	b := make([]byte, 2048)
	for {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if err != nil {
			return nil, err
		}
		if _, err := c.WriteToUDPAddrPort(b[:n], from); err != nil {
			return nil, err
		}
	}
}

// pings is the result of ping: round trips in order of length, and what never
// came back.
type pings struct {
	RTT  []time.Duration
	Lost int
}

func (p pings) quantile(q float64) time.Duration {
	if len(p.RTT) == 0 {
		return -1
	}
	return p.RTT[min(len(p.RTT)-1, int(q*float64(len(p.RTT))))]
}

// ping ADDR COUNT makes round trips one after the other.
func ping(args []string) (any, error) {
	count, err := strconv.Atoi(args[1])
	if err != nil {
		return nil, err
	}
	c, err := net.Dial("udp4", args[0])
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var out pings
	b := make([]byte, 64)
	for i := range count {
		b[0], b[1] = byte(i), byte(i>>8)
		began := time.Now()
		if _, err := c.Write(b); err != nil {
			return nil, err
		}
		for {
			_ = c.SetReadDeadline(began.Add(time.Second))
			if _, err := c.Read(b); errors.Is(err, os.ErrDeadlineExceeded) {
				out.Lost++
				break
			} else if err != nil {
				return nil, err
			}
			if b[0] == byte(i) && b[1] == byte(i>>8) {
				out.RTT = append(out.RTT, time.Since(began))
				break
			}
		}
	}
	slices.Sort(out.RTT)
	return out, nil
}

// blast ADDR RATE DURATION sends datagrams at RATE bits of IP a second, and
// returns how many.
func blast(args []string) (any, error) {
	rate, err := strconv.ParseFloat(args[1], 64)
	if err != nil {
		return nil, err
	}
	d, err := time.ParseDuration(args[2])
	if err != nil {
		return nil, err
	}
	conn, err := net.Dial("udp4", args[0])
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	batch := make([]ipv4.Message, 64)
	for i := range batch {
		batch[i].Buffers = [][]byte{make([]byte, payload)}
	}
	c := ipv4.NewPacketConn(conn.(*net.UDPConn))
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	began, sent := time.Now(), 0
	for {
		t := time.Since(began)
		if t > d {
			return sent, nil
		}
		for due := int(t.Seconds() * rate / 8 / wire); sent < due; {
			n, err := c.WriteBatch(batch[:min(len(batch), due-sent)], 0)
			if err != nil && !errors.Is(err, syscall.ENOBUFS) {
				return nil, err
			}
			if err != nil {
				n = 1 // it is gone in the sender's own device
			}
			sent += n
		}
		<-tick.C
	}
}

// received is the result of sink.
type received struct {
	Packets int           // all
	Rate    float64       // bits of IP a second, between the fourth part of the time and its end
	Longest time.Duration // between two batches
}

// sink ADDR DURATION counts datagrams for the duration after the first, and
// then as long as some come within half a second.
func sink(args []string) (any, error) {
	d, err := time.ParseDuration(args[1])
	if err != nil {
		return nil, err
	}
	conn, err := listen(args[0])
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
	})
	c := ipv4.NewPacketConn(conn)
	batch := make([]ipv4.Message, 64)
	for i := range batch {
		batch[i].Buffers = [][]byte{make([]byte, 2048)}
	}
	ready()
	var out received
	var began, from, last time.Time
	counted := 0
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	for {
		n, err := c.ReadBatch(batch, 0)
		now := time.Now()
		if err != nil {
			if out.Packets == 0 {
				return nil, err
			}
			return out, nil // it has been quiet for a while
		}
		if out.Packets == 0 {
			began = now
		}
		out.Packets += n
		if now.Sub(began) < d {
			switch {
			case now.Sub(began) < d/4:
			case from.IsZero():
				from, last = now, now
			default:
				counted += n
				out.Longest = max(out.Longest, now.Sub(last))
				out.Rate = float64(counted) * wire * 8 / now.Sub(from).Seconds()
				last = now
			}
		}
		_ = conn.SetReadDeadline(now.Add(500 * time.Millisecond))
	}
}

// upload ADDR DURATION sends over TCP.
func upload(args []string) (any, error) {
	d, err := time.ParseDuration(args[1])
	if err != nil {
		return nil, err
	}
	c, err := net.Dial("tcp4", args[0])
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(d))
	b := make([]byte, 64<<10)
	sent := 0
	for {
		n, err := c.Write(b)
		sent += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return sent, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// download ADDR takes one connection and returns the bits a second of its
// content, the first quarter second left out.
func download(args []string) (any, error) {
	l, err := net.Listen("tcp4", args[0])
	if err != nil {
		return nil, err
	}
	defer l.Close()
	ready()
	c, err := l.Accept()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	b := make([]byte, 256<<10)
	began := time.Now()
	var from, last time.Time
	bytes := 0
	for {
		n, err := c.Read(b)
		if err == io.EOF {
			return float64(bytes) * 8 / last.Sub(from).Seconds(), nil
		}
		if err != nil {
			return nil, err
		}
		now := time.Now()
		switch {
		case now.Sub(began) < 250*time.Millisecond:
		case from.IsZero():
			from = now
		default:
			bytes += n
			last = now
		}
	}
}

// spin keeps a core busy until it is killed.
func spin([]string) (any, error) {
	ready()
	for x := 0; ; x++ {
		_ = x
	}
}

func listen(addr string) (*net.UDPConn, error) {
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	return net.ListenUDP("udp4", net.UDPAddrFromAddrPort(a))
}
