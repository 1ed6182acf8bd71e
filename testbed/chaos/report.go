package chaos

import (
	"fmt"
	"strings"
	"time"
)

// report is the run for people, in Markdown.
func (r *Result) report(plots []string) string {
	var b strings.Builder
	line := func(layout string, args ...any) { fmt.Fprintf(&b, layout+"\n", args...) }
	s := r.Summary()
	what := "Chaos"
	if r.Soak {
		what = "Soak test"
	}
	line("# %s: %d rounds, %d failed", what, s.Rounds, s.Failures)
	if s.Rounds < s.Asked {
		line("")
		line("**Cut short: %d rounds were asked for.**", s.Asked)
	}
	line("")
	line("Seed %d; began %s, took %s. Carried out by `%s`, weft %s, on %s. Links: %s.", r.Seed, r.Began.Format(time.DateTime), r.Took.Round(time.Second),
		r.Command, r.Version, r.Machine, r.Shaping)
	line("")
	line("| | |")
	line("|---|---:|")
	line("| recovery, median | %.1f s |", s.RecoveryP50)
	line("| recovery, longest | %.1f s |", s.RecoveryMax)
	line("| whole again, median | %.1f s |", s.WholeP50)
	line("| whole again, longest | %.1f s |", s.WholeMax)
	if s.LeaderMax > 0 {
		line("| a new leader after the loss of one, longest | %.1f s |", s.LeaderMax)
	}
	line("| longest gap between delivered frames when nothing goes wrong | %.2f s |", s.ControlGap)
	line("| workflows lost or changed | %d |", s.LostWorkflows)
	line("| writes while a fault lasted: tried, acknowledged | %d, %d |", s.Commits, s.Acknowledged)
	line("| placements that ran twice | %d |", s.DuplicateTasks)
	line("| frames captured, delivered | %d, %d |", s.Captured, s.Delivered)
	line("")
	line("Recovery counts from the end of the last fault to the moment since when all is well: every coordinator names the")
	line("same living leader, every living node is alive to it, the workflow runs, each placement runs once, where it is placed, and")
	line("frames of every camera are delivered. Where a node is killed whose work others can do, it counts from its death and")
	line("does without that node; “whole” is when that is back, too, and the coordinators know the same at the same index.")
	line("A gap is a time in which certainly no frame of a camera was delivered. Pressure is the share of the round in which a")
	line("task of this machine waited for a CPU: where it is high, the times are the machine's. What is killed loses what it had")
	line("not written, and no more: its data is in memory, so a write that was not forced to a disk is not found by this.")
	line("")
	line("## Rounds")
	line("")
	line("| round | fault | target | parameters | at | for | recovery | whole | gap | leader | captured | delivered | pressure | verdict |")
	line("|---:|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|")
	if r.Control != nil {
		line("| – | none, for comparison | | | | | | | %.2f s | | %d | %d | %.0f %% | |", r.Control.Gap.Seconds(), r.Control.Frames.Captured, r.Control.Frames.Delivered, 100*r.Control.Pressure)
	}
	for _, v := range r.Verdicts {
		for i, f := range v.Round.Faults {
			target := v.Targets[i]
			if f.Target == Leader || f.Target == Follower {
				target += " (" + f.Target + ")"
			}
			if i > 0 {
				line("| | %s | %s | %s | %.1f s | %.1f s | | | | | | | | |", f.Kind, target, f.Parameters(), f.At.Seconds(), f.For.Seconds())
				continue
			}
			verdict, leader := "ok", ""
			if v.Failed() {
				verdict = "**failed**"
			}
			if v.Leader != nil {
				leader = seconds(v.Leader)
			}
			line("| %d | %s | %s | %s | %.1f s | %.1f s | %s | %s | %.2f s | %s | %d | %d | %.0f %% | %s |", v.Round.Number, f.Kind, target, f.Parameters(), f.At.Seconds(), f.For.Seconds(),
				seconds(v.Recovery), seconds(v.Whole), v.Gap.Seconds(), leader, v.Frames.Captured, v.Frames.Delivered, 100*v.Pressure, verdict)
		}
	}
	line("")
	for _, p := range plots {
		if strings.HasSuffix(p, ".svg") {
			line("![%s](%s)", strings.TrimSuffix(p, ".svg"), p)
			line("")
		}
	}
	r.reportFailures(line)
	r.reportTrends(line)
	return b.String()
}

func (r *Result) reportFailures(line func(string, ...any)) {
	if r.failures() == 0 && (r.Control == nil || !r.Control.Failed()) {
		return
	}
	line("## Failures")
	line("")
	all := r.Verdicts
	if r.Control != nil {
		all = append([]*Verdict{r.Control}, all...)
	}
	for _, v := range all {
		if !v.Failed() {
			continue
		}
		line("### Round%s", v.Round)
		line("")
		for _, x := range v.Violations {
			line("- **%s** at %.1f s: %s", x.Invariant, x.At.Seconds(), strings.Join(strings.Fields(x.What), " "))
		}
		line("")
		line("What was seen is in `%s`, one observation a line; what the nodes said in `logs/`.", v.Record)
		line("")
	}
}

func (r *Result) reportTrends(line func(string, ...any)) {
	if len(r.Trends) == 0 {
		return
	}
	line("## What every weftd uses")
	line("")
	line("Of each node's longest time between two starts, the second half: the median, and Theil and Sen's slope of the least in")
	line("each %g minutes in which the node did the same: what leaks raises that. It grows where even the lower end of the slope's 95 %% interval is above %g %% of the median an hour.", window.Minutes(), growth*100)
	line("")
	line("| node | resource | series | samples | median | slope, an hour | verdict |")
	line("|---|---|---:|---:|---:|---:|---|")
	for _, t := range r.Trends {
		line("| %s | %s | %s | %d | %.1f | %+.2f | %s |", t.Node, t.Resource, t.For.Round(time.Second), t.Samples, t.Median, t.PerHour, t.Verdict)
	}
	line("")
}
