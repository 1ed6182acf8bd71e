package study

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/tiering"
)

// The document's own name and version.
const (
	APIVersion = "weft/v1"
	Kind       = "Study"
)

// What applies where the document is silent.
const (
	defaultRepeat    = 3
	defaultAgreement = 0.15
)

// document is the form of a study; study.schema.json describes it for editors,
// and a test keeps the two the same.
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
	Title       string           `yaml:"title"`
	Paper       *paperForm       `yaml:"paper"`
	Repeat      *int             `yaml:"repeat"`
	Experiments []experimentForm `yaml:"experiments,required"`
	Targets     []targetForm     `yaml:"targets"`
	Figures     []figureForm     `yaml:"figures"`
	Agreement   *share           `yaml:"agreement"`
	Remarks     []string         `yaml:"remarks"`
	Runs        []runForm        `yaml:"runs,required"`
}

type paperForm struct {
	Cite     string        `yaml:"cite,required"`
	Duration time.Duration `yaml:"duration,required"`
}

type experimentForm struct {
	Name      string               `yaml:"name,required"`
	About     string               `yaml:"about"`
	Sources   amount               `yaml:"sources"`
	Adapt     tiering.AdaptingRule `yaml:"adapt,required"`
	Knobs     []tiering.Knob       `yaml:"knobs"`
	Published *publishedForm       `yaml:"published"`
}

type publishedForm struct {
	Makespan *time.Duration `yaml:"makespan"`
	F1       *float64       `yaml:"f1"`
}

type targetForm struct {
	Experiment string   `yaml:"experiment,required"`
	Against    string   `yaml:"against,required"`
	Runs       []string `yaml:"runs"`
	Makespan   *change  `yaml:"makespan"`
	F1         *float64 `yaml:"f1"`
	Aim        *aimForm `yaml:"aim"`
}

type aimForm struct {
	Makespan *change  `yaml:"makespan"`
	F1       *float64 `yaml:"f1"`
}

type figureForm struct {
	Name        string   `yaml:"name,required"`
	Title       string   `yaml:"title,required"`
	Shows       Shown    `yaml:"shows,required"`
	Experiments []string `yaml:"experiments,required"`
}

type runForm struct {
	Name        string   `yaml:"name,required"`
	Title       string   `yaml:"title"`
	About       string   `yaml:"about"`
	Scenario    string   `yaml:"scenario,required"`
	Method      string   `yaml:"method,required"`
	Experiments []string `yaml:"experiments"`
}

// amount reads a number of sources, or all as 0.
type amount int

// UnmarshalText reads an amount.
func (a *amount) UnmarshalText(text []byte) error {
	if string(text) == "all" {
		*a = 0
		return nil
	}
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 1 {
		return fmt.Errorf("%q: want all, or how many of the scenario's sources", text)
	}
	*a = amount(n)
	return nil
}

// change reads by which share something may change: -54.4% or 0.05.
type change float64

// UnmarshalText reads a change.
func (c *change) UnmarshalText(text []byte) error {
	x, ok := fraction(string(text))
	if !ok || x <= -1 {
		return fmt.Errorf("%q: want by which share it may change, such as -54.4%% or +5%%", text)
	}
	*c = change(x)
	return nil
}

// share reads a share above 0: 15% or 0.15.
type share float64

// UnmarshalText reads a share.
func (s *share) UnmarshalText(text []byte) error {
	x, ok := fraction(string(text))
	if !ok || x <= 0 {
		return fmt.Errorf("%q: want a share above 0, such as 15%%", text)
	}
	*s = share(x)
	return nil
}

// fraction reads 5%, -54.4% or 0.05.
func fraction(text string) (float64, bool) {
	number, percent := strings.CutSuffix(text, "%")
	x, ok := decimal(strings.TrimSpace(number))
	if percent {
		x /= 100
	}
	return x, ok
}

// decimal reads a number in plain decimal notation.
func decimal(text string) (float64, bool) {
	const most = 24 // characters; a float64 has no more to say
	if len(text) > most || strings.Trim(text, "+-.0123456789") != "" {
		return 0, false
	}
	x, err := strconv.ParseFloat(text, 64)
	return x, err == nil
}

// or returns what was given, or else the default.
func or[T any](given *T, otherwise T) T {
	if given != nil {
		return *given
	}
	return otherwise
}
