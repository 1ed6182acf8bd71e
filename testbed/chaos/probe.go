package chaos

import (
	"context"
	"fmt"
	"time"
)

// probePrefix begins the names of workflows that are submitted while a fault
// lasts.
const probePrefix = "probe-"

// A mesh at rest commits nothing, and to break it then shows little of what is
// durable. So a small workflow is submitted just before each round's first fault,
// another in the middle of it, and those of the round before are stopped. In the
// middle any may fail, if there is no leader, say; what was acknowledged must
// hold on every coordinator, also in the rounds to come.
func (r *runner) probe(ctx context.Context, rec *recorder, n int, f Fault) {
	sleep(ctx, time.Until(rec.began.Add(f.At+f.For/2)))
	r.commit(ctx, rec, probeName("during", n))
	for _, name := range []string{probeName("before", n+1), probeName("during", n+1)} {
		r.mu.Lock()
		there := r.probed[name]
		r.mu.Unlock()
		if there && r.attempt(ctx, rec, Stopped, name, func(ctx context.Context) error { return r.Client.Stop(ctx, name) }) {
			r.mu.Lock()
			delete(r.probed, name)
			r.mu.Unlock()
		}
	}
}

// probeName has a workflow take turns with that of the round before and after:
// what is stopped is kept by the coordinators, and is not to pile up.
func probeName(when string, round int) string {
	return fmt.Sprintf("%s%s-%d", probePrefix, when, round%2)
}

// commit submits a workflow.
func (r *runner) commit(ctx context.Context, rec *recorder, name string) {
	r.mu.Lock()
	r.probed[name] = true // it may be there even if that is not acknowledged
	r.mu.Unlock()
	r.attempt(ctx, rec, Committed, name, func(ctx context.Context) error {
		_, err := r.Client.Submit(ctx, name, probeDocument(name, r.plant))
		return err
	})
}

// attempt tries a write until it is acknowledged or probeWithin is over, and
// notes what became of it.
func (r *runner) attempt(ctx context.Context, rec *recorder, what What, name string, do func(context.Context) error) bool {
	within, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	m := &Mark{What: what, Node: name, Text: fmt.Sprintf("%s: %s", what, name)}
	for {
		err := do(within)
		if err == nil {
			m.Error = ""
			break
		}
		// The last try's own end says less than what kept the others.
		if m.Error == "" || within.Err() == nil {
			m.Error = err.Error()
		}
		if sleep(within, lookEvery); within.Err() != nil {
			break
		}
	}
	if ctx.Err() != nil {
		return false
	}
	rec.add(Observation{Mark: m})
	return m.Error == ""
}

// probeWithin is how long a write may take, a change of leaders included.
const probeWithin = 10 * time.Second

// probeDocument is a workflow that costs next to nothing: a frame every few
// seconds, of the first camera's node.
func probeDocument(name string, p Plant) []byte {
	return fmt.Appendf(nil, `apiVersion: weft/v1
kind: Workflow
metadata: {name: %s}
spec:
  objectives: {deadline: 2s}
  sources: [{name: spare, uri: %q, node: %s, fps: 0.2, resolution: 512}]
  tasks: [{name: look, type: deep-model, models: [{name: hog-people, resolutions: [512]}], resources: {cpu: 50m, memory: 32MiB}}]
  links: [{from: spare, to: look}]
`, name, p.Sources[0].URI, p.Sources[0].Node)
}
