package quic

import (
	"bufio"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/weft-mesh/weft/pipeline"
)

// control is a connection's control stream. One goroutine may read, one write.
type control struct {
	stream *quic.Stream
	codec  *pipeline.Codec
	in     *bufio.Reader
	buf    []byte
}

func newControl(s *quic.Stream, c *pipeline.Codec) *control {
	return &control{stream: s, codec: c, in: bufio.NewReader(s)}
}

// read returns the next message; io.EOF at the orderly end.
func (c *control) read() (pipeline.Control, error) { return c.codec.DecodeControl(c.in) }

// write gives up on a peer that does not read.
func (c *control) write(m pipeline.Control) error {
	b, err := c.codec.AppendControl(c.buf[:0], m)
	if err != nil {
		return err
	}
	c.buf = b
	if err := c.stream.SetWriteDeadline(time.Now().Add(answerWithin)); err != nil {
		return err
	}
	_, err = c.stream.Write(b)
	return err
}
