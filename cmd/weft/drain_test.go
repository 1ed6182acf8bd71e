package main

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/tiering"
)

func drainingNode(status tiering.NodeStatus, left ...api.Left) api.Node {
	return api.Node{Node: tiering.Node{ID: "fog-1", Tier: tiering.Fog}, Status: status, Draining: true, Left: left, Placements: []string{}}
}

func TestDrain(t *testing.T) {
	gate, yard := api.Left{Placement: "people/gate#0", Attached: true, Reason: "attached to fog-1"}, api.Left{Placement: "people/yard#0", Attached: true}
	moves := api.Left{Placement: "people/detect@512#0", To: "cloud-1", Reason: "not up there yet"}
	stays := api.Left{Placement: "people/detect@768#0", Reason: "cloud is short of 1.5 cores (needs 2, has 0.5 free)"}
	f := startFake(t)
	var (
		answer atomic.Pointer[api.Node]
		looks  atomic.Pointer[[]api.Node] // of the coordinator that is asked how it goes on, in turn
		asked  atomic.Int32
		body   atomic.Pointer[string]
	)
	f.handle("POST /v1/nodes/fog-1/drain", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		s := string(b)
		body.Store(&s)
		f.send(w, http.StatusOK, answer.Load())
	})
	f.handle("GET /v1/nodes", func(w http.ResponseWriter, _ *http.Request) {
		all := *looks.Load()
		i := min(int(asked.Add(1)), len(all)) - 1
		f.send(w, http.StatusOK, []api.Node{{Node: tiering.Node{ID: "edge-1", Tier: tiering.Edge}, Status: tiering.NodeAlive}, all[i]})
	})
	f.fail("POST /v1/nodes/fog-9/drain", api.Error{Status: 404, Code: api.CodeNotFound, Detail: `not found: node "fog-9"`})

	lags := drainingNode(tiering.NodeAlive)
	lags.Draining = false
	for name, c := range map[string]struct {
		args  string
		node  api.Node
		looks []api.Node
		code  int
		out   string
		err   string
	}{
		"it takes a while, and a coordinator lags": {
			"fog-1", drainingNode(tiering.NodeAlive, moves, stays, gate, yard),
			[]api.Node{lags, drainingNode(tiering.NodeAlive, moves, gate, yard), drainingNode(tiering.NodeAlive, gate, yard)},
			exitOK, "fog-1 is drained: no task is left that could run elsewhere\n2 sources stay on fog-1: gate, yard are attached to it\n",
			"fog-1 is draining: 2 tasks left\nfog-1 is draining: 1 task left\n",
		},
		"nothing runs there": {"fog-1", drainingNode(tiering.NodeAlive), nil, exitOK, "fog-1 is drained: no task is left that could run elsewhere\n", ""},
		"one source stays":   {"fog-1", drainingNode(tiering.NodeAlive, gate), nil, exitOK, "fog-1 is drained: no task is left that could run elsewhere\n1 source stays on fog-1: gate is attached to it\n", ""},
		"there is no room": {
			"fog-1 --wait 100ms", drainingNode(tiering.NodeAlive, moves, stays, gate), []api.Node{drainingNode(tiering.NodeAlive, moves, stays, gate)},
			exitLeft, "fog-1 is draining: 2 tasks left\n1 source stays on fog-1: gate is attached to it\n",
			"weft: fog-1 is not drained after 100ms: 2 tasks left\n" +
				"  people/detect@512#0 moves to cloud-1: not up there yet\n" +
				"  people/detect@768#0: cloud is short of 1.5 cores (needs 2, has 0.5 free)\n" +
				"the drain goes on; `weft node drain fog-1` waits again, `weft node drain fog-1 --off` ends it\n",
		},
		"without waiting": {"fog-1 --wait 0", drainingNode(tiering.NodeAlive, moves), nil, exitOK, "fog-1 is draining: 1 task left\n", ""},
		"somebody ends it": {
			"fog-1", drainingNode(tiering.NodeAlive, moves), []api.Node{drainingNode(tiering.NodeAlive, moves), lags},
			exitFailure, "", "weft: somebody has ended the drain of fog-1 meanwhile\n",
		},
		"a dead node": {
			"fog-1", drainingNode(tiering.NodeFailed, api.Left{Placement: "a/b#0"}), nil, exitOK,
			"fog-1 is failed: what it ran is moved as far as there is room, drain or not; it gets nothing when it is back, until `weft node drain fog-1 --off`\n", "",
		},
		"the end of a drain":             {"fog-1 --off", lags, nil, exitOK, "fog-1 takes tasks again; what has moved stays where it is\n", ""},
		"the end of a dead node's drain": {"fog-1 --off", api.Node{Node: lags.Node, Status: tiering.NodeLeft}, nil, exitOK, "fog-1 takes tasks again when it is back: it is left now\n", ""},
		"an unknown node":                {"fog-9", lags, nil, exitFailure, "", "weft: there is no node \"fog-9\": `weft nodes` shows those there are\n"},
		"no node":                        {"", lags, nil, exitUsage, "", "usage: weft node drain NODE"},
		"a time that is none":            {"fog-1 --wait -1s", lags, nil, exitUsage, "", "--wait -1s: give a time of 0 or more"},
	} {
		answer.Store(&c.node)
		looks.Store(&c.looks)
		asked.Store(0)
		got := weft(t, f.config, append([]string{"node", "drain"}, strings.Fields(c.args)...)...)
		if got.code != c.code || got.out != c.out || !strings.Contains(got.err, c.err) || c.err == "" && got.err != "" {
			t.Errorf("%s: exit code %d, want %d\nstdout: %swant: %s\nstderr: %swant: %s", name, got.code, c.code, got.out, c.out, got.err, c.err)
		}
		if want := `{"drain":true}`; c.code != exitUsage && !strings.Contains(c.args, "fog-9") {
			if strings.Contains(c.args, "--off") {
				want = `{"drain":false}`
			}
			if *body.Load() != want {
				t.Errorf("%s: it sent %q, want %q", name, *body.Load(), want)
			}
		}
	}

	// For scripts: the node, whatever the code.
	node := drainingNode(tiering.NodeAlive, stays)
	answer.Store(&node)
	looks.Store(&[]api.Node{node})
	if n := decode[api.Node](t, weft(t, f.config, "node", "drain", "fog-1", "--wait", "50ms", "-o", "json").want(t, exitLeft, "is not drained after 50ms")); n.ID != "fog-1" || len(n.Left) != 1 {
		t.Errorf("%+v", n)
	}
	if c := weft(t, "", "__complete", "--config", f.config, "node", "drain", ""); c.out != "edge-1\talive\nfog-1\tdraining\n:4\n" {
		t.Errorf("completion: %q", c.out)
	}
	if c := weft(t, f.config, "nodes").want(t, exitOK, ""); !strings.Contains(c.out, "fog-1   fog   draining") {
		t.Errorf("nodes:\n%s", c.out)
	}
}

