package workflow

import (
	"time"

	"github.com/weft-mesh/weft/internal/quantity"
	"github.com/weft-mesh/weft/tiering"
)

// The document's own name and version.
const (
	APIVersion = "weft/v1"
	Kind       = "Workflow"
)

// What applies where the document is silent.
const (
	// defaultMinAccuracy is the a_min of Houmani et al., section V.
	defaultMinAccuracy = 0.5
	defaultDeadline    = time.Second
	defaultQuality     = 90 // JPEG
	defaultReplicas    = 1
	defaultBackend     = "cpu"
	defaultKept        = 0.95 // accuracy that a filter keeps
)

// document is the form of a workflow document; schema.json describes it for
// editors, and a test keeps the two the same.
type document struct {
	APIVersion string   `yaml:"apiVersion,required"`
	Kind       string   `yaml:"kind,required"`
	Metadata   metadata `yaml:"metadata,required"`
	Spec       spec     `yaml:"spec,required"`
}

type metadata struct {
	Name string `yaml:"name,required"`
}

type spec struct {
	Objectives objectives  `yaml:"objectives"`
	Adaptation *adaptation `yaml:"adaptation"`
	Sources    []source    `yaml:"sources,required"`
	Tasks      []task      `yaml:"tasks,required"`
	Links      []link      `yaml:"links,required"`
}

type objectives struct {
	MinAccuracy *float64       `yaml:"minAccuracy"`
	Deadline    *time.Duration `yaml:"deadline"`
}

type adaptation struct {
	Rule   *tiering.AdaptingRule `yaml:"rule"`
	Theta  *float64              `yaml:"theta"`
	Period *time.Duration        `yaml:"period"`
	Knobs  []tiering.Knob        `yaml:"knobs"`
}

type source struct {
	Name       string   `yaml:"name,required"`
	URI        string   `yaml:"uri,required"`
	Node       *string  `yaml:"node"`
	FPS        *float64 `yaml:"fps"`
	Resolution *int     `yaml:"resolution"`
}

type task struct {
	Name      string           `yaml:"name,required"`
	Type      tiering.TaskType `yaml:"type,required"`
	Operation *string          `yaml:"operation"`
	Models    []model          `yaml:"models"`
	Backend   *backend         `yaml:"backend"`
	Resources resources        `yaml:"resources"`
	Store     bool             `yaml:"store"`
	Replicas  *int             `yaml:"replicas"`
	Settings  settings         `yaml:"settings"`
}

type model struct {
	Name        string `yaml:"name,required,short"`
	Resolutions []int  `yaml:"resolutions"`
	Replicas    *int   `yaml:"replicas"`
}

type backend struct {
	Name     string `yaml:"name,required,short"`
	Required bool   `yaml:"required"`
}

type resources struct {
	CPU    quantity.Cores `yaml:"cpu"`
	Memory quantity.Bytes `yaml:"memory"`
	Disk   quantity.Bytes `yaml:"disk"`
}

type settings struct {
	Retain  *int  `yaml:"retain"`
	Publish *bool `yaml:"publish"`

	Accuracy  *float64 `yaml:"accuracy"`
	Threshold *float64 `yaml:"threshold"`
}

type link struct {
	From      string            `yaml:"from,required"`
	To        string            `yaml:"to,required"`
	Transport tiering.Transport `yaml:"transport"`
	Encoding  tiering.Encoding  `yaml:"encoding"`
	Quality   *int              `yaml:"quality"`
}
