package experiment

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// maxDecisions is how many decisions after an event the report lists.
const maxDecisions = 20

// faults is what the events of the timeline did.
func (w *writer) faults() {
	if len(w.r.Scenario.Timeline) == 0 {
		return
	}
	w.heading("Events and recovery")
	w.linef("*Recovered after* is until throughput was back at 90 %% of what it was before, or, where the event gives "+
		"something back, of what it became; *longest gap* is without a delivered frame, as far as samples every %v show. "+
		"Frames lost are counted until it had recovered.", w.r.Scenario.Measure.Every)
	w.linef("")
	for i := range incidents(w.r.Scenario.Timeline) {
		w.event(i)
	}
}

// event writes the i-th event of the timeline.
func (w *writer) event(i int) {
	first := w.s.Methods[w.gs[0].method].Events[i]
	w.linef("### %d. At %s s: %s", first.Number, number(first.At), safe(strings.Join(first.What, ", ")))
	w.linef("")
	var rows [][]string
	for _, g := range w.gs {
		for _, x := range w.s.Methods[g.method].Events[i].Runs {
			rows = append(rows, []string{
				fmt.Sprintf("%s %d", g.method, x.Run), number(round(x.Before, 1)), number(round(x.Gap, 3)), recovered(&x), lost(x.Lost), number(round(x.After, 1)),
			})
		}
	}
	if len(rows) == 0 {
		w.linef("No run came to it.")
		w.linef("")
		return
	}
	w.table("run|>before (frames/s)|>longest gap (s)|>recovered after (s)|frames lost|>in the end (frames/s)", rows)
	for _, g := range w.gs {
		for _, x := range w.s.Methods[g.method].Events[i].Runs {
			for _, e := range x.Errors {
				w.linef("**Not carried out** in %s %d: %s.", g.method, x.Run, safe(e))
				w.linef("")
			}
		}
	}
	for _, g := range w.gs {
		if runs := w.s.Methods[g.method].Events[i].Runs; len(runs) > 0 {
			w.decisions(g, &runs[0])
		}
	}
}

// decisions lists those of a method's first run after an event.
func (w *writer) decisions(g group, x *Recovery) {
	of := ""
	if len(w.gs) > 1 || len(g.recs) > 1 {
		of = fmt.Sprintf(" (%s, run %d)", g.method, x.Run)
	}
	if len(x.Decisions) == 0 {
		w.linef("The coordinator decided nothing%s.", of)
		w.linef("")
		return
	}
	w.linef("Decisions of the coordinator%s:", of)
	w.linef("")
	for k, d := range x.Decisions {
		if k == maxDecisions {
			w.linef("- … and %d more, in %s/events.csv", len(x.Decisions)-k, runName(g.method, x.Run))
			break
		}
		w.linef("- +%s s %s: %s", number(round(d.At-x.At, 3)), safe(d.Type), safe(d.Message))
	}
	w.linef("")
}

func recovered(x *Recovery) string {
	switch {
	case x.RecoveredAfter != nil && *x.RecoveredAfter == 0 && x.Before < recoveredAt*x.After:
		return "at once"
	case x.RecoveredAfter != nil && *x.RecoveredAfter == 0:
		return "undisturbed"
	case x.RecoveredAfter != nil:
		return number(round(*x.RecoveredAfter, 3))
	case x.Before == 0 && x.After == 0:
		return "nothing flowed"
	case x.Last:
		return "not within the run"
	}
	return "not before the next event"
}

func lost(by map[pipeline.Reason]uint64) string {
	if len(by) == 0 {
		return "none"
	}
	var parts []string
	for _, r := range slices.Sorted(maps.Keys(by)) {
		parts = append(parts, fmt.Sprintf("%d %s", by[r], safe(string(r))))
	}
	return strings.Join(parts, ", ")
}

// links is the table of link checks: of the first run, with equal links as one
// while all is well, and every failure of every run.
func (w *writer) links() {
	recs := w.r.of(testbed.Emulated)
	if len(recs) == 0 || len(recs[0].Links) == 0 {
		return
	}
	w.heading("Links")
	checks := recs[0].Links
	rows := linkGroups(w.r.Scenario, checks)
	w.table("links|>count|asked|>round trip (ms)|>throughput (Mbit/s)|>loss|verdict", rows)
	var failures [][]string
	for _, rec := range recs {
		for _, c := range rec.Links {
			for _, v := range c.Verdicts {
				if !v.OK {
					failures = append(failures, []string{fmt.Sprint(rec.Run), safe(c.From + "–" + c.To), safe(v.What), safe(v.Asked), safe(v.Found)})
				}
			}
		}
	}
	if len(failures) == 0 {
		w.linef("Every check passed%s.", map[bool]string{true: " in every run"}[len(recs) > 1])
		w.linef("")
		return
	}
	w.linef("**%s failed:**", plural(len(failures), "check"))
	w.linef("")
	w.table(">run|link|check|asked|found", failures)
}

