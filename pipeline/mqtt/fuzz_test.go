package mqtt

import (
	"log/slog"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pipeline"
)

// Whatever a broker hands on, a link delivers, answers, or refuses it; it
// never delivers a frame twice or without an owner to settle it.
func FuzzHandle(f *testing.F) {
	codec, err := pipeline.NewCodec(pipeline.DefaultLimits())
	if err != nil {
		f.Fatal(err)
	}
	frame, err := codec.AppendFrame(nil, pipeline.NewMessage("detect", newFrame(1, time.Minute), 1, time.Now(), pipeline.NewClock(time.Now())))
	if err != nil {
		f.Fatal(err)
	}
	self, other := party{"fog-1", "R"}, party{"edge-1", "S"}
	f.Add(framesTopic("fog-1", other), frame)
	f.Add(framesTopic("fog-1", other), append(frame[:len(frame):len(frame)], 0))
	f.Add(controlTopic(self, other), frame)
	for _, m := range []pipeline.Control{
		{Ping: &pipeline.Ping{Sent: 5}}, {Pong: &pipeline.Pong{Sent: 5, Peer: 6}},
		{Settlements: []pipeline.Settlement{{Ref: 1}, {Ref: 2, Outcome: pipeline.Outcome{Reason: pipeline.ReasonStage}}}},
	} {
		b, err := codec.AppendControl(nil, m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(controlTopic(self, other), b)
		f.Add("weft/v1/control/fog-1/R/%/S", b)
	}
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		var delivered []*pipeline.Frame
		l, err := New(Config{Broker: "tcp://127.0.0.1", Plaintext: true, Node: "fog-1", Log: slog.New(slog.DiscardHandler)},
			pipeline.ReceiverFunc(func(_ string, f *pipeline.Frame) { delivered = append(delivered, f) }))
		if err != nil {
			t.Fatal(err)
		}
		l.handle(map[party]*peer{}, arrival{session: &session{}, topic: topic, payload: payload, at: time.Now()})
		s := l.Stats()
		if s.FramesReceived != uint64(len(delivered)) || s.FramesReceived+s.FramesLate+s.Malformed > 1 {
			t.Fatalf("%d delivered, counted %+v", len(delivered), s)
		}
		for _, f := range delivered {
			f.Settle(pipeline.Outcome{})
		}
		if want := int(s.FramesReceived + s.FramesLate); l.out.settling != want {
			t.Fatalf("%d settlements, want %d", l.out.settling, want)
		}
	})
}
