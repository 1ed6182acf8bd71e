package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/coordinator/planner"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/testbed"
)

// ErrConfig reports a configuration that cannot be simulated.
var ErrConfig = errors.New("cannot simulate")

// Config says what to simulate.
type Config struct {
	Scenario *testbed.Scenario
	// Costs are what was measured. Those that the scenario states take their
	// place.
	Costs testbed.Costs
	Seed  uint64
	// CPUScale is the fraction of its cores that each node has, beside the
	// scenario's CPUOverhead; 0: as the scenario says.
	CPUScale float64
	// Placer places the workflow; nil: as a mesh does.
	Placer planner.Placer
	// Progress is told now and then how much of the time, warm-up included,
	// has passed; nil: nobody is.
	Progress func(virtual, total time.Duration)
}

// Run carries out the scenario. The Recording is complete but for what only
// its caller knows: the number of the run, and how long it took in real time.
//
// The virtual run begins with the submission of the workflow. As in an
// emulation, the warm-up begins when all that was placed has started.
func Run(ctx context.Context, cfg Config) (*testbed.Recording, error) {
	if cfg.Scenario == nil {
		return nil, fmt.Errorf("%w: no scenario", ErrConfig)
	}
	if cfg.CPUScale == 0 {
		cfg.CPUScale = cfg.Scenario.CPUScale
	}
	if !(cfg.CPUScale > 0) {
		return nil, fmt.Errorf("%w: a CPU scale of %g; use a factor above 0", ErrConfig, cfg.CPUScale)
	}
	if cfg.Scenario.CoreSpeed(cfg.CPUScale) < pipeline.LeastSpeed {
		return nil, fmt.Errorf("%w: a CPU scale of %g is too little for slow cores; use at least %g", ErrConfig, cfg.CPUScale, pipeline.LeastSpeed)
	}
	costs := cfg.Costs.Or(cfg.Scenario.Costs)
	c, err := newControl(cfg, costs)
	if err != nil {
		return nil, fmt.Errorf("scenario %s: %w", cfg.Scenario.Name, err)
	}
	rec, err := c.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("scenario %s: %w", cfg.Scenario.Name, err)
	}
	rec.Costs = costs
	return rec, nil
}
