package server

import (
	"errors"
	"net/http"
	"reflect"
	"testing"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/tiering"
)

// TestOutages: a coordinator tells which do not work, of itself what it knows
// and of the others what they gossip.
func TestOutages(t *testing.T) {
	f := newFake(t)
	coord := func(name, fault string, status tiering.NodeStatus) tiering.Member {
		return tiering.Member{Node: tiering.Node{ID: name, Tier: tiering.Cloud, Addresses: tiering.Addresses{Raft: "10.0.0.1:7948"}}, Status: status, Fault: fault}
	}
	agent := coord("edge-1", "disk full", tiering.NodeAlive)
	agent.Node.Addresses.Raft = ""
	f.server.members = &gossip{members: map[string]tiering.Member{
		"c1": coord("c1", "what it gossips of itself", tiering.NodeAlive), "c2": coord("c2", "", tiering.NodeAlive),
		"c3": coord("c3", "disk full", tiering.NodeAlive), "c4": coord("c4", "corrupt log", tiering.NodeFailed), "edge-1": agent,
	}}
	ada := f.caller(pki.Operator, "ada")
	for _, c := range []struct {
		own  error
		want []api.Outage
	}{
		{nil, []api.Outage{{Node: "c3", Reason: "disk full"}}},
		{errors.New("disk full: /data; make room"), []api.Outage{{Node: "c1", Reason: "disk full: /data; make room"}, {Node: "c3", Reason: "disk full"}}},
	} {
		f.fault = c.own
		a := ada.do(http.MethodGet, "/v1/mesh", "")
		if got := decode[api.Mesh](t, a).OutOfService; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%+v, want %+v", got, c.want)
		}
	}
}
