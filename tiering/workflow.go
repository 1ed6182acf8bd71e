package tiering

import (
	"slices"
	"time"
)

// TaskType is what a user says of a task (Houmani et al., section VI-A:
// "users need to specify … the type of each task").
type TaskType string

// The task types.
const (
	Preprocess   TaskType = "preprocess"
	ShallowModel TaskType = "shallow-model"
	DeepModel    TaskType = "deep-model"
	Postprocess  TaskType = "postprocess"
)

// Rank says how near to the result tasks of a type are: those with more finish what
// the others have begun. Two in a row of one type are equally near.
func (t TaskType) Rank() int {
	switch t {
	case Preprocess:
		return 0
	case Postprocess:
		return 2
	}
	return 1
}

// OperationFilter passes frames on as they are, or not at all.
const OperationFilter = "filter"

// Category is how much a task asks of its node (Houmani et al., VI-A).
type Category string

// The categories.
const (
	NI Category = "NI" // non-intensive: takes what is free, also on the edge
	LI Category = "LI" // low-intensive: fog first, then cloud
	HI Category = "HI" // high-intensive: cloud first, then fog
)

// Intensive reports whether tasks of the category reserve resources and must
// stay off the edge.
func (c Category) Intensive() bool { return c == LI || c == HI }

// Transport is how frames travel between two nodes.
type Transport string

// The transports.
const (
	QUIC Transport = "quic"
	MQTT Transport = "mqtt"
)

// Encoding is how pictures travel between two nodes; inside a node they are
// passed on as they are.
type Encoding string

// The encodings.
const (
	JPEG Encoding = "jpeg"
	PNG  Encoding = "png" // lossless
	Raw  Encoding = "raw" // 8-bit BGR
)

// Fit is how a picture is brought to a detector's input.
type Fit string

// The fits.
const (
	Stretch   Fit = "stretch"   // to resolution × resolution, aspect ratio lost
	Letterbox Fit = "letterbox" // longer side to resolution, aspect ratio kept
)

// Workflow is a submitted workflow with every choice of its document
// expanded: one Task for each model and resolution offered. Tasks are in
// topological order. It is immutable once made.
type Workflow struct {
	Name       string     `json:"name"`
	Sources    []Source   `json:"sources"`
	Tasks      []Task     `json:"tasks"`
	Links      []Link     `json:"links"`
	Objectives Objectives `json:"objectives"`
	// Adapting says how the quality of its sources is adapted; nil: as by
	// DefaultAdapting.
	Adapting *Adapting `json:"adapting,omitempty"`
}

// Source is a producer of frames.
type Source struct {
	Name string `json:"name"`
	// URI says where frames come from: video:PATH, images:DIR, rtsp://…,
	// http(s)://…, v4l2:DEVICE, videotest:, street:, mqtt:TOPIC. Options are
	// query parameters (?loop=true&start=10s).
	URI string `json:"uri"`
	// Node names the node that the source is attached to; empty: any edge
	// node.
	Node string `json:"node,omitempty"`
	// FPS limits the frame rate; 0: the source's own.
	FPS float64 `json:"fps,omitempty"`
	// Resolution is the quality at which the source's frames are analysed;
	// one that the workflow's analysis tasks offer.
	Resolution int `json:"resolution"`
}

// Model is one detector at one input resolution.
type Model struct {
	Name       string `json:"name"` // in the catalogue
	Family     string `json:"family"`
	Resolution int    `json:"resolution"` // pixels, square input
	Fit        Fit    `json:"fit"`
	// Measured is how accurate the model is known to be, at any resolutions.
	Measured []Accuracy `json:"measured,omitempty"`
	// Rates is what of it is known to be left with fewer frames analysed; none:
	// nobody measured that.
	Rates []Rate `json:"rates,omitempty"`
}

// Rate is what is left of a model's accuracy at a frame rate, where the last
// detections are seen until the next ones.
type Rate struct {
	FPS  float64 `json:"fps"`  // frames analysed a second
	Kept float64 `json:"kept"` // the share of F1, 0–1
}

// Accuracy is a measured accuracy.
type Accuracy struct {
	Resolution int     `json:"resolution"`
	F1         float64 `json:"f1"` // IoU ≥ 0.5 and right label
}

