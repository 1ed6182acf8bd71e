package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/state"
)

// A workflow is a register: submitting writes it, stopping takes it back, and
// asking how it is reads it.
type register struct {
	version   uint64 // 0: there is none
	detectors int
	stopped   bool
}

type action struct {
	workflow  string
	kind      string // submit, stop or get
	detectors int
}

type outcome struct {
	uncertain bool // it may have happened, now or at any time later
	known     bool // there is such a workflow
	register       // of a get
}

// model says what each outcome of an action requires and changes.
var model = porcupine.Model{
	Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
		by, order := map[string][]porcupine.Operation{}, []string(nil)
		for _, op := range all {
			name := op.Input.(action).workflow
			if by[name] == nil {
				order = append(order, name)
			}
			by[name] = append(by[name], op)
		}
		var out [][]porcupine.Operation
		for _, name := range order {
			out = append(out, by[name])
		}
		return out
	},
	Init: func() any { return register{} },
	Step: func(before, input, output any) (bool, any) {
		r, in, out := before.(register), input.(action), output.(outcome)
		switch in.kind {
		case "submit":
			if r.version > 0 && !r.stopped && r.detectors == in.detectors {
				return true, r // the same again changes nothing
			}
			return true, register{r.version + 1, in.detectors, false}
		case "stop":
			ok := out.uncertain || out.known == (r.version > 0)
			r.stopped = r.version > 0
			return ok, r
		}
		if !out.known || r.version == 0 {
			return out.known == (r.version > 0), r
		}
		if r.stopped { // what it had is released
			return out.version == r.version && out.stopped, r
		}
		return out.register == r, r
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v → %+v", input, output) },
	DescribeState:     func(s any) string { return fmt.Sprintf("%+v", s) },
}

// TestModel makes sure that the check can fail.
func TestModel(t *testing.T) {
	op := func(call, end int64, in action, out outcome) porcupine.Operation {
		in.workflow = "w"
		return porcupine.Operation{Input: in, Output: out, Call: call, Return: end}
	}
	submit := action{kind: "submit", detectors: 1}
	first := op(0, 1, submit, outcome{known: true})
	second := op(2, 3, action{kind: "submit", detectors: 2}, outcome{known: true})
	lost := op(2, math.MaxInt64, action{kind: "stop"}, outcome{uncertain: true})
	get := func(call, end int64, r register) porcupine.Operation {
		return op(call, end, action{kind: "get"}, outcome{known: r.version > 0, register: r})
	}
	for name, c := range map[string]struct {
		history []porcupine.Operation
		fine    bool
	}{
		"read what was written": {[]porcupine.Operation{first, second, get(4, 5, register{2, 2, false})}, true},
		"stale read":            {[]porcupine.Operation{first, second, get(4, 5, register{1, 1, false})}, false},
		"read meanwhile":        {[]porcupine.Operation{first, second, get(2, 5, register{1, 1, false})}, true},
		"lost write":            {[]porcupine.Operation{first, get(4, 5, register{})}, false},
		"uncertain, not yet":    {[]porcupine.Operation{first, lost, get(4, 5, register{1, 1, false})}, true},
		"uncertain, now":        {[]porcupine.Operation{first, lost, get(4, 5, register{1, 0, true})}, true},
		"uncertain, and undone": {[]porcupine.Operation{first, lost, get(4, 5, register{1, 0, true}), get(6, 7, register{1, 1, false})}, false},
		"twice":                 {[]porcupine.Operation{first, op(2, 3, submit, outcome{known: true}), get(4, 5, register{2, 1, false})}, false},
	} {
		if got := porcupine.CheckOperations(model, c.history); got != c.fine {
			t.Errorf("%s: linearizable %v", name, got)
		}
	}
}

