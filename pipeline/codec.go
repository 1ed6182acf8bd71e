package pipeline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// The wire format, version 1. Every message is
//
//	offset  bytes
//	0       4      magic "WEFT"
//	4       1      version, 1
//	5       1      kind: 1 frame, 2 control
//	6       2      zero
//	8       4      header length  } big endian
//	12      4      payload length }
//	16             header, CBOR (RFC 8949, definite lengths, no tags)
//	               payload, a frame's picture; empty for control
//
// A newer version may add keys to a header, which older nodes skip; whatever
// they cannot skip raises the version.
const (
	wireMagic   = "WEFT"
	wireVersion = 1
	prefixSize  = 16

	kindFrame   = 1
	kindControl = 2
)

// Limits bound what is encoded and, above all, what a peer can make this node
// allocate.
type Limits struct {
	Image       int // bytes of a frame's picture
	Header      int // bytes of a message's header
	Detections  int // per frame
	Spans       int // per frame
	Settlements int // per control message
}

// DefaultLimits admits an uncompressed frame of 2560×2048 pixels.
func DefaultLimits() Limits {
	return Limits{Image: 16 << 20, Header: 64 << 10, Detections: 1000, Spans: 256, Settlements: 1024}
}

// Message is a frame as it travels. Its times are durations, since the clocks
// of two nodes have nothing in common.
type Message struct {
	Instance    string // that the frame is for
	Ref         uint64 // the sender's name for it, by which the peer settles it
	SentAt      int64  // the sender's [Clock] when it wrote the message, ns
	Age         time.Duration
	Left        time.Duration // to the deadline
	HasDeadline bool
	Frame       *Frame // Captured and Deadline are zero once decoded: see Arrived
}

// NewMessage describes the frame as it is at now.
func NewMessage(instance string, f *Frame, ref uint64, now time.Time, clock Clock) *Message {
	m := &Message{Instance: instance, Ref: ref, SentAt: clock.Reading(now), Age: max(f.Age(now), 0), Frame: f}
	if !f.Deadline.IsZero() {
		m.HasDeadline, m.Left = true, f.Deadline.Sub(now)
	}
	return m
}

// Arrived gives a decoded message's frame the times of this process's clock
// and its transfer span. now is when the message had arrived, transfer how
// long it was under way.
func (m *Message) Arrived(now time.Time, transfer time.Duration) *Frame {
	sent := now.Add(-transfer)
	m.Frame.Captured = sent.Add(-m.Age)
	if m.HasDeadline {
		m.Frame.Deadline = sent.Add(m.Left)
	}
	m.Frame.Add("", SpanTransfer, transfer)
	return m.Frame
}

// Settlement is what became of a frame that the peer was handed.
type Settlement struct {
	Ref     uint64 // of the frame's Message
	Outcome Outcome
}

// Ping asks the peer for its clock.
type Ping struct {
	Sent int64 // the asker's Clock, ns
}

// Pong answers a Ping.
type Pong struct {
	Sent int64 // of the Ping
	Peer int64 // the answerer's Clock, ns
}

// Control is what the two ends of a link say to each other besides frames:
// one of the three.
type Control struct {
	Settlements []Settlement
	Ping        *Ping
	Pong        *Pong
}

// Codec turns messages into bytes and back. It checks both ways, so that what
// it encodes a peer with the same limits decodes. It is safe for concurrent
// use.
//
// Its errors are ErrOversized, ErrMalformed, ErrLate (encoding a frame whose
// deadline has passed) and, decoding, whatever the reader returned; the end of
// input within a message is ErrMalformed, before the first byte io.EOF.
type Codec struct {
	limits Limits
	enc    cbor.EncMode
	dec    cbor.DecMode
}

// NewCodec makes a codec with the limits, all of which must be positive.
func NewCodec(l Limits) (*Codec, error) {
	if min(l.Image, l.Header, l.Detections, l.Spans, l.Settlements) <= 0 {
		return nil, fmt.Errorf("codec limits %+v: each must be positive", l)
	}
	enc, err := cbor.EncOptions{
		Sort:          cbor.SortCoreDeterministic,
		ShortestFloat: cbor.ShortestFloat16, // only where nothing is lost
		IndefLength:   cbor.IndefLengthForbidden,
		TagsMd:        cbor.TagsForbidden,
	}.EncMode()
	if err != nil {
		return nil, fmt.Errorf("codec: %w", err)
	}
	dec, err := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		NaN:              cbor.NaNDecodeForbidden,
		Inf:              cbor.InfDecodeForbidden,
		MaxNestedLevels:  8,
		MaxMapPairs:      64,
		MaxArrayElements: max(l.Detections, l.Spans, l.Settlements, 16), // 16 is the library's least
	}.DecMode()
	if err != nil {
		return nil, fmt.Errorf("codec: %w", err)
	}
	return &Codec{limits: l, enc: enc, dec: dec}, nil
}

// Limits returns what the codec was made with.
func (c *Codec) Limits() Limits { return c.limits }

// AppendFrame appends the whole message.
func (c *Codec) AppendFrame(b []byte, m *Message) ([]byte, error) {
	b, err := c.AppendFrameHead(b, m)
	if err != nil {
		return nil, err
	}
	return append(b, m.Frame.Image.Data...), nil
}

