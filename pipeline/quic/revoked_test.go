package quic

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/pipeline"
)

// TestRevoked: the connections with a revoked node end, those that it dialled
// and those that it was dialled on, and what was under way is accounted for.
func TestRevoked(t *testing.T) {
	m := newMesh(t)
	self := pkitest.Follow(t, m.identity("fog-1"))
	thief := m.identity("edge-1")
	cfg := m.config("fog-1")
	cfg.ServerTLS, cfg.ClientTLS, cfg.Peers = self.ServerTLS(pki.Agent), self.ClientTLS(pki.Agent), self.Peers()
	held := make(chan *pipeline.Frame, 10)
	fog := startNew(t, cfg, pipeline.ReceiverFunc(func(_ string, f *pipeline.Frame) { held <- f }))
	cfg = m.config("edge-1")
	cfg.ServerTLS, cfg.ClientTLS = thief.ServerTLS(pki.Agent), thief.ClientTLS(pki.Agent)
	stolen := startNew(t, cfg, pipeline.ReceiverFunc(func(_ string, f *pipeline.Frame) { held <- f }))
	honest := startNew(t, m.config("edge-2"), deliver)

	in, out, others := newParcel(1, 1000, time.Minute), newParcel(2, 1000, time.Minute), newParcel(3, 1000, time.Minute)
	mustSend(t, stolen, fog.at(), in)
	<-held
	mustSend(t, fog, stolen.at(), out)
	<-held
	mustSend(t, honest, fog.at(), others)
	waiting := <-held

	self.Revoke(m.ca, thief.Certificate())
	for what, p := range map[string]parcel{"to this node": in, "to the revoked one": out} {
		if o := p.await(t); o.Reason != pipeline.ReasonLink {
			t.Errorf("the frame under way %s: %+v", what, o)
		}
	}
	if err := stolen.Send(t.Context(), fog.at(), "detect", newParcel(4, 1000, time.Minute).Frame); !errors.Is(err, pipeline.ErrUnreachable) {
		t.Errorf("the revoked node sends again: %v", err)
	}
	if err := fog.Send(t.Context(), stolen.at(), "detect", newParcel(5, 1000, time.Minute).Frame); !errors.Is(err, pipeline.ErrUnreachable) || !strings.Contains(err.Error(), pki.ErrRevoked.Error()) {
		t.Errorf("it is sent to again: %v", err)
	}
	waiting.Settle(pipeline.Outcome{Stage: "fog-1"})
	if o := others.await(t); !o.Delivered() {
		t.Errorf("the frame of the node that was not revoked: %+v", o)
	}
	const said = "closed the connections to a peer"
	if log := self.Log(); strings.Count(log, said) != 1 || !strings.Contains(log, "connections=2") {
		t.Errorf("the log says\n%s", log)
	}
}
