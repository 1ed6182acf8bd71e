package mqtt

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/iotest"
	"time"
)

// pipeConn reads from r.
type pipeConn struct {
	net.Conn
	r io.Reader
}

func (c pipeConn) Read(p []byte) (int, error) { return c.r.Read(p) }

func packet(kind byte, size int) []byte {
	b := []byte{kind << 4}
	for n := size; ; {
		d := byte(n & 0x7f)
		if n >>= 7; n > 0 {
			b = append(b, d|0x80)
			continue
		}
		b = append(b, d)
		break
	}
	return append(b, bytes.Repeat([]byte{kind}, size)...)
}

func concat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestGuard(t *testing.T) {
	const limit = 1000
	small, large := packet(3, limit), packet(3, limit+1)
	for _, c := range []struct {
		name     string
		in, want []byte
		err      error
		skipped  int
	}{
		{"nothing", nil, nil, nil, 0},
		{"at the limit", concat(packet(2, 2), small, packet(13, 0)), concat(packet(2, 2), small, packet(13, 0)), nil, 0},
		{"over the limit", concat(packet(13, 0), large, small), concat(packet(13, 0), small), nil, 1},
		{"far over the limit", concat(packet(3, 3<<20), packet(3, 200_000), small), small, nil, 2},
		{"over the limit and cut", large[:500], nil, io.EOF, 1},
		{"oversized SUBACK", concat(small, packet(9, limit+1)), small, errPacketSize, 0},
		{"length of five bytes", []byte{0x30, 0xff, 0xff, 0xff, 0xff, 0x01}, nil, errPacketHeader, 0},
		{"cut in the header", []byte{0x30, 0x80}, nil, io.EOF, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			skipped := 0
			g := newGuard(pipeConn{r: iotest.HalfReader(bytes.NewReader(c.in))}, limit, time.Second, func(n int) {
				skipped++
				if n <= limit {
					t.Errorf("threw away %d bytes", n)
				}
			})
			got, err := io.ReadAll(iotest.OneByteReader(g))
			if c.err == io.EOF {
				c.err = nil // which ReadAll takes for the end
			}
			if !errors.Is(err, c.err) || !bytes.Equal(got, c.want) || skipped != c.skipped {
				t.Fatalf("read %d bytes, %v, threw away %d; want %d, %v, %d", len(got), err, skipped, len(c.want), c.err, c.skipped)
			}
		})
	}
}

// What the guard lets through are whole packets within the limit, in order,
// whatever the broker sends and however it is read.
func FuzzGuard(f *testing.F) {
	const limit = 64
	f.Add(concat(packet(2, 2), packet(3, 64), packet(3, 65), packet(13, 0)), uint8(3))
	f.Add([]byte{0x30, 0xff, 0xff, 0xff, 0x7f}, uint8(1))
	f.Add([]byte{0x30, 0x80, 0x80, 0x80, 0x80}, uint8(200))
	f.Fuzz(func(t *testing.T, in []byte, chunk uint8) {
		var want []byte
		for rest := in; len(rest) > 1; {
			size, n := 0, 1
			for ; n < len(rest) && n <= 4; n++ {
				size |= int(rest[n]&0x7f) << (7 * (n - 1))
				if rest[n]&0x80 == 0 {
					break
				}
			}
			if n == len(rest) || n > 4 {
				break
			}
			whole := min(1+n+size, len(rest))
			if size <= limit {
				want = append(want, rest[:whole]...)
			} else if rest[0]>>4 != 3 {
				break
			}
			rest = rest[whole:]
		}
		g := newGuard(pipeConn{r: bytes.NewReader(in)}, limit, time.Second, func(int) {})
		var got []byte
		for buf := make([]byte, int(chunk)+1); ; {
			n, err := g.Read(buf)
			got = append(got, buf[:n]...)
			if err != nil {
				break
			}
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("let through\n%x, want\n%x", got, want)
		}
	})
}

// A peer that stops reading ends a write after stall, not never.
func TestGuardBoundsWrites(t *testing.T) {
	near, far := net.Pipe() // unbuffered, and far never reads
	defer far.Close()
	defer near.Close()
	g := newGuard(near, 10, 10*time.Millisecond, func(int) {})
	var timeout net.Error
	if _, err := g.Write([]byte("CONNECT")); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("write to a peer that does not read: %v, want a timeout", err)
	}
}
