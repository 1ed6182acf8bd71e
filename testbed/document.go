package testbed

import (
	"time"

	"github.com/weft-mesh/weft/internal/quantity"
	"github.com/weft-mesh/weft/tiering"
)

// The document's own name and version.
const (
	APIVersion = "weft/v1"
	Kind       = "Scenario"
)

// What applies where the document is silent.
const (
	defaultSeed     = 1
	defaultScale    = 1.0
	defaultDisk     = 10 << 30 // bytes
	defaultQueue    = 1000     // packets, as Linux's interfaces have
	defaultWarmup   = 5 * time.Second
	defaultDuration = time.Minute
	defaultEvery    = time.Second
)

// document is the form of a scenario; scenario.schema.json describes it for
// editors, and a test keeps the two the same.
type document struct {
	APIVersion string       `yaml:"apiVersion,required"`
	Kind       string       `yaml:"kind,required"`
	Metadata   metadataForm `yaml:"metadata,required"`
	Spec       specForm     `yaml:"spec,required"`
}

type metadataForm struct {
	Name string `yaml:"name,required"`
}

type specForm struct {
	Seed        *uint64         `yaml:"seed"`
	CPUScale    *float64        `yaml:"cpuScale"`
	CPUOverhead *quantity.Cores `yaml:"cpuOverhead"`
	SlowCores   bool            `yaml:"slowCores"`
	Nodes       []nodeForm      `yaml:"nodes,required"`
	Network     networkForm     `yaml:"network"`
	Workflow    string          `yaml:"workflow,required"`
	Media       string          `yaml:"media"`
	Models      string          `yaml:"models"`
	Sources     []sourceForm    `yaml:"sources"`
	Timeline    []eventForm     `yaml:"timeline"`
	Measure     measureForm     `yaml:"measure"`
	Costs       costsForm       `yaml:"costs"`
}

type nodeForm struct {
	Name        string          `yaml:"name,required"`
	Count       *int            `yaml:"count"`
	Tier        tiering.Tier    `yaml:"tier,required"`
	Cores       quantity.Cores  `yaml:"cores,required"`
	Memory      quantity.Bytes  `yaml:"memory,required"`
	Disk        *quantity.Bytes `yaml:"disk"`
	Coordinator bool            `yaml:"coordinator"`
	Dedicated   bool            `yaml:"dedicated"`
	Broker      bool            `yaml:"broker"`
}

type networkForm struct {
	Tiers []linkForm `yaml:"tiers"`
	Links []linkForm `yaml:"links"`
}

type linkForm struct {
	Between []string       `yaml:"between,required"`
	Delay   *time.Duration `yaml:"delay"`
	Jitter  *time.Duration `yaml:"jitter"`
	Rate    *rate          `yaml:"rate"`
	Loss    *fraction      `yaml:"loss"`
	Queue   *int           `yaml:"queue"`
}

// change is what the form says of a link.
func (l *linkForm) change() LinkChange {
	return LinkChange{Delay: l.Delay, Jitter: l.Jitter, Rate: (*int64)(l.Rate), Loss: (*float64)(l.Loss), Queue: l.Queue}
}

type sourceForm struct {
	Name       string  `yaml:"name,required"`
	Count      *int    `yaml:"count"`
	URI        string  `yaml:"uri,required"`
	On         places  `yaml:"on"`
	FPS        float64 `yaml:"fps,required"`
	Resolution *int    `yaml:"resolution"`
}

type eventForm struct {
	At        time.Duration  `yaml:"at,required"`
	For       *time.Duration `yaml:"for"`
	Kill      *string        `yaml:"kill"`
	Stop      *string        `yaml:"stop"`
	Start     *string        `yaml:"start"`
	Pause     *string        `yaml:"pause"`
	Resume    *string        `yaml:"resume"`
	Drain     *string        `yaml:"drain"`
	Undrain   *string        `yaml:"undrain"`
	Partition []string       `yaml:"partition"`
	Heal      []string       `yaml:"heal"`
	Link      *linkForm      `yaml:"link"`
	Restore   []string       `yaml:"restore"`
	Sources   *difference    `yaml:"sources"`
}

type measureForm struct {
	Warmup   *time.Duration `yaml:"warmup"`
	Duration *time.Duration `yaml:"duration"`
	Every    *time.Duration `yaml:"every"`
}

type costsForm struct {
	Capture    *timeForm           `yaml:"capture"`
	Input      *float64            `yaml:"input"`
	Idle       *float64            `yaml:"idle"`
	Coordinate *float64            `yaml:"coordinate"`
	Detect     *time.Duration      `yaml:"detect"`
	Return     *time.Duration      `yaml:"return"`
	Tasks      map[string]taskForm `yaml:"tasks"`
}

type taskForm struct {
	Work    *timeForm       `yaml:"work"`
	Send    *timeForm       `yaml:"send"`
	Receive *timeForm       `yaml:"receive"`
	Bytes   *quantity.Bytes `yaml:"bytes"`
	Start   *time.Duration  `yaml:"start"`

	Filtered *float64 `yaml:"filtered"`
	Kept     *float64 `yaml:"kept"`
}

type timeForm struct {
	Mean time.Duration `yaml:"mean,required,short"`
	CV   float64       `yaml:"cv"`
}

// or returns what was given, or else the default.
func or[T any](given *T, otherwise T) T {
	if given != nil {
		return *given
	}
	return otherwise
}
