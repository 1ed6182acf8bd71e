package pipeline

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files anew")

func testCodec(t testing.TB) *Codec {
	t.Helper()
	l := DefaultLimits()
	l.Image = 64 << 10
	c, err := NewCodec(l)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func goldenMessage() *Message {
	return &Message{
		Instance: "people/detect@512#0", Ref: 42, SentAt: 1_500_000_000, Age: 35 * time.Millisecond,
		HasDeadline: true, Left: 465 * time.Millisecond,
		Frame: &Frame{
			ID:      FrameID{Workflow: "people", Source: "gate", Epoch: 0xc0ffee, Seq: 7},
			Quality: 512, SourceWidth: 768, SourceHeight: 576,
			Image: Image{Format: BGR, Width: 2, Height: 1, Data: []byte{1, 2, 3, 4, 5, 6}}, Model: "hog-people",
			Detections: []Detection{{Label: "person", Class: 14, Score: 0.75, Box: Box{0.25, 0.125, 0.1, 0.5}}},
			Spans:      []Span{{"gate", SpanCapture, 3 * time.Millisecond}, {"resize", SpanExecute, 2 * time.Millisecond}},
		},
	}
}

func goldenControls() map[string]Control {
	return map[string]Control{
		"settlements": {Settlements: []Settlement{
			{Ref: 42, Outcome: Outcome{Stage: "draw", Age: 120 * time.Millisecond}},
			{Ref: 43, Outcome: Outcome{Reason: ReasonQueueFull, Stage: "detect", Age: time.Second}},
		}},
		"ping": {Ping: &Ping{Sent: -5}},
		"pong": {Pong: &Pong{Sent: -5, Peer: 1 << 40}},
	}
}

// Version 1's bytes never change: nodes of different releases share a mesh.
func TestGolden(t *testing.T) {
	c := testCodec(t)
	known := goldenMessage()
	known.Frame.Truth = []Truth{{Label: "person", Box: Box{0.25, 0.125, 0.1, 0.5}}, {Label: "car", Ignore: true}}
	for name, m := range map[string]*Message{"frame.v1.hex": goldenMessage(), "truth.v1.hex": known} {
		frame, err := c.AppendFrame(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, frame)
		got, err := c.DecodeFrame(bytes.NewReader(readGolden(t, name)))
		if err != nil {
			t.Fatal(err)
		}
		equalMessages(t, got, m)
	}
	for name, m := range goldenControls() {
		b, err := c.AppendControl(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".v1.hex", b)
		got, err := c.DecodeControl(bytes.NewReader(readGolden(t, name+".v1.hex")))
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: decoded %+v, %v, want %+v", name, got, err, m)
		}
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(filepath.Join("testdata", name), []byte(hex.Dump(got)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := readGolden(t, name); !bytes.Equal(got, want) {
		t.Errorf("%s: encoded\n%swant\n%s", name, hex.Dump(got), hex.Dump(want))
	}
}

// readGolden reads the bytes of a hex dump.
func readGolden(t *testing.T, name string) []byte {
	t.Helper()
	dump, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for line := range strings.Lines(string(dump)) {
		_, line, _ = strings.Cut(line, "  ")
		line, _, _ = strings.Cut(line, "|")
		b, err := hex.DecodeString(strings.Join(strings.Fields(line), ""))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b...)
	}
	return out
}

func equalMessages(t interface{ Errorf(string, ...any) }, got, want *Message) {
	type flat struct {
		Message
		Frame      *Frame // hides Message.Frame
		ID         FrameID
		Numbers    [3]int
		Image      Image
		Model      string
		Detections []Detection
		Truth      []Truth // nil differs from empty
		Spans      []Span
		Ask        bool
	}
	f := func(m *Message) flat {
		out := flat{
			Message: *m, ID: m.Frame.ID, Image: m.Frame.Image, Model: m.Frame.Model, Ask: m.Frame.Ask,
			Numbers:    [3]int{m.Frame.Quality, m.Frame.SourceWidth, m.Frame.SourceHeight},
			Detections: append([]Detection{}, m.Frame.Detections...), Truth: m.Frame.Truth, Spans: append([]Span{}, m.Frame.Spans...),
		}
		out.Message.Frame = nil
		out.Image.Data = append([]byte{}, m.Frame.Image.Data...)
		return out
	}
	if g, w := f(got), f(want); !reflect.DeepEqual(g, w) {
		t.Errorf("got  %+v\nwant %+v", g, w)
	}
}

func drawDetections(t *rapid.T) (out []Detection) {
	unit := rapid.Float64Range(0, 1)
	for range rapid.IntRange(0, 5).Draw(t, "detections") {
		out = append(out, Detection{
			Label: rapid.StringN(-1, 20, maxName).Draw(t, "label"), Class: int(rapid.Int32().Draw(t, "class")), Score: unit.Draw(t, "score"),
			Box: Box{rapid.Float64().Draw(t, "x"), rapid.Float64().Draw(t, "y"), unit.Draw(t, "w"), unit.Draw(t, "h")},
		})
	}
	return out
}

func drawMessage(t *rapid.T) *Message {
	name := rapid.StringN(-1, 20, maxName)
	ns := rapid.Int64Range(0, int64(maxDuration))
	side := rapid.IntRange(1, maxSide)
	f := &Frame{
		ID:      FrameID{name.Draw(t, "workflow"), name.Draw(t, "source"), rapid.Uint32().Draw(t, "epoch"), rapid.Uint64().Draw(t, "seq")},
		Quality: side.Draw(t, "quality"), SourceWidth: side.Draw(t, "sw"), SourceHeight: side.Draw(t, "sh"), Model: name.Draw(t, "model"), Analyser: name.Draw(t, "analyser"), Ask: rapid.Bool().Draw(t, "ask"),
	}
	switch format := rapid.SampledFrom([]Format{"", BGR, JPEG, PNG}).Draw(t, "format"); format {
	case "":
	case BGR:
		w, h := rapid.IntRange(1, 20).Draw(t, "w"), rapid.IntRange(1, 20).Draw(t, "h")
		f.Image = Image{format, w, h, rapid.SliceOfN(rapid.Byte(), 3*w*h, 3*w*h).Draw(t, "data")}
	default:
		f.Image = Image{format, side.Draw(t, "w"), side.Draw(t, "h"), rapid.SliceOfN(rapid.Byte(), 1, 99).Draw(t, "data")}
	}
	f.Detections = drawDetections(t)
	if unit := rapid.Float64Range(0, 1); rapid.Bool().Draw(t, "known") {
		f.Truth = []Truth{}
		for range rapid.IntRange(0, 3).Draw(t, "truth") {
			f.Truth = append(f.Truth, Truth{
				Label: name.Draw(t, "label"), Ignore: rapid.Bool().Draw(t, "ignore"),
				Box: Box{rapid.Float64().Draw(t, "x"), rapid.Float64().Draw(t, "y"), unit.Draw(t, "w"), unit.Draw(t, "h")},
			})
		}
	}
	for range rapid.IntRange(0, 5).Draw(t, "spans") {
		f.Add(name.Draw(t, "stage"), rapid.SampledFrom([]SpanKind{
			SpanCapture, SpanReduce, SpanQueue, SpanTransfer, SpanExecute,
		}).Draw(t, "kind"), time.Duration(ns.Draw(t, "span")))
	}
	m := &Message{
		Instance: name.Draw(t, "instance"), Ref: rapid.Uint64().Draw(t, "ref"), SentAt: rapid.Int64().Draw(t, "sent"),
		Age: time.Duration(ns.Draw(t, "age")), HasDeadline: rapid.Bool().Draw(t, "deadline"), Frame: f,
	}
	if m.HasDeadline {
		m.Left = time.Duration(ns.Draw(t, "left")) + 1
		m.Left = min(m.Left, maxDuration)
	}
	return m
}

func TestFrameRoundTrip(t *testing.T) {
	c := testCodec(t)
	rapid.Check(t, func(t *rapid.T) {
		m := drawMessage(t)
		junk := rapid.SliceOf(rapid.Byte()).Draw(t, "before")
		b, err := c.AppendFrame(bytes.Clone(junk), m)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(b, junk) {
			t.Fatal("what was there before was changed")
		}
		r := bytes.NewReader(b[len(junk):])
		got, err := c.DecodeFrame(r)
		if err != nil {
			t.Fatal(err)
		}
		equalMessages(t, got, m)
		if r.Len() != 0 {
			t.Fatalf("%d bytes were not read", r.Len())
		}
		// No proper prefix of a message is one.
		cut := rapid.IntRange(1, len(b)-len(junk)-1).Draw(t, "cut")
		if _, err := c.DecodeFrame(bytes.NewReader(b[len(junk):][:cut])); !errors.Is(err, ErrMalformed) {
			t.Fatalf("cut after %d bytes: %v, want ErrMalformed", cut, err)
		}
	})
}

func TestControlRoundTrip(t *testing.T) {
	c := testCodec(t)
	reasons := []Reason{ReasonNone, ReasonQueueFull, ReasonDeadline, ReasonLink, ReasonNoRoute, ReasonStage,
		ReasonOversized, ReasonMalformed, ReasonShutdown, ReasonLost, ReasonFiltered}
	rapid.Check(t, func(t *rapid.T) {
		var want []Control
		var b []byte
		for range rapid.IntRange(1, 4).Draw(t, "messages") {
			var m Control
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				for range rapid.IntRange(1, 5).Draw(t, "settlements") {
					o := Outcome{
						Reason: rapid.SampledFrom(reasons).Draw(t, "reason"), Stage: rapid.StringN(-1, 20, maxName).Draw(t, "stage"),
						Age: time.Duration(rapid.Int64Range(0, int64(maxDuration)).Draw(t, "age")),
					}
					if rapid.Bool().Draw(t, "found") {
						o.Found = &Finding{rapid.StringN(1, 20, maxName).Draw(t, "model"), drawDetections(t)}
					}
					m.Settlements = append(m.Settlements, Settlement{rapid.Uint64().Draw(t, "ref"), o})
				}
			case 1:
				m.Ping = &Ping{rapid.Int64().Draw(t, "sent")}
			case 2:
				m.Pong = &Pong{rapid.Int64().Draw(t, "sent"), rapid.Int64().Draw(t, "peer")}
			}
			var err error
			if b, err = c.AppendControl(b, m); err != nil {
				t.Fatal(err)
			}
			want = append(want, m)
		}
		r := bytes.NewReader(b)
		for i := range want {
			got, err := c.DecodeControl(r)
			if err != nil || !reflect.DeepEqual(got, want[i]) {
				t.Fatalf("message %d: %+v, %v, want %+v", i, got, err, want[i])
			}
		}
		if _, err := c.DecodeControl(r); err != io.EOF {
			t.Fatalf("after the last message: %v, want io.EOF", err)
		}
	})
}

// Frames are settled also where what was found in them has no room, or is wrong.
func TestFindingsWithoutRoom(t *testing.T) {
	c, err := NewCodec(Limits{Image: 1, Header: 4 << 10, Detections: 50, Spans: 1, Settlements: 9})
	if err != nil {
		t.Fatal(err)
	}
	found := func(n int) Outcome {
		return Outcome{Stage: "draw", Found: &Finding{"street", slices.Repeat([]Detection{{Label: "car", Score: 0.1, Box: Box{0.1, 0.2, 0.3, 0.4}}}, n)}}
	}
	wrong := found(1)
	wrong.Found.Detections[0].Score = math.NaN()
	for name, tc := range map[string]struct {
		each Outcome
		n    int
		kept bool
	}{
		"room": {found(40), 1, true}, "header too long": {found(40), 8, false}, "more than a frame may have": {found(51), 1, false}, "no number": {wrong, 1, false},
	} {
		m := Control{Settlements: []Settlement{{77, Outcome{Reason: ReasonFiltered, Stage: "still"}}}}
		for i := range tc.n {
			m.Settlements = append(m.Settlements, Settlement{uint64(i), tc.each})
		}
		b, err := c.AppendControl(nil, m)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := c.DecodeControl(bytes.NewReader(b))
		if err != nil || len(got.Settlements) != len(m.Settlements) {
			t.Errorf("%s: %d settlements, %v", name, len(got.Settlements), err)
			continue
		}
		for i, s := range got.Settlements {
			w := m.Settlements[i]
			if s.Ref != w.Ref || s.Outcome.Reason != w.Outcome.Reason || tc.kept && !reflect.DeepEqual(s.Outcome.Found, w.Outcome.Found) || !tc.kept && s.Outcome.Found != nil {
				t.Errorf("%s: %+v, want %+v", name, s, w)
			}
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Message)
		want   error
	}{
		{"picture too large", func(m *Message) { m.Frame.Image = Image{JPEG, 1, 1, make([]byte, 64<<10+1)} }, ErrOversized},
		{"too many detections", func(m *Message) { m.Frame.Detections = make([]Detection, 1001) }, ErrOversized},
		{"too much truth", func(m *Message) { m.Frame.Truth = make([]Truth, 1001) }, ErrOversized},
		{"truth that is no number", func(m *Message) { m.Frame.Truth = []Truth{{Box: Box{Y: math.NaN()}}} }, ErrMalformed},
		{"too many spans", func(m *Message) { m.Frame.Spans = make([]Span, 257) }, ErrOversized},
		{"header too large", func(m *Message) {
			m.Frame.Detections = make([]Detection, 1000)
			for i := range m.Frame.Detections {
				m.Frame.Detections[i].Label = strings.Repeat("x", 100)
			}
		}, ErrOversized},
		{"deadline passed", func(m *Message) { m.Left = 0 }, ErrLate},
		{"wrong number of bytes", func(m *Message) { m.Frame.Image.Width = 3 }, ErrMalformed},
		{"product of sides overflows", func(m *Message) { m.Frame.Image.Width, m.Frame.Image.Height = 1<<33, 1<<31 }, ErrMalformed},
		{"negative side", func(m *Message) { m.Frame.Image.Width, m.Frame.Image.Height = -2, -1 }, ErrMalformed},
		{"empty picture", func(m *Message) { m.Frame.Image = Image{JPEG, 1, 1, nil} }, ErrMalformed},
		{"picture without format", func(m *Message) { m.Frame.Image.Format = "" }, ErrMalformed},
		{"unknown format", func(m *Message) { m.Frame.Image.Format = "webp" }, ErrMalformed},
		{"not a number", func(m *Message) { m.Frame.Detections[0].Box.X = math.NaN() }, ErrMalformed},
		{"infinite box", func(m *Message) { m.Frame.Detections[0].Box.W = math.Inf(1) }, ErrMalformed},
		{"negative box", func(m *Message) { m.Frame.Detections[0].Box.H = -0.1 }, ErrMalformed},
		{"score over 1", func(m *Message) { m.Frame.Detections[0].Score = 1.01 }, ErrMalformed},
		{"class out of range", func(m *Message) { m.Frame.Detections[0].Class = 1 << 40 }, ErrMalformed},
		{"label not UTF-8", func(m *Message) { m.Frame.Detections[0].Label = "\xff" }, ErrMalformed},
		{"long name", func(m *Message) { m.Instance = strings.Repeat("x", maxName+1) }, ErrMalformed},
		{"unknown span", func(m *Message) { m.Frame.Spans[0].Kind = "nap" }, ErrMalformed},
		{"span ends before it begins", func(m *Message) { m.Frame.Spans[0].Duration = -1 }, ErrMalformed},
		{"span of a stage not UTF-8", func(m *Message) { m.Frame.Spans[0].Stage = "\xff" }, ErrMalformed},
		{"negative age", func(m *Message) { m.Age = -1 }, ErrMalformed},
		{"more than a year left", func(m *Message) { m.Left = math.MaxInt64 }, ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := goldenMessage()
			c.change(m)
			if _, err := testCodec(t).AppendFrame(nil, m); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			// The same, from a peer that does not check, is refused on arrival.
			if c.want == ErrLate {
				return
			}
			h := newFrameHeader(m)
			wide := testCodec(t)
			wide.limits = Limits{1 << 30, 1 << 30, 1 << 20, 1 << 20, 1 << 20}
			b, err := wide.appendHead(nil, kindFrame, &h, len(m.Frame.Image.Data))
			if err != nil {
				t.Fatal(err)
			}
			_, err = testCodec(t).DecodeFrame(bytes.NewReader(append(b, m.Frame.Image.Data...)))
			if !errors.Is(err, c.want) && !errors.Is(err, ErrMalformed) {
				t.Errorf("decoded: %v, want %v or ErrMalformed", err, c.want)
			}
		})
	}
}

func TestControlRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		m    Control
		want error
	}{
		"nothing":              {Control{}, ErrMalformed},
		"two things":           {Control{Ping: &Ping{}, Pong: &Pong{}}, ErrMalformed},
		"too many settlements": {Control{Settlements: make([]Settlement, 1025)}, ErrOversized},
		"unknown reason":       {Control{Settlements: []Settlement{{1, Outcome{Reason: "bored"}}}}, ErrMalformed},
		"stage not UTF-8":      {Control{Settlements: []Settlement{{1, Outcome{Stage: "\xff"}}}}, ErrMalformed},
	} {
		if _, err := testCodec(t).AppendControl(nil, c.m); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	// An age that went negative through a clock's granularity is no reason to
	// lose an outcome.
	if _, err := testCodec(t).AppendControl(nil, Control{Settlements: []Settlement{{1, Outcome{Age: -1}}}}); err != nil {
		t.Error(err)
	}
}

func TestDecodeRefusesPrefix(t *testing.T) {
	c := testCodec(t)
	good, err := c.AppendFrame(nil, goldenMessage())
	if err != nil {
		t.Fatal(err)
	}
	control, err := c.AppendControl(nil, Control{Ping: &Ping{1}})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name   string
		change func([]byte) []byte
		want   error
		says   string
	}{
		{"magic", func(b []byte) []byte { b[0] = 'w'; return b }, ErrMalformed, "starts with"},
		{"version", func(b []byte) []byte { b[4] = 2; return b }, ErrMalformed, "version 2, this node speaks 1"},
		{"kind", func([]byte) []byte { return control }, ErrMalformed, "kind 2 where 1 belongs"},
		{"reserved", func(b []byte) []byte { b[7] = 1; return b }, ErrMalformed, "reserved"},
		{"header length", func(b []byte) []byte { b[8] = 0xff; return b }, ErrOversized, "header of"},
		{"picture length", func(b []byte) []byte { b[12] = 0xff; return b }, ErrOversized, "picture of"},
		{"more than the header", func(b []byte) []byte { b[11]++; return append(b, 0) }, ErrMalformed, "decode frame"},
	} {
		_, err := c.DecodeFrame(bytes.NewReader(x.change(bytes.Clone(good))))
		if !errors.Is(err, x.want) || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: %v, want %v saying %q", x.name, err, x.want, x.says)
		}
	}
	for name, change := range map[string]func([]byte) []byte{
		"cut":     func(b []byte) []byte { return b[:len(b)-1] },
		"payload": func(b []byte) []byte { b[15] = 1; return append(b, 0) },
		"header":  func(b []byte) []byte { b[16] = 0xff; return b },
		"empty":   func(b []byte) []byte { b[11] = 1; b[16] = 0xa0; return b },
	} {
		if _, err := c.DecodeControl(bytes.NewReader(change(bytes.Clone(control)))); !errors.Is(err, ErrMalformed) {
			t.Errorf("control, %s: %v, want ErrMalformed", name, err)
		}
	}
	if _, err := c.DecodeFrame(bytes.NewReader(nil)); err != io.EOF {
		t.Errorf("empty input: %v, want io.EOF", err)
	}
	broken := errors.New("stream cancelled")
	r := io.MultiReader(bytes.NewReader(good[:40]), readerFunc(func([]byte) (int, error) { return 0, broken }))
	if _, err := c.DecodeFrame(r); !errors.Is(err, broken) || errors.Is(err, ErrMalformed) {
		t.Errorf("reader failed: got %v, want its error", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func TestNewCodecRefuses(t *testing.T) {
	l := DefaultLimits()
	l.Spans = 0
	if _, err := NewCodec(l); err == nil {
		t.Error("a limit of 0 was taken")
	}
}

func TestMessageTimes(t *testing.T) {
	base := time.Now()
	f := &Frame{Captured: base, Deadline: base.Add(500 * time.Millisecond)}
	m := NewMessage("x", f, 1, base.Add(100*time.Millisecond), NewClock(base))
	if m.Age != 100*time.Millisecond || m.Left != 400*time.Millisecond || m.SentAt != 100e6 {
		t.Fatalf("%+v", m)
	}
	// The receiver's clock is elsewhere altogether.
	there := base.Add(-1000 * time.Hour)
	got := m.Arrived(there, 30*time.Millisecond)
	if age := got.Age(there); age != 130*time.Millisecond {
		t.Errorf("age %s, want 130ms", age)
	}
	if left := got.Deadline.Sub(there); left != 370*time.Millisecond {
		t.Errorf("%s left, want 370ms", left)
	}
	if want := []Span{{"", SpanTransfer, 30 * time.Millisecond}}; !reflect.DeepEqual(got.Spans, want) {
		t.Errorf("spans %v, want %v", got.Spans, want)
	}
	f = &Frame{Captured: base.Add(time.Second)} // a clock's granularity
	if m := NewMessage("x", f, 1, base, NewClock(base)); m.Age != 0 || m.HasDeadline {
		t.Errorf("%+v", m)
	}
	if got := (&Message{Frame: &Frame{}}).Arrived(base, 0); !got.Deadline.IsZero() {
		t.Errorf("deadline %s out of nothing", got.Deadline)
	}
}
