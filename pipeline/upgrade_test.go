package pipeline

import (
	"bytes"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// What the first release says on a link. The files under testdata/v1 were
// written by its code, commit 4f00ce4, from these values and are never written
// anew; neither changes.
func v1Messages() map[string]*Message {
	return map[string]*Message{
		"frame": {
			Instance: "people/detect@512#0", Ref: 42, SentAt: 1_500_000_000, Age: 35 * time.Millisecond,
			HasDeadline: true, Left: 465 * time.Millisecond,
			Frame: &Frame{
				ID:      FrameID{Workflow: "people", Source: "gate", Epoch: 0xc0ffee, Seq: 7},
				Quality: 512, SourceWidth: 768, SourceHeight: 576,
				Image: Image{Format: JPEG, Width: 640, Height: 480, Data: []byte{0xff, 0xd8, 0xff, 0xd9}}, Model: "hog-people",
				Detections: []Detection{{Label: "person", Class: 14, Score: 0.75, Box: Box{0.25, 0.125, 0.1, 0.5}}},
				Spans: []Span{
					{"gate", SpanCapture, 3 * time.Millisecond}, {"resize", SpanExecute, 2 * time.Millisecond}, {"detect", SpanQueue, time.Millisecond},
					{"", SpanTransfer, 4 * time.Millisecond}, {"resize", SpanReduce, 5 * time.Millisecond},
				},
			},
		},
		"bare": {
			Instance: "people/resize#0", Ref: 1, SentAt: -1,
			Frame: &Frame{ID: FrameID{Workflow: "people", Source: "gate", Epoch: 1, Seq: 1}, Image: Image{Format: BGR, Width: 2, Height: 1, Data: []byte{1, 2, 3, 4, 5, 6}}},
		},
	}
}

func v1Controls() map[string]Control {
	return map[string]Control{
		"settlements": {Settlements: []Settlement{
			{Ref: 42, Outcome: Outcome{Stage: "draw", Age: 120 * time.Millisecond}},
			{Ref: 43, Outcome: Outcome{Reason: ReasonQueueFull, Stage: "detect", Age: time.Second}},
			{Ref: 44, Outcome: Outcome{Reason: ReasonDeadline, Stage: "detect"}},
			{Ref: 45, Outcome: Outcome{Reason: ReasonLink}}, {Ref: 46, Outcome: Outcome{Reason: ReasonLost}},
			{Ref: 47, Outcome: Outcome{Reason: ReasonShutdown}}, {Ref: 48, Outcome: Outcome{Reason: ReasonNoRoute}},
		}},
		"ping": {Ping: &Ping{Sent: -5}},
		"pong": {Pong: &Pong{Sent: -5, Peer: 1 << 40}},
	}
}

// Nodes of the first release and of today share a mesh: what it sends is read
// as what it meant.
func TestMessagesOfVersion1AreRead(t *testing.T) {
	c := testCodec(t)
	for name, want := range v1Messages() {
		got, err := c.DecodeFrame(bytes.NewReader(readGolden(t, filepath.Join("v1", name+".hex"))))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		equalMessages(t, got, want)
	}
	for name, want := range v1Controls() {
		got, err := c.DecodeControl(bytes.NewReader(readGolden(t, filepath.Join("v1", name+".hex"))))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; it meant %+v", name, got, err, want)
		}
	}
}

// What today's nodes send starts with what the first release looks for, and
// says under its keys what it expects there; other keys it skips.
func TestVersion1ReadsMessagesOfToday(t *testing.T) {
	c := testCodec(t)
	for name, m := range v1Messages() {
		now, err := c.AppendFrame(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		was := readGolden(t, filepath.Join("v1", name+".hex"))
		if !bytes.Equal(now[:8], was[:8]) || !bytes.Equal(now[12:16], was[12:16]) {
			t.Errorf("%s: starts with %x, it was %x", name, now[:16], was[:16])
		}
		for key, v := range wireHeader(t, c, was) {
			if got := wireHeader(t, c, now)[key]; !reflect.DeepEqual(got, v) {
				t.Errorf("%s: key %d is now %v, it was %v", name, key, got, v)
			}
		}
	}
	for name, m := range v1Controls() {
		now, err := c.AppendControl(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		for key, v := range wireHeader(t, c, readGolden(t, filepath.Join("v1", name+".hex"))) {
			if got := wireHeader(t, c, now)[key]; !reflect.DeepEqual(got, v) {
				t.Errorf("%s: key %d is now %v, it was %v", name, key, got, v)
			}
		}
	}
}

// wireHeader is a message's header by its keys.
func wireHeader(t *testing.T, c *Codec, message []byte) (out map[int]any) {
	t.Helper()
	header, _, err := c.readHead(bytes.NewReader(message), message[5])
	if err != nil {
		t.Fatal(err)
	}
	if err := c.dec.Unmarshal(header, &out); err != nil {
		t.Fatal(err)
	}
	return out
}