// AppendFrameHead appends all of the message but the picture's bytes, which
// the caller writes after it without copying them.
func (c *Codec) AppendFrameHead(b []byte, m *Message) ([]byte, error) {
	if m.HasDeadline && m.Left <= 0 {
		return nil, fmt.Errorf("encode frame: %w %s ago", ErrLate, -m.Left)
	}
	if n := len(m.Frame.Image.Data); n > c.limits.Image {
		return nil, fmt.Errorf("encode frame: %w: picture of %d bytes, at most %d", ErrOversized, n, c.limits.Image)
	}
	h := newFrameHeader(m)
	if err := h.check(c.limits, len(m.Frame.Image.Data)); err != nil {
		return nil, fmt.Errorf("encode frame: %w", err)
	}
	b, err := c.appendHead(b, kindFrame, &h, len(m.Frame.Image.Data))
	if err != nil {
		return nil, fmt.Errorf("encode frame: %w", err)
	}
	return b, nil
}

// DecodeFrame reads one whole frame message.
func (c *Codec) DecodeFrame(r io.Reader) (*Message, error) {
	header, payload, err := c.readHead(r, kindFrame)
	if err != nil {
		return nil, wrapDecode("frame", err)
	}
	var h frameHeader
	if err := c.dec.Unmarshal(header, &h); err != nil {
		return nil, fmt.Errorf("decode frame: %w: %w", ErrMalformed, err)
	}
	if err := h.check(c.limits, payload); err != nil {
		return nil, fmt.Errorf("decode frame: %w", err)
	}
	m := h.message()
	if payload > 0 {
		m.Frame.Image.Data = make([]byte, payload)
		if err := readFull(r, m.Frame.Image.Data); err != nil {
			return nil, fmt.Errorf("decode frame: picture: %w", err)
		}
	}
	return m, nil
}

// AppendControl appends the message. Where what was found in its frames has no
// room, or is wrong, it is left out: the frames must be settled all the same.
func (c *Codec) AppendControl(b []byte, m Control) ([]byte, error) {
	out, err := c.appendControl(b, m, true)
	if err != nil {
		out, err = c.appendControl(b, m, false)
	}
	if err != nil {
		return nil, fmt.Errorf("encode control: %w", err)
	}
	return out, nil
}

func (c *Codec) appendControl(b []byte, m Control, findings bool) ([]byte, error) {
	h := newControlHeader(m, findings)
	if err := h.check(c.limits); err != nil {
		return nil, err
	}
	return c.appendHead(b, kindControl, &h, 0)
}

// DecodeControl reads one control message.
func (c *Codec) DecodeControl(r io.Reader) (Control, error) {
	header, payload, err := c.readHead(r, kindControl)
	if err != nil {
		return Control{}, wrapDecode("control", err)
	}
	if payload != 0 {
		return Control{}, fmt.Errorf("decode control: %w: payload of %d bytes", ErrMalformed, payload)
	}
	var h controlHeader
	if err := c.dec.Unmarshal(header, &h); err != nil {
		return Control{}, fmt.Errorf("decode control: %w: %w", ErrMalformed, err)
	}
	if err := h.check(c.limits); err != nil {
		return Control{}, fmt.Errorf("decode control: %w", err)
	}
	return h.control(), nil
}

func (c *Codec) appendHead(b []byte, kind byte, header any, payload int) ([]byte, error) {
	h, err := c.enc.Marshal(header)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if len(h) > c.limits.Header {
		return nil, fmt.Errorf("%w: header of %d bytes, at most %d", ErrOversized, len(h), c.limits.Header)
	}
	b = append(b, wireMagic...)
	b = append(b, wireVersion, kind, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(h)))
	b = binary.BigEndian.AppendUint32(b, uint32(payload))
	return append(b, h...), nil
}

// readHead reads prefix and header and returns the payload's length. Nothing
// is allocated before its length is known to be within the limits.
func (c *Codec) readHead(r io.Reader, kind byte) (header []byte, payload int, err error) {
	var p [prefixSize]byte
	if n, err := io.ReadFull(r, p[:]); err != nil {
		if n == 0 && errors.Is(err, io.EOF) {
			return nil, 0, io.EOF
		}
		return nil, 0, fmt.Errorf("prefix: %w", truncated(err))
	}
	switch {
	case string(p[:4]) != wireMagic:
		return nil, 0, fmt.Errorf("%w: starts with %x, not with %q", ErrMalformed, p[:4], wireMagic)
	case p[4] != wireVersion:
		return nil, 0, fmt.Errorf("%w: version %d, this node speaks %d", ErrMalformed, p[4], wireVersion)
	case p[5] != kind:
		return nil, 0, fmt.Errorf("%w: kind %d where %d belongs", ErrMalformed, p[5], kind)
	case p[6] != 0 || p[7] != 0:
		return nil, 0, fmt.Errorf("%w: reserved bytes %x are not zero", ErrMalformed, p[6:8])
	}
	hn, pn := int64(binary.BigEndian.Uint32(p[8:])), int64(binary.BigEndian.Uint32(p[12:]))
	if hn > int64(c.limits.Header) {
		return nil, 0, fmt.Errorf("%w: header of %d bytes, at most %d", ErrOversized, hn, c.limits.Header)
	}
	if pn > int64(c.limits.Image) {
		return nil, 0, fmt.Errorf("%w: picture of %d bytes, at most %d", ErrOversized, pn, c.limits.Image)
	}
	header = make([]byte, hn)
	if err := readFull(r, header); err != nil {
		return nil, 0, fmt.Errorf("header: %w", err)
	}
	return header, int(pn), nil
}

func readFull(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	return truncated(err)
}

// truncated makes an early end of input a malformed message; other errors of
// the reader (a cancelled stream) stay what they are.
func truncated(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", ErrMalformed, io.ErrUnexpectedEOF)
	}
	return err
}

// wrapDecode leaves io.EOF bare, as readers of a sequence of messages expect.
func wrapDecode(what string, err error) error {
	if err == io.EOF {
		return err
	}
	return fmt.Errorf("decode %s: %w", what, err)
}