// A coordinator that is busy, starts or fails on a request does not end the wait.
// One that says no does.
func TestDrainWaitsForCoordinators(t *testing.T) {
	f := startFake(t)
	moves := api.Left{Placement: "people/detect@512#0", To: "cloud-1", Reason: "not up there yet"}
	f.handle("POST /v1/nodes/fog-1/drain", func(w http.ResponseWriter, _ *http.Request) {
		f.send(w, http.StatusOK, drainingNode(tiering.NodeAlive, moves))
	})
	var answers atomic.Pointer[[]api.Error] // in turn, before that it is drained
	var asked atomic.Int32
	f.handle("GET /v1/nodes", func(w http.ResponseWriter, _ *http.Request) {
		if i := int(asked.Add(1)) - 1; i < len(*answers.Load()) {
			e := (*answers.Load())[i]
			f.send(w, e.Status, e)
			return
		}
		f.send(w, http.StatusOK, []api.Node{drainingNode(tiering.NodeAlive)})
	})
	for _, c := range []struct {
		code int
		err  api.Error
	}{
		{exitOK, api.Error{Status: 429, Code: api.CodeTooMany, Detail: "too many requests"}},
		{exitOK, api.Error{Status: 500, Code: api.CodeInternal, Detail: "something broke"}},
		{exitOK, api.Error{Status: 503, Code: api.CodeNotAvailable, Detail: "not here, not now"}},
		{exitOK, api.Error{Status: 503, Code: api.CodeNoLeader, Detail: "no leader"}},
		{exitFailure, api.Error{Status: 401, Code: api.CodeUnauthorized, Detail: "the token has been revoked"}},
	} {
		answers.Store(&[]api.Error{c.err})
		asked.Store(0)
		got := weft(t, f.config, "node", "drain", "fog-1")
		if got.code != c.code || (c.code == exitOK) != strings.Contains(got.out, "is drained") || c.code != exitOK && !strings.Contains(got.err, c.err.Detail) {
			t.Errorf("%s: exit code %d, want %d\nstdout: %s\nstderr: %s", c.err.Code, got.code, c.code, got.out, got.err)
		}
	}
}

// TestDrainOfALiveMesh: the last node that could run a task keeps it, and says
// why.
func TestDrainOfALiveMesh(t *testing.T) {
	m := startLive(t)
	weftWith(t, t.Context(), m.config, people, "workflow", "submit", "-").want(t, exitOK, "")
	weft(t, m.config, "node", "drain", "cloud-1", "--wait", "0").want(t, exitOK, "")
	c := weft(t, m.config, "node", "drain", "fog-1", "--wait", "1s").want(t, exitLeft, "not draining could run it")
	if !strings.Contains(c.err, "no cloud node that is not draining could run it") {
		t.Errorf("it says\n%s", c.err)
	}
	if s := weft(t, m.config, "workflow", "list").want(t, exitOK, ""); !strings.Contains(s.out, "stays on fog-1, which is draining") {
		t.Errorf("workflows:\n%s", s.out)
	}
	for _, n := range []string{"cloud-1", "fog-1"} {
		if c := weft(t, m.config, "node", "drain", n, "--off").want(t, exitOK, ""); c.out != n+" takes tasks again; what has moved stays where it is\n" {
			t.Errorf("%s", c.out)
		}
	}
	weft(t, m.config, "node", "drain", "nobody").want(t, exitFailure, "there is no node \"nobody\"")
}
