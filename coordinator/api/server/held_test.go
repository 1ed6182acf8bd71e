package server

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/tiering"
)

const assignments = "/v1/nodes/edge-1/assignments"

// held sends a request for edge-1's assignments to the handler.
func (f *fake) hold(ctx context.Context, after uint64) <-chan *httptest.ResponseRecorder {
	r := f.as(pki.Agent, "edge-1", "GET", fmt.Sprintf("%s?after=%d", assignments, after), "").WithContext(ctx)
	w := httptest.NewRecorder()
	done := make(chan *httptest.ResponseRecorder, 1)
	go func() { f.server.handler().ServeHTTP(w, r); done <- w }()
	return done
}

func (f *fake) holding() int {
	f.server.held.mu.Lock()
	defer f.server.held.mu.Unlock()
	return f.server.held.total
}

// indexIn is the index in an answer with assignments.
func indexIn(t *testing.T, w *httptest.ResponseRecorder) uint64 {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return decode[api.Assignments](t, answer{w.Code, w.Header(), w.Body.Bytes()}).Index
}

func TestAssignmentsAreHeldUntilThereIsSomethingNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		now := f.index
		for _, after := range []uint64{0, now - 1} {
			if got := indexIn(t, <-f.hold(t.Context(), after)); got != now {
				t.Errorf("after %d: index %d, want %d at once", after, got, now)
			}
		}
		start := time.Now()
		done := f.hold(t.Context(), now)
		synctest.Wait()
		if f.holding() != 1 {
			t.Fatal("not held")
		}
		// What does not concern assignments does not wake anyone.
		f.apply(&state.SetCluster{Name: "test"})
		synctest.Wait()
		if f.holding() != 1 {
			t.Fatal("answered without news")
		}
		f.apply(&state.RegisterNode{Node: worker("fog-1", tiering.Fog, 2)})
		if got := indexIn(t, <-done); got != f.index || time.Since(start) != 0 {
			t.Errorf("index %d after %s, want %d at once", got, time.Since(start), f.index)
		}
	})
}

func TestAssignmentsAreHeldForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		// An index from ahead is that of a coordinator which knows more; this one
		// waits to hear of it, too.
		for _, after := range []uint64{f.index, f.index + 7} {
			start := time.Now()
			if got := indexIn(t, <-f.hold(t.Context(), after)); got != f.index || time.Since(start) != api.Wait {
				t.Errorf("after %d: index %d after %s, want %d after %s", after, got, time.Since(start), f.index, api.Wait)
			}
		}
		done := f.hold(t.Context(), f.index+1)
		synctest.Wait()
		f.apply(&state.RegisterNode{Node: worker("fog-1", tiering.Fog, 2)}) // catches up
		synctest.Wait()
		if f.holding() != 1 {
			t.Fatal("answered with what the caller knows")
		}
		f.apply(&state.RegisterNode{Node: worker("fog-2", tiering.Fog, 2)})
		if got := indexIn(t, <-done); got != f.index {
			t.Errorf("index %d, want %d", got, f.index)
		}
	})
}

func TestAHeldCallerMayGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := f.hold(ctx, f.index)
		synctest.Wait()
		cancel()
		if w := <-done; w.Code == http.StatusOK { // nobody will read it
			t.Errorf("answered %s", w.Body)
		}
		if f.holding() != 0 {
			t.Error("still held")
		}
	})
}

// TestStoppingAnswersWhatIsHeld: over real connections.
func TestStoppingAnswersWhatIsHeld(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	agent, ada := f.caller(pki.Agent, "edge-1"), f.caller(pki.Operator, "ada")
	polled := agent.later(agent.request("GET", fmt.Sprintf("%s?after=%d", assignments, f.index), ""))
	streamed := ada.later(ada.request("GET", "/v1/events", ""))
	wait(t, "two requests are held", func() bool { return f.holding() == 2 })
	f.stop()
	if a := receive(t, "the assignments", polled); a.status != http.StatusOK || decode[api.Assignments](t, a).Index != f.index {
		t.Errorf("assignments: %d %s", a.status, a.body)
	}
	if a := receive(t, "the events", streamed); a.status != http.StatusOK || len(a.body) == 0 {
		t.Errorf("events: %d %s", a.status, a.body)
	}
	if f.holding() != 0 {
		t.Errorf("%d requests are held", f.holding())
	}
}

func TestHeldRequestsAreLimited(t *testing.T) {
	f := newFake(t)
	var releases []func()
	for range maxHeldEach {
		release, err := f.server.held.take("spiffe://test/agent/edge/edge-1")
		if err != nil {
			t.Fatal(err)
		}
		releases = append(releases, release)
	}
	agent, ada := f.caller(pki.Agent, "edge-1"), f.caller(pki.Operator, "ada")
	if e := agent.do("GET", assignments, "").problem(t); e.Code != api.CodeTooMany || e.Status != http.StatusTooManyRequests {
		t.Errorf("%+v", e)
	}
	if a := ada.do("GET", assignments, ""); a.status != http.StatusOK {
		t.Errorf("another caller: %d %s", a.status, a.body)
	}
	releases[0]()
	if a := agent.do("GET", assignments, ""); a.status != http.StatusOK {
		t.Errorf("after one has ended: %d %s", a.status, a.body)
	}
	for i := 0; f.holding() < maxHeld; i++ {
		if _, err := f.server.held.take(fmt.Sprint(i / maxHeldEach)); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{assignments, "/v1/events"} {
		if e := ada.do("GET", path, "").problem(t); e.Code != api.CodeNotAvailable || e.Status != http.StatusServiceUnavailable {
			t.Errorf("%s: %+v", path, e)
		}
	}
	for _, release := range releases[1:] {
		release()
	}
	if n := f.server.held.each["spiffe://test/agent/edge/edge-1"]; n != 0 {
		t.Errorf("%d of a caller that has none", n)
	}
}
