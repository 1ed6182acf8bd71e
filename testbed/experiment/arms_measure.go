package experiment

import (
	"fmt"
	"maps"
	"slices"

	"github.com/weft-mesh/weft/adaptation/quality"
	"github.com/weft-mesh/weft/adaptation/survey"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// ArmRun is what one run of an arm came to.
type ArmRun struct {
	Run  int
	Seed uint64
	// Asked is the frames that the sources are to have analysed in the measured
	// time: rate times duration, whatever a camera, which is not held up, made
	// of it.
	Asked               float64
	Captured, Delivered uint64
	Filtered            uint64  // hardly differ from one that was analysed, and show what was found in it
	Latency             float64 // seconds, mean, of delivered frames
	P50, P95, P99       float64
	// Stands is how many of the frames asked for one that is analysed stands for,
	// on the average: those after it that are skipped show what was found in it.
	Stands  float64
	Stale   float64 // seconds by which it is older than the frame shown, mean
	F1      float64 // mean, of what is seen on analysed frames and those that they stand for
	Utility float64
	// Makespan is how long, in seconds, it takes at the rate measured until as
	// many frames have been delivered as are asked for: the mean over the
	// sources, and the longest.
	Makespan, Longest float64
	Decisions         []testbed.Mark
}

// Measure computes what a run of an arm came to.
//
// Makespan is what Houmani et al. measure: the time until all frames of the run
// are analysed. Their queues hold every frame. Ours are short and drop what is
// late, so a frame that was dropped counts as one that is still to be analysed:
// sources of which half the frames were delivered take twice the time. Those of
// one resolution are taken together, for they share a queue, and which of them
// it drops more frames of is chance. If none was delivered it takes as if one
// had been.
//
// Utility is equation 5 over the frames that are asked for: F1 less Θ times the
// latency for one that was delivered, or that shows what was found in one that
// was, how much older that is included; for one that was dropped or held, less Θ
// times the deadline, for it shows nothing.
func (a *Arm) Measure(rec *testbed.Recording) (ArmRun, error) {
	w, err := a.Scenario.WorkflowSpec(nil)
	if err != nil {
		return ArmRun{}, err
	}
	t := &rec.Totals
	duration := t.Duration.Seconds()
	out := ArmRun{
		Run: rec.Run, Seed: rec.Seed, Captured: t.Frames.Captured, Latency: t.Latency.Mean().Seconds(), P50: t.Latency.Quantile(0.5).Seconds(), P95: t.Latency.Quantile(0.95).Seconds(), P99: t.Latency.Quantile(0.99).Seconds(),
	}
	mix, err := mixOf(a.Scenario, w, rec)
	if err != nil {
		return out, fmt.Errorf("arm %s: %w", a.Name, err)
	}
	out.Stands, out.Stale = mix.stands(), mix.stale()
	pools := map[int]*pool{} // by resolution
	for _, s := range a.Scenario.Sources {
		i := slices.IndexFunc(t.Sources, func(x testbed.SourceTotals) bool { return x.Source == s.Name })
		if i < 0 {
			return out, fmt.Errorf("arm %s: run %d says nothing of source %s", a.Name, rec.Run, s.Name)
		}
		p := pools[s.Resolution]
		if p == nil {
			p = &pool{}
			pools[s.Resolution] = p
		}
		p.sources++
		p.asked += s.FPS * duration
		p.delivered += t.Sources[i].Delivered
		p.filtered += t.Sources[i].Filtered
	}
	for _, r := range slices.Sorted(maps.Keys(pools)) {
		p := pools[r]
		takes := duration * max(1, p.asked/(float64(max(1, p.delivered+p.filtered))*out.Stands))
		out.Asked += p.asked
		out.Delivered += p.delivered
		out.Filtered += p.filtered
		out.Makespan += takes * float64(p.sources) / float64(len(a.Scenario.Sources))
		out.Longest = max(out.Longest, takes)
	}
	if out.F1, err = f1(a.Scenario, w, t, mix); err != nil {
		return out, fmt.Errorf("arm %s: %w", a.Name, err)
	}
	theta := tiering.DefaultAdapting().Theta
	if w.Adapting != nil {
		theta = w.Adapting.Theta
	}
	share := min(1, out.shown())
	out.Utility = share*(out.F1-theta*(out.Latency+out.Stale)) - (1-share)*theta*w.Objectives.Deadline.Seconds()
	out.Decisions = adapted(rec)
	return out, nil
}

// shown is which part of the frames asked for is analysed, or shows what was
// found in one that was.
func (r *ArmRun) shown() float64 { return float64(r.Delivered+r.Filtered) * r.Stands / r.Asked }

// pool is the sources of one resolution.
type pool struct {
	sources   int
	asked     float64
	delivered uint64
	filtered  uint64
}

// f1 is the mean F1 of what is seen on the frames that were analysed and on
// those that they stand for. Of the former it is that of these themselves, where
// it is known what they show; otherwise what was measured of the model at the
// resolution, or lies on the curve through that. Of the others it is less by what
// fewer frames cost. Of those that a filter takes out it is known in the same way,
// or else that of all is what was measured that the filter keeps of it.
func f1(sc *testbed.Scenario, w *tiering.Workflow, t *testbed.Totals, m *mix) (float64, error) {
	var judged pipeline.Judged
	for _, s := range t.Stages {
		judged = judged.Plus(s.Judged)
	}
	if judged.Frames > 0 && m.all.shown == m.all.analysed {
		return judged.F1(), nil // nothing is skipped
	}
	var frames, sum float64
	for _, s := range t.Stages {
		task, ok := w.Task(s.Task)
		if ok && task.Model == nil && s.Judged.Frames > 0 && m.all.analysed > 0 {
			// A filter knows what the frames show that it takes out.
			shown := float64(s.Judged.Frames) * m.all.shown / m.all.analysed
			frames += shown
			sum += shown * s.Judged.F1() * m.all.kept / m.all.shown
		}
		if !ok || task.Model == nil || s.Processed == 0 {
			continue
		}
		accuracy := s.Judged.F1()
		if s.Judged.Frames == 0 {
			var err error
			if accuracy, err = accuracyOf(task.Model); err != nil {
				return 0, err
			}
		}
		shown := float64(s.Processed)
		if x := m.tasks[s.Task]; x != nil {
			shown *= x.shown / x.analysed
			accuracy *= x.kept / x.shown
		}
		frames += shown
		sum += shown * accuracy
	}
	if frames == 0 {
		return 0, nil
	}
	sum /= frames
	if judged.Frames == 0 {
		sum *= filterKeeps(sc, w)
	}
	return sum, nil
}

// filterKeeps is the share of accuracy that the filters leave: what was measured of
// each, or else what it is to leave at the least.
func filterKeeps(sc *testbed.Scenario, w *tiering.Workflow) float64 {
	promised := *w
	promised.Tasks = slices.Clone(w.Tasks)
	kept := 1.0
	for name, x := range sc.Costs.Tasks {
		if x.Kept != nil {
			kept *= *x.Kept
			promised.Tasks = slices.DeleteFunc(promised.Tasks, func(t tiering.Task) bool { return t.Name == name })
		}
	}
	return kept * survey.FilterKeeps(&promised)
}

func accuracyOf(m *tiering.Model) (float64, error) {
	for _, p := range m.Measured {
		if p.Resolution == m.Resolution {
			return p.F1, nil
		}
	}
	a, err := survey.Accuracy(m)
	if err != nil {
		return 0, fmt.Errorf("model %s: %w", m.Name, err)
	}
	return a.Resolution.At(float64(m.Resolution)), nil
}

// mix is which share of the sources' frames is analysed in which way, from the
// samples of a run.
type mix struct {
	tasks    map[string]*portion
	all      portion
	staleSum float64
}

// portion adds up, over samples and sources, how many frames are shown, analysed
// and kept, in frames of one source and sample.
type portion struct{ shown, analysed, kept float64 }

func (p *portion) add(every, kept float64) {
	p.shown++
	p.analysed += 1 / every
	p.kept += kept
}

// mixOf reads the samples of the measured time. Sources that differ in rate are
// taken for as many with their mean.
func mixOf(s *testbed.Scenario, w *tiering.Workflow, rec *testbed.Recording) (*mix, error) {
	m := &mix{tasks: map[string]*portion{}}
	fps := 0.0
	for _, x := range s.Sources {
		fps += x.FPS / float64(len(s.Sources))
	}
	for i := range rec.Samples {
		if rec.Samples[i].At < 0 {
			continue
		}
		for _, x := range rec.Samples[i].Qualities {
			k := slices.IndexFunc(w.Tasks, func(t tiering.Task) bool {
				return t.Model != nil && t.Model.Resolution == x.Quality.Resolution && (x.Quality.Model == "" || t.Model.Name == x.Quality.Model)
			})
			if k < 0 {
				return nil, fmt.Errorf("sources had %s, which the workflow does not offer", x.Quality)
			}
			t := &w.Tasks[k]
			kept := 1.0
			if x.Quality.Every > 1 {
				a, err := survey.Accuracy(t.Model)
				if err != nil {
					return nil, fmt.Errorf("model %s: %w", t.Model.Name, err)
				}
				kept = a.Kept(x.Quality.Every, fps)
			}
			if m.tasks[t.Name] == nil {
				m.tasks[t.Name] = &portion{}
			}
			for range x.Sources {
				m.tasks[t.Name].add(float64(x.Quality.Every), kept)
				m.all.add(float64(x.Quality.Every), kept)
				m.staleSum += quality.Skip(x.Quality.Every, fps).Seconds()
			}
		}
	}
	return m, nil
}

// stands is how many frames one that is analysed stands for.
func (m *mix) stands() float64 {
	if m.all.analysed == 0 {
		return 1
	}
	return m.all.shown / m.all.analysed
}

// stale is how much older than a frame the one is whose detections it shows.
func (m *mix) stale() float64 {
	if m.all.shown == 0 {
		return 0
	}
	return m.staleSum / m.all.shown
}
