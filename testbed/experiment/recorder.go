package experiment

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/weft-mesh/weft/testbed"
)

// ErrRun reports a run that can't be begun.
var ErrRun = errors.New("can't begin the run")

// Recorder writes a result folder while its runs go on. It is safe for
// concurrent use.
type Recorder struct {
	dir string

	mu   sync.Mutex
	runs map[string]*Run // by folder
}

// Create makes dir the result folder of a scenario that is about to run: a
// new folder, an empty one, or one of an earlier run, whose results it
// removes. Any other folder is refused with ErrForeign.
func Create(dir string, scenario []byte) (*Recorder, error) {
	if err := claim(dir); err != nil {
		return nil, err
	}
	if err := writeFile(filepath.Join(dir, scenarioFile), scenario); err != nil {
		return nil, err
	}
	return &Recorder{dir: dir, runs: map[string]*Run{}}, nil
}

// Dir is the result folder.
func (r *Recorder) Dir() string { return r.dir }

// Begin makes the folder of a run, counted from 1, and its tables.
func (r *Recorder) Begin(m testbed.Method, run int) (*Run, error) {
	if m != testbed.Emulated && m != testbed.Simulated || run < 1 {
		return nil, fmt.Errorf("%w %q %d: want emulated or simulated, and a number from 1", ErrRun, m, run)
	}
	name := runName(m, run)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.runs[name] != nil {
		return nil, fmt.Errorf("%w %s: it has begun already", ErrRun, name)
	}
	made, err := newRun(filepath.Join(r.dir, name))
	if err != nil {
		return nil, fmt.Errorf("begin %s: %w", name, err)
	}
	r.runs[name] = made
	return made, nil
}

func runName(m testbed.Method, run int) string { return string(m) + "-" + strconv.Itoa(run) }

// Costs writes costs that were measured.
func (r *Recorder) Costs(c testbed.Costs) error {
	return WriteCosts(filepath.Join(r.dir, costsYAML), c)
}

// Finish closes the tables and writes the rest of the folder: tables of runs
// that were not begun here, costs, summary, plots and report. What can't be
// written does not keep it from writing the others; the errors are joined.
func (r *Recorder) Finish(res *Result) error { return r.finish(res, plots(res)) }

func (r *Recorder) finish(res *Result, pictures []picture) error {
	errs := []error{r.Close()}
	for i := range res.Recordings {
		if err := r.replay(&res.Recordings[i]); err != nil {
			errs = append(errs, err)
		}
	}
	put := func(name string, data []byte, err error) bool {
		if err == nil {
			err = writeFile(filepath.Join(r.dir, name), data)
		}
		errs = append(errs, err)
		return err == nil
	}

	summary := Summarize(res)
	data, err := encodeSummary(summary)
	put(summaryFile, data, err)

	costs := measuredCosts(res)
	put(costsYAML, encodeCostsYAML(costs), nil)
	data, err = encodeCostsJSON(costs)
	put(costsJSON, data, err)

	var drawn []picture
	if err := os.MkdirAll(filepath.Join(r.dir, plotsFolder), 0o777); err != nil {
		errs = append(errs, err)
	} else {
		for _, p := range pictures {
			svg, err := p.chart.svg()
			ok := put(filepath.Join(plotsFolder, p.name+".svg"), svg, err)
			png, err := p.chart.png()
			if put(filepath.Join(plotsFolder, p.name+".png"), png, err) && ok {
				drawn = append(drawn, p)
			}
		}
	}
	put(reportFile, report(res, summary, drawn), nil)
	return errors.Join(errs...)
}

// replay writes the tables of a recording that was not recorded here.
func (r *Recorder) replay(rec *testbed.Recording) error {
	r.mu.Lock()
	begun := r.runs[runName(rec.Method, rec.Run)] != nil
	r.mu.Unlock()
	if begun {
		return nil
	}
	run, err := r.Begin(rec.Method, rec.Run)
	if err != nil {
		return err
	}
	return errors.Join(run.write(rec), run.Close())
}

// Close closes the tables of all runs. What was recorded stays; Finish may
// still follow.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, run := range r.runs {
		errs = append(errs, run.Close())
	}
	return errors.Join(errs...)
}

// Write writes the result folder of recordings that are complete.
func Write(dir string, r *Result) error {
	rec, err := Create(dir, r.ScenarioText)
	if err != nil {
		return err
	}
	return rec.Finish(r)
}
