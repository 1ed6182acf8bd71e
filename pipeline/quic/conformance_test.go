package quic

import (
	"testing"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/pipeline/linktest"
)

func TestConformance(t *testing.T) {
	m := newMesh(t)
	linktest.Run(t, func(t *testing.T, recv pipeline.Receiver, opts linktest.Options) linktest.Pair {
		m := &mesh{t, m.ca}
		end := func(name string, recv pipeline.Receiver) (running, *cuttable) {
			cfg := m.config(name)
			cfg.MaxFrame, cfg.Grace, cfg.Log = opts.Limits.Image, opts.Grace, opts.Log
			socket := &cuttable{PacketConn: listenUDP(t)}
			l, err := newLink(cfg, socket, recv)
			if err != nil {
				t.Fatal(err)
			}
			return start(t, l), socket
		}
		from, _ := end("edge", deliver)
		to, socket := end("fog", recv)
		hostile := newRaw(t, m.config("hostile"), listenUDP(t))
		hostile.dial(to.Addr())
		hostile.open()
		return linktest.Pair{
			Sender: from,
			Addr:   to.at(),
			Break:  func() { socket.cut.Store(true) },
			Heal:   func() { socket.cut.Store(false) },
			Inject: func(b []byte) { hostile.stream(b) },
			Malformed: func() (n uint64) {
				for _, s := range to.Stats() {
					n += s.Refused[pipeline.ReasonMalformed] + s.Refused[pipeline.ReasonOversized]
				}
				return n
			},
			InFlight: func() (n int) {
				for _, s := range from.Stats() {
					n += s.InFlight
				}
				return n
			},
		}
	})
}
