package main

import (
	"bufio"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
)

var httpAddress = regexp.MustCompile(`msg="weftd is up".* http=(\S+)`)

// metric is the sum of a metric of a node that has these labels; -1: it has
// none, or does not answer.
func (f *farm) metric(node, name string, labels ...string) float64 {
	at := httpAddress.FindStringSubmatch(f.processes[node].log.String())
	if at == nil {
		return -1
	}
	resp, err := http.Get(at[1] + "/metrics")
	if err != nil {
		return -1
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	sum := -1.0
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		line := lines.Text()
		if !strings.HasPrefix(line, name+"{") || slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(line, l) }) {
			continue
		}
		if v, err := strconv.ParseFloat(line[strings.LastIndex(line, " ")+1:], 64); err == nil {
			sum = max(sum, 0) + v
		}
	}
	return sum
}

// delivered is the number of frames that the source on the node brought home,
// of this start of it.
func (f *farm) delivered(node string) float64 {
	return f.metric(node, "weft_frames_delivered_total", `source="gate"`)
}

// logged counts the lines of a node's log, since it was started, that have
// all of these.
func (f *farm) logged(node string, parts ...string) int {
	n := 0
	for line := range strings.Lines(f.processes[node].log.String()) {
		if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(line, p) }) {
			n++
		}
	}
	return n
}

var decision = regexp.MustCompile(`msg=(starting|stopping) .*instance=(\S+)`)

// decided is every start and stop of an instance on these nodes, since the
// nodes were started.
func (f *farm) decided(nodes ...string) (out []string) {
	for _, node := range nodes {
		for _, d := range decision.FindAllStringSubmatch(f.processes[node].log.String(), -1) {
			out = append(out, node+" "+d[1]+" "+d[2])
		}
	}
	return out
}

var farmCoordinators = []string{"coord-1", "coord-2", "coord-3"}

// blackout kills every coordinator at once.
func (f *farm) blackout() {
	for _, name := range farmCoordinators {
		f.kill(name)
	}
}

// comeBack starts the coordinators again and waits until they lead, with
// every node alive and in touch.
func (f *farm) comeBack(agents ...string) {
	f.t.Helper()
	for _, name := range farmCoordinators {
		f.start(name)
	}
	eventually(f.t, 2*time.Minute, "seven nodes are alive", func() bool {
		m, err := f.Mesh(f.t.Context())
		return err == nil && m.Leader != "" && alive(f.t, f.Client) == 7
	})
	eventually(f.t, 2*time.Minute, "every agent is told", func() bool {
		return !slices.ContainsFunc(agents, func(a string) bool { return f.logged(a, "a coordinator answers again") == 0 })
	})
}

// Every coordinator is killed, and then the node that detects: when it is
// back, frames flow again with nobody to say so. What the coordinators find
// when they return they leave as it is. A node that resumes what was moved
// while it was down stops it as soon as one of them tells it.
func TestAgentsResumeWithoutCoordinators(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	submit(t, f.Client, people("videotest:", 5, "[512]"))
	ask := func() api.WorkflowStatus {
		s, err := f.Workflow(t.Context(), "people")
		if err != nil {
			t.Logf("status: %v", err)
		}
		return s
	}
	eventually(t, 2*time.Minute, "frames are delivered", func() bool { return ask().Frames.Delivered >= 10 })
	before := ask()
	edge := where(before, "gate")
	if got := where(before, "detect@512"); got != "fog-1" {
		t.Fatalf("detect@512 runs on %s, want fog-1", got)
	}
	others := []string{"edge-1", "edge-2", "cloud-1"}
	decided := f.decided(others...)

	f.blackout()
	at := f.delivered(edge)
	eventually(t, 2*time.Minute, "frames flow without a coordinator", func() bool { return f.delivered(edge) >= at+10 })

	f.kill("fog-1")
	f.start("fog-1")
	started := time.Now()
	eventually(t, 2*time.Minute, "fog-1 resumes", func() bool { return f.logged("fog-1", "going on with what the last run was told") == 1 })
	resumed := time.Since(started)
	at = f.delivered(edge)
	eventually(t, 2*time.Minute, "frames flow again without a coordinator", func() bool {
		return f.metric("fog-1", "weft_stage_frames_processed_total", `task="detect@512"`) >= 1 && f.delivered(edge) >= at+1
	})
	flow := time.Since(started)
	eventually(t, 2*time.Minute, "they go on", func() bool { return f.delivered(edge) >= at+10 })
	t.Logf("an agent killed while no coordinator runs: resumed %.1f s after it was started, first frame delivered %.1f s after", resumed.Seconds(), flow.Seconds())

	decided = append(decided, "fog-1 starting people/detect@512#0")
	back := time.Now()
	f.comeBack("edge-1", "edge-2", "cloud-1", "fog-1")
	t.Logf("coordinators back, and every agent in touch, after %.1f s", time.Since(back).Seconds())
	at = f.delivered(edge)
	eventually(t, 2*time.Minute, "frames flow with coordinators", func() bool { return f.delivered(edge) >= at+10 })
	if got := f.decided(append(others, "fog-1")...); !slices.Equal(got, decided) {
		t.Errorf("something was restarted that is still wanted: %q, expected %q", got, decided)
	}

	// Detection moves while fog-1 is down; fog-1 does not hear of it.
	f.kill("fog-1")
	eventually(t, 2*time.Minute, "detection runs elsewhere", func() bool {
		s := ask()
		n := where(s, "detect@512")
		return n != "" && n != "fog-1" && f.metric(n, "weft_stage_frames_processed_total", `task="detect@512"`) >= 5
	})
	moved := where(ask(), "detect@512")
	f.blackout()
	f.start("fog-1")
	eventually(t, 2*time.Minute, "fog-1 resumes what was moved", func() bool { return f.metric("fog-1", "weft_stage_frames_received_total", `task="detect@512"`) >= 0 })
	decided = f.decided(others...)
	back = time.Now()
	f.comeBack("edge-1", "edge-2", "cloud-1", "fog-1")
	touch := time.Since(back)
	both := 0.0
	eventually(t, 2*time.Minute, "fog-1 stops what was moved", func() bool {
		n := f.metric("fog-1", "weft_stage_frames_received_total", `task="detect@512"`)
		both = max(both, n)
		return n < 0 && slices.Equal(f.decided("fog-1"), []string{"fog-1 starting people/detect@512#0", "fog-1 stopping people/detect@512#0"})
	})
	if both > 0 {
		t.Errorf("%g frames went to fog-1, and detection had been moved to %s", both, moved)
	}
	t.Logf("coordinators back, and every agent in touch, after %.1f s; what had been moved was stopped after %.1f s", touch.Seconds(), time.Since(back).Seconds())
	at = f.delivered(edge)
	eventually(t, 2*time.Minute, "frames flow", func() bool { return f.delivered(edge) >= at+10 })
	if got := f.decided(others...); !slices.Equal(got, decided) {
		t.Errorf("something was restarted that is still wanted: %q, was %q", got, decided)
	}
	if got := where(ask(), "detect@512"); got != moved {
		t.Errorf("detection is on %s, was on %s", got, moved)
	}
	mustBalance(t, ask().Frames)
}
