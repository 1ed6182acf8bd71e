package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/tiering"
)

// message is one server-sent event.
type message struct{ id, event, data string }

// listen opens the stream of events; the channel ends with it.
func (c *testCaller) listen(ctx context.Context, path string, header ...string) <-chan message {
	c.Helper()
	resp, err := c.http.Do(c.request("GET", path, "", header...).WithContext(ctx))
	if err != nil {
		c.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Cache-Control") != "no-store" {
		c.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	out := make(chan message)
	go func() {
		defer close(out)
		defer resp.Body.Close()
		var m message
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				m.id = value
			case "event":
				m.event = value
			case "data":
				m.data = value
			case "":
				select {
				case out <- m:
				case <-ctx.Done():
				}
				m = message{}
			}
		}
	}()
	return out
}

func TestEventsAreStreamed(t *testing.T) {
	f := newFake(t)
	schema := load(t).Components.Schemas["Event"].Value
	// The second entry has two events: the fog node was already known, and a
	// workflow's instance was on it.
	f.apply(&state.RegisterNode{Node: worker("fog-1", tiering.Fog, 2)})
	both := f.index + 1
	w := &tiering.Workflow{Name: "people", Sources: []tiering.Source{{Name: "gate", URI: "videotest:"}}}
	f.apply(&state.SubmitWorkflow{Workflow: w, Plan: &tiering.Plan{Workflow: "people", Place: []tiering.Placement{
		{ID: "people/gate#0", Workflow: "people", Task: "gate", Source: true, Node: "edge-1", Tier: tiering.Edge, Reason: "attached"},
	}}})

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ada := f.caller(pki.Operator, "ada")
	all := ada.listen(ctx, "/v1/events")
	var got []string
	take := func(from <-chan message) state.Event {
		t.Helper()
		m := receive(t, "an event", from)
		var e state.Event
		if err := json.Unmarshal([]byte(m.data), &e); err != nil {
			t.Fatalf("%+v: %v", m, err)
		}
		var v any
		if err := errors.Join(json.Unmarshal([]byte(m.data), &v), schema.VisitJSON(v)); err != nil {
			t.Errorf("%s: %v", m.data, err)
		}
		if m.event != string(e.Type) {
			t.Errorf("event %q with %s", m.event, m.data)
		}
		got = append(got, m.id+" "+m.event)
		return e
	}
	for range 5 {
		take(all)
	}
	want := fmt.Sprintf("[1 node-joined 2 node-joined  workflow-submitted  task-placed %d workflow-running]", both)
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
	f.apply(&state.SetNodeStatus{Node: "fog-1", Status: tiering.NodeFailed})
	if e := take(all); e.Type != state.NodeFailed || e.Subject != "fog-1" || e.Index != f.index {
		t.Errorf("then came %+v", e)
	}

	// Taken up after the last id seen: what came after it, and the header goes
	// first.
	for _, c := range []struct {
		path  string
		last  []string
		index uint64
	}{
		{"/v1/events?after=1", nil, 2},
		{"/v1/events", []string{"Last-Event-ID", "1"}, 2},
		{"/v1/events?after=1", []string{"Last-Event-ID", fmt.Sprint(both)}, both + 1},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		if e := take(ada.listen(ctx, c.path, c.last...)); e.Index != c.index {
			t.Errorf("%s with %v begins at %d, want %d", c.path, c.last, e.Index, c.index)
		}
		cancel()
	}
	a := ada.send(mistaken(ada.request("GET", "/v1/events", "", "Last-Event-ID", "1;drop")))
	if e := a.problem(t); e.Code != api.CodeInvalid || !strings.Contains(e.Detail, "Last-Event-ID") {
		t.Errorf("%+v", e)
	}

	f.stop()
	if m, open := <-all; open {
		t.Errorf("after the end came %+v", m)
	}
}

func TestClientFollowsEvents(t *testing.T) {
	f := newFake(t)
	f.run()
	c := api.NewClient(func() []string { return []string{f.server.Addr()} }, pkitest.Issue(t, f.ca, pki.Operator, "ada").ClientTLS(pki.Coordinator))
	t.Cleanup(c.Close)

	enough := errors.New("enough")
	err := c.Events(t.Context(), 0, func(e api.Event) error {
		if e.Type != state.NodeJoined || e.Subject != "edge-1" || e.Index != 1 {
			t.Errorf("%+v", e)
		}
		return enough
	})
	if !errors.Is(err, enough) {
		t.Errorf("ended with %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	if err := c.Events(ctx, 0, func(api.Event) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}

	wait(t, "the server has noticed", func() bool { return f.holding() == 0 })
	events := make(chan api.Event)
	ended := make(chan error, 1)
	now := f.index
	go func() {
		ended <- c.Events(t.Context(), now, func(e api.Event) error { events <- e; return nil })
	}()
	wait(t, "it listens", func() bool { return f.holding() == 1 })
	f.apply(&state.SetNodeStatus{Node: "edge-1", Status: tiering.NodeLeft})
	if e := receive(t, "an event", events); e.Type != state.NodeLeft {
		t.Errorf("%+v", e)
	}
	f.stop()
	if err := receive(t, "the end", ended); !errors.Is(err, api.ErrStreamEnded) {
		t.Errorf("ended with %v", err)
	}
}
