package filter

import (
	"math"

	"github.com/weft-mesh/weft/models/score"
	"github.com/weft-mesh/weft/pipeline"
)

// The thresholds that are tried: from one that hardly lets noise stand, by
// steps of a fifth, to half of the picture.
const (
	rungs     = 44
	leastRung = 0.0002
	ratio     = 1.2
)

func rung(i int) float64 { return leastRung * math.Pow(ratio, float64(i)) }

// trial is what a run of frames, all of them analysed, says of every threshold:
// what would have been shown with it, against what was found.
type trial struct {
	frames int
	most   float64 // the largest difference between two of the frames
	rungs  [rungs]tried
}

// tried is a trial with one threshold.
type tried struct {
	analysed int
	counts   score.Counts
}

func (t tried) plus(o tried) tried {
	return tried{t.analysed + o.analysed, t.counts.Plus(o.counts)}
}

func (t tried) minus(o tried) tried {
	return tried{t.analysed - o.analysed, score.Counts{
		TruePositives:  t.counts.TruePositives - o.counts.TruePositives,
		FalsePositives: t.counts.FalsePositives - o.counts.FalsePositives,
		FalseNegatives: t.counts.FalseNegatives - o.counts.FalseNegatives,
	}}
}

// kept is the share of accuracy that is left: the F1 of what is shown, taking
// what was found in each frame for what is in it. Where nothing was found all is
// kept.
func (t tried) kept() float64 {
	if t.counts.Found()+t.counts.Objects() == 0 {
		return 1
	}
	return t.counts.F1()
}

// seen is a frame of a run.
type seen struct {
	view  *View
	found []pipeline.Detection
}

// newTrial replays a run with each threshold: a frame that differs from the last
// one analysed by no more shows what was found in that.
func newTrial(run []seen) *trial {
	t := &trial{frames: len(run)}
	between := make([][]pair, len(run)) // by the frame analysed, then by those after it
	for i := range run {
		between[i] = make([]pair, len(run)-i)
		between[i][0] = compare(&run[i], &run[i])
		for k := 1; k < len(between[i]); k++ {
			p := compare(&run[i], &run[i+k])
			between[i][k] = p
			t.most = max(t.most, p.difference)
		}
	}
	for r := range t.rungs {
		at, threshold := 0, rung(r)
		for i := range run {
			if i == 0 || passes(between[at][i-at].difference, threshold, i-at-1) {
				at = i
				t.rungs[r].analysed++
			}
			t.rungs[r].counts = t.rungs[r].counts.Plus(between[at][i-at].counts)
		}
	}
	return t
}

// pair is how a frame compares with an earlier one: how much it differs, and how
// right it is to show what was found in the earlier.
type pair struct {
	difference float64
	counts     score.Counts
}

func compare(earlier, later *seen) pair {
	p := pair{}
	if earlier != later {
		p.difference = later.view.Difference(earlier.view)
	}
	found := later.found
	if p.difference <= leastRung {
		// The same picture: a detector that finds something else in it is no judge
		// of who shows it. In an empty scene all that it finds is of that kind.
		found = earlier.found
	}
	truth := make([]pipeline.Truth, len(found))
	for i, d := range found {
		truth[i] = pipeline.Truth{Label: d.Label, Box: d.Box}
	}
	var tally score.Tally
	tally.Add(earlier.found, truth)
	p.counts, _ = tally.Result()
	return p
}

// spread is the standard error of what is kept with a threshold, by the
// jackknife: how much it hangs on single trials.
func spread(trials []*trial, r int, all tried) float64 {
	n := float64(len(trials))
	var sum, squares float64
	for _, t := range trials {
		x := all.minus(t.rungs[r]).kept()
		sum += x
		squares += x * x
	}
	return math.Sqrt(max(0, (squares-sum*sum/n)*(n-1)/n))
}

// choose returns the largest threshold with which, and with all smaller ones,
// the trials kept the accuracy; false: none did. It is no larger than the
// differences that were seen: what lies beyond them nobody knows.
func choose(trials []*trial, accuracy float64) (threshold float64, sum tried, ok bool) {
	most := 0.0
	for _, t := range trials {
		most = max(most, t.most)
	}
	for r := range rungs {
		var all tried
		for _, t := range trials {
			all = all.plus(t.rungs[r])
		}
		if all.kept()-spread(trials, r, all) < accuracy {
			break
		}
		threshold, sum, ok = min(rung(r), most), all, true
		if rung(r) >= most {
			break
		}
	}
	return threshold, sum, ok
}