// TestLinearizable has clients submit, stop and look while coordinators are cut
// off, killed and restarted, and looks for one order that explains all they
// were told. WEFT_LINEARIZABLE=1m tries for longer, WEFT_SEED=n other faults.
func TestLinearizable(t *testing.T) {
	span, err := time.ParseDuration(or(os.Getenv("WEFT_LINEARIZABLE"), "8s"))
	if err != nil {
		t.Fatal(err)
	}
	seed, err := strconv.ParseUint(or(os.Getenv("WEFT_SEED"), "5"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	s := newServed(t, 2*time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), span+patience)
	defer cancel()
	h := &history{start: time.Now(), unsure: map[string]int{}}
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() { h.client(ctx, s, i, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	var faults []string
	rng := rand.New(rand.NewPCG(seed, 99))
	for ctx.Err() == nil && (time.Since(h.start) < span || !h.telling()) { // on a busy machine it takes longer
		faults = append(faults, s.fault(ctx, rng))
	}
	cancel()
	wg.Wait()
	t.Logf("seed %d, %v: %v, refused %d; %v", seed, time.Since(h.start).Round(time.Second), h.count(), h.refused, faults)
	if !h.telling() {
		t.Error("too little happened to tell")
	}
	result, info := porcupine.CheckOperationsVerbose(model, h.ops, time.Minute)
	if result != porcupine.Ok {
		file := filepath.Join(t.ArtifactDir(), "linearizable.html")
		err := porcupine.VisualizePath(model, info, file)
		t.Errorf("seed %d: %s; see %s (%v; go test -artifacts keeps it)", seed, result, file, err)
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// history is what clients asked for and were told.
type history struct {
	start time.Time

	mu      sync.Mutex
	ops     []porcupine.Operation
	unsure  map[string]int // uncertain operations by workflow
	refused int            // and surely not done
}

// count says how much of what there is.
func (h *history) count() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	count := map[string]int{}
	for _, op := range h.ops {
		count[op.Input.(action).kind]++
		if op.Output.(outcome).uncertain {
			count["uncertain"]++
		}
	}
	return count
}

// telling reports whether enough has happened for the check to mean something.
func (h *history) telling() bool {
	count := h.count()
	return count["get"] >= 30 && count["submit"] >= 30 && count["stop"] >= 10
}

// A name is used for an epoch, and no longer after so many operations that are
// uncertain: they stay so for the check, whose work doubles with each.
const (
	epoch      = 2 * time.Second
	unsureMost = 3
)

// name is the i-th of the names in use.
func (h *history) name(i int) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for k := 0; ; k++ {
		name := fmt.Sprintf("w%d-%d-%d", time.Since(h.start)/epoch, i, k)
		if h.unsure[name] < unsureMost {
			return name
		}
	}
}

// client asks one coordinator after the other until ctx ends.
func (h *history) client(ctx context.Context, s *served, id int, rng *rand.Rand) {
	clients := map[*servedNode]*api.Client{}
	var at []*servedNode
	for _, name := range []string{"c1", "c2", "c3"} {
		n := s.nodes[name]
		at, clients[n] = append(at, n), s.client(fmt.Sprint("client-", id), n)
		defer clients[n].Close()
	}
	for ctx.Err() == nil {
		do := action{
			workflow:  h.name(rng.IntN(2)),
			kind:      []string{"submit", "submit", "stop", "get", "get", "get"}[rng.IntN(6)],
			detectors: 1 + rng.IntN(4),
		}
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		h.try(limit, clients[at[rng.IntN(len(at))]], id, do)
		cancel()
		select {
		case <-time.After(time.Duration(rng.IntN(30)) * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (h *history) try(ctx context.Context, c *api.Client, id int, do action) {
	var (
		err error
		out = outcome{known: true}
	)
	call := time.Since(h.start)
	switch do.kind {
	case "submit":
		_, err = c.Submit(ctx, "w.yaml", document(do.workflow, do.detectors))
	case "stop":
		err = c.Stop(ctx, do.workflow)
	case "get":
		var st api.WorkflowStatus
		st, err = c.Workflow(ctx, do.workflow)
		out.register = register{st.Version, len(st.Placements) - 1, st.Status == state.Stopped}
	}
	end := time.Since(h.start)
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil:
	case errors.Is(err, &api.Error{Code: api.CodeNotFound}):
		out = outcome{}
	case do.kind == "get", errors.Is(err, &api.Error{Code: api.CodeNoLeader}), errors.Is(err, &api.Error{Code: api.CodeConflict}),
		errors.Is(err, api.ErrUnreachable):
		h.refused++
		return // nothing was done
	default: // ErrUncertain above all
		out, end = outcome{uncertain: true}, math.MaxInt64
		h.unsure[do.workflow]++
	}
	h.ops = append(h.ops, porcupine.Operation{ClientId: id, Input: do, Output: out, Call: int64(call), Return: int64(end)})
}