// linkGroups are links of the same tiers and properties as one row each.
func linkGroups(sc *testbed.Scenario, checks []testbed.LinkCheck) [][]string {
	tier := map[string]tiering.Tier{}
	for _, n := range sc.Nodes {
		tier[n.Name] = n.Tier
	}
	type key struct {
		from, to tiering.Tier
		asked    testbed.Link
	}
	groups := map[key][]*testbed.LinkCheck{}
	var keys []key
	for i := range checks {
		c := &checks[i]
		k := key{tier[c.From], tier[c.To], c.Asked}
		if k.from > k.to { // a round trip is checked from either end
			k.from, k.to = k.to, k.from
		}
		if groups[k] == nil {
			keys = append(keys, k)
		}
		groups[k] = append(groups[k], c)
	}
	var rows [][]string
	for _, k := range keys {
		var rtt, through span
		lost, sent, failed, checked := 0, 0, 0, 0
		for _, c := range groups[k] {
			if c.RoundTrip > 0 {
				rtt.add(inMillis(c.RoundTrip))
			}
			if c.Throughput > 0 {
				through.add(c.Throughput / 1e6)
			}
			lost, sent = lost+c.Lost, sent+c.Sent
			if len(c.Verdicts) > 0 {
				checked++
			}
			if !c.OK() {
				failed++
			}
		}
		loss := ""
		if sent > 0 {
			loss = fmt.Sprintf("%d of %d", lost, sent)
		}
		verdict := "all passed"
		switch {
		case failed > 0:
			verdict = fmt.Sprintf("**%d failed**", failed)
		case checked == 0:
			verdict = "not checked"
		case checked < len(groups[k]):
			verdict = fmt.Sprintf("%d checked, all passed", checked)
		}
		rows = append(rows, []string{k.from.String() + "–" + k.to.String(), fmt.Sprint(len(groups[k])), asked(k.asked), rtt.String(), through.String(), loss, verdict})
	}
	return rows
}

// asked says what a link should be.
func asked(l testbed.Link) string {
	parts := []string{fmt.Sprintf("%v one way", l.Delay)}
	if l.Jitter > 0 {
		parts[0] = fmt.Sprintf("%v ± %v one way", l.Delay, l.Jitter)
	}
	parts = append(parts, testbed.FormatRate(l.Rate))
	if l.Loss > 0 {
		parts = append(parts, fmt.Sprintf("loss %s %%", number(round(l.Loss*100, 4))))
	}
	return strings.Join(parts, ", ")
}

// span is from the lowest to the highest of some figures.
type span struct {
	lo, hi float64
	some   bool
}

func (s *span) add(x float64) {
	if !s.some {
		s.lo, s.hi, s.some = x, x, true
	}
	s.lo, s.hi = min(s.lo, x), max(s.hi, x)
}

func (s *span) String() string {
	lo, hi := number(round(s.lo, 2)), number(round(s.hi, 2))
	switch {
	case !s.some:
		return ""
	case lo == hi:
		return lo
	}
	return lo + " to " + hi
}

// caveats is what a reader had better know before quoting the figures.
func (w *writer) caveats() {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, g := range w.gs {
		m := w.s.Methods[g.method]
		if n := len(m.Runs); n < 3 {
			add("%s only, %s: too few to tell an effect from chance. Repeat at least three times.", plural(n, "run"), g.method)
		}
		for _, x := range m.Runs {
			if !x.Balanced {
				add("In %s %d the frames do not add up: captured is not delivered + dropped + in flight.", g.method, x.Run)
			}
			if x.Measured == 0 {
				add("%s %d ended before anything was measured.", title(string(g.method)), x.Run)
			} else if short := w.s.Duration - x.Measured; short > 1 {
				add("%s %d ended %s s early.", title(string(g.method)), x.Run, number(round(short, 1)))
			}
			if x.Links.Failed > 0 {
				add("In %s %d %s outside what was asked.", g.method, x.Run, fmt.Sprintf("%s %s", plural(x.Links.Failed, "link"), map[bool]string{true: "was", false: "were"}[x.Links.Failed == 1]))
			}
		}
		if x := m.Runs[0]; g.method == testbed.Emulated && x.Links.Unshaped > 0 && len(g.recs[0].Links) > 0 {
			add("%s left at the speed of this machine, or not checked for throughput.", map[bool]string{true: "1 link was", false: fmt.Sprintf("%d links were", x.Links.Unshaped)}[x.Links.Unshaped == 1])
		}
		if g.method == testbed.Emulated && len(g.recs[0].Links) == 0 {
			add("The links were not checked.")
		}
	}
	if w.s.Methods[testbed.Emulated] != nil && slices.ContainsFunc(w.r.Scenario.Timeline, func(e testbed.Event) bool {
		return e.Action == testbed.Partition || e.Action == testbed.Pause
	}) {
		add("Agents that cannot reach the coordinator report later: meanwhile the emulated counts stand still, and then they catch up. Frames lost in a partition are therefore counted after its end.")
	}
	if scale := w.r.scale(); scale != 1 && w.s.Methods[testbed.Emulated] != nil {
		add("With a CPU scale of %s the work of a frame takes longer than on a real node; compare nodes with each other, not with real time.", number(scale))
	}
	if len(out) == 0 {
		return
	}
	w.heading("Caveats")
	for _, line := range out {
		w.linef("- %s", line)
	}
	w.linef("")
}
