package pipeline

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"
)

func FuzzDecodeFrame(f *testing.F) {
	c := testCodec(f)
	b, err := c.AppendFrame(nil, goldenMessage())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:20])
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := c.DecodeFrame(bytes.NewReader(b))
		if err != nil {
			if err != io.EOF && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrOversized) {
				t.Fatalf("unexpected kind of error: %v", err)
			}
			return
		}
		// What was accepted can be sent on and arrives the same.
		again, err := c.AppendFrame(nil, m)
		if errors.Is(err, ErrOversized) {
			return // a header that was more compact than ours
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.DecodeFrame(bytes.NewReader(again))
		if err != nil {
			t.Fatal(err)
		}
		equalMessages(t, got, m)
	})
}

func FuzzDecodeControl(f *testing.F) {
	c := testCodec(f)
	for _, m := range goldenControls() {
		b, err := c.AppendControl(nil, m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := c.DecodeControl(bytes.NewReader(b))
		if err != nil {
			if err != io.EOF && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrOversized) {
				t.Fatalf("unexpected kind of error: %v", err)
			}
			return
		}
		again, err := c.AppendControl(nil, m)
		if errors.Is(err, ErrOversized) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.DecodeControl(bytes.NewReader(again))
		if err == nil && len(again) < len(b) {
			for i := range m.Settlements { // what was found may have had no room
				if got.Settlements[i].Outcome.Found == nil {
					m.Settlements[i].Outcome.Found = nil
				}
			}
		}
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Fatalf("%+v, %v, want %+v", got, err, m)
		}
	})
}

func BenchmarkCodec(b *testing.B) {
	c, err := NewCodec(DefaultLimits())
	if err != nil {
		b.Fatal(err)
	}
	m := goldenMessage()
	m.Frame.Image = Image{JPEG, 768, 576, make([]byte, 60_000)}
	buf, err := c.AppendFrame(nil, m)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if buf, err = c.AppendFrame(buf[:0], m); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.DecodeFrame(bytes.NewReader(buf)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
