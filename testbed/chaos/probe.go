package chaos

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// probePrefix begins the names of workflows that are submitted while a fault
// lasts.
const probePrefix = "probe-"

// A mesh at rest commits nothing, and to break it then shows little of what is
// durable. So in the middle of each round's first fault a small workflow is
// submitted, and that of the round before is stopped. Either may fail, if there
// is no leader, say; what was acknowledged must hold on every coordinator.
func (r *runner) probe(ctx context.Context, rec *recorder, n int, f Fault) {
	sleep(ctx, time.Until(rec.began.Add(f.At+f.For/2)))
	mark := func(what What, name string, do func(context.Context) error) bool {
		if ctx.Err() != nil {
			return false
		}
		ctx, cancel := context.WithTimeout(ctx, probeWithin)
		defer cancel()
		err := do(ctx)
		m := &Mark{What: what, Node: name, Text: fmt.Sprintf("%s: %s", what, name)}
		if err != nil {
			m.Error = err.Error()
		}
		rec.add(Observation{Mark: m})
		return err == nil
	}
	name := fmt.Sprintf("%s%d", probePrefix, n)
	committed := mark(Committed, name, func(ctx context.Context) error {
		_, err := r.Client.Submit(ctx, name, probeDocument(name, r.plant))
		return err
	})
	// One that could not be stopped is tried again in the next round.
	kept := slices.DeleteFunc(r.probed, func(old string) bool {
		return mark(Stopped, old, func(ctx context.Context) error { return r.Client.Stop(ctx, old) })
	})
	if r.probed = kept; committed {
		r.probed = append(r.probed, name)
	}
}

// probeWithin is how long a submission may take, a change of leaders included.
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