// Backend is what runs a detector.
type Backend struct {
	Name     string `json:"name"`     // "cpu", "cuda"
	Required bool   `json:"required"` // fall-back to another is an error
}

// Task is one step of a workflow, at one model and resolution.
type Task struct {
	Name  string   `json:"name"`  // unique in the workflow: "resize", "detect@512"
	Group string   `json:"group"` // the document's name for it: "detect"
	Type  TaskType `json:"type"`
	// Operation is what an agent runs: "filter", "resize", "detect", "draw".
	Operation string    `json:"operation"`
	Model     *Model    `json:"model,omitempty"` // analysis tasks only
	Backend   Backend   `json:"backend"`
	Request   Resources `json:"request"`
	Platform  string    `json:"platform,omitempty"` // required processor type; empty: any
	Store     bool      `json:"store"`              // manages its own store: HI
	Replicas  int       `json:"replicas"`           // instances wanted, at least 1
	// Settings are the operation's own: "retain" and "publish" of draw,
	// "accuracy" and "threshold" of filter.
	Settings map[string]string `json:"settings,omitempty"`
}

// Link joins two steps by the document's names: From is a source or a task
// group, To is a task group.
type Link struct {
	From      string    `json:"from"`
	To        string    `json:"to"`
	Transport Transport `json:"transport"`
	Encoding  Encoding  `json:"encoding"`
	Quality   int       `json:"quality"` // JPEG quality, 1–100
}

// Objectives are what the user asks of the workflow.
type Objectives struct {
	MinAccuracy float64       `json:"min_accuracy"` // F1, 0–1
	Deadline    time.Duration `json:"deadline"`     // per frame, capture to result
}

// Adapting says how the quality of a workflow's sources is adapted (package
// adaptation/quality).
type Adapting struct {
	Rule   AdaptingRule  `json:"rule"`
	Theta  float64       `json:"theta"` // Θ: accuracy that a second of latency is worth
	Period time.Duration `json:"period"`
	Knobs  []Knob        `json:"knobs"` // what of a quality may change
}

// AdaptingRule is how a distribution of qualities is chosen.
type AdaptingRule string

// The rules.
const (
	AdaptUtility AdaptingRule = "utility" // Houmani et al., equations 5 and 6
	AdaptFastest AdaptingRule = "fastest" // their Algorithm 1
	AdaptOff     AdaptingRule = "off"
)

// Knob is a part of a quality.
type Knob string

// The knobs.
const (
	KnobResolution Knob = "resolution"
	KnobRate       Knob = "rate"
	KnobModel      Knob = "model"
)

// DefaultAdapting is what holds for a workflow that does not say.
func DefaultAdapting() Adapting {
	return Adapting{Rule: AdaptUtility, Theta: 0.2, Period: 10 * time.Second, Knobs: []Knob{KnobResolution}}
}

// Predecessors returns the names (sources or groups) that feed the group, in
// the order of the links.
func (w *Workflow) Predecessors(group string) []string {
	var out []string
	for _, l := range w.Links {
		if l.To == group {
			out = append(out, l.From)
		}
	}
	return out
}

// feeders are the sources whose frames come to a group at once, or through
// filters, which pass them on as they are.
func (w *Workflow) feeders(group string) []*Source {
	sources := make(map[string]*Source, len(w.Sources)) // there may be a thousand
	for i := range w.Sources {
		sources[w.Sources[i].Name] = &w.Sources[i]
	}
	var out []*Source
	var follow func(group string)
	follow = func(group string) {
		for _, name := range w.Predecessors(group) {
			if src, ok := sources[name]; ok {
				out = append(out, src)
				delete(sources, name) // each once
			} else if w.filters(name) {
				follow(name)
			}
		}
	}
	follow(group)
	return out
}

func (w *Workflow) filters(group string) bool {
	return slices.ContainsFunc(w.Tasks, func(t Task) bool { return t.Group == group && t.Operation == OperationFilter })
}

// Source returns the source of that name.
func (w *Workflow) Source(name string) (*Source, bool) {
	for i := range w.Sources {
		if w.Sources[i].Name == name {
			return &w.Sources[i], true
		}
	}
	return nil, false
}

// Task returns the task of that name.
func (w *Workflow) Task(name string) (*Task, bool) {
	for i := range w.Tasks {
		if w.Tasks[i].Name == name {
			return &w.Tasks[i], true
		}
	}
	return nil, false
}
