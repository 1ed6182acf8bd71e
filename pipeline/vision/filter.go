package vision

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/weft-mesh/weft/adaptation/filter"
	"github.com/weft-mesh/weft/pipeline"
)

// maxFiltered is of how many sources a filter keeps what it has learnt; a
// workflow has no more.
const maxFiltered = 1000

// Filter is the stage that lets no frame go further that hardly differs from the
// last one of its source that did. It leaves pictures as they are.
type Filter struct {
	params  filter.Params
	log     *slog.Logger
	sources map[string]*filtered
	turn    uint64

	mu     sync.Mutex
	heard  []heard                 // not taken in yet: as many as frames are on their way at most
	states map[string]filter.State // by source
}

// heard is what became of a sample.
type heard struct {
	of     *filtered
	seq    uint64
	sample *filter.Sample    // nil: it is only to be shown
	found  *pipeline.Finding // nil: nobody knows
}

// filtered is one source.
type filtered struct {
	epoch  uint32
	used   uint64
	source *filter.Source
	state  filter.State

	// shown is the newest finding that was heard of, of the frame since. It is
	// kept where it is known what frames show, to say how right it still is.
	shown *pipeline.Finding
	since uint64
}

// NewFilter returns the stage. An error is filter.ErrParams.
func NewFilter(p filter.Params, log *slog.Logger) (*Filter, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	return &Filter{params: p, log: log, sources: map[string]*filtered{}, states: map[string]filter.State{}}, nil
}

// Process returns pipeline.ErrFiltered of a frame that need not be analysed.
func (s *Filter) Process(_ context.Context, f *pipeline.Frame) error {
	img, err := Codec{}.Decode(f.Image)
	if err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	view, err := filter.NewView(img.Width, img.Height, img.Data)
	if err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	s.listen()
	x, err := s.of(f.ID)
	if err != nil {
		return err
	}
	pass, sample := x.source.Look(view, filter.Kind{Resolution: f.Quality, Model: f.Analyser})
	if state := x.source.State(); state != x.state {
		x.state = state
		s.tell(f.ID.Source, state)
		s.log.Info("filter has learnt", "source", f.ID.Source, "skips", state.Learnt, "threshold", state.Threshold,
			"accuracy_kept", state.Accuracy, "analysed", state.Analysed)
	}
	if !pass {
		if f.Truth != nil && x.shown != nil {
			f.Model, f.Detections = x.shown.Model, x.shown.Detections
		}
		return pipeline.ErrFiltered
	}
	if sample != nil || f.Truth != nil {
		f.Ask = true
		seq := f.ID.Seq
		f.Follow(func(o pipeline.Outcome) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.heard = append(s.heard, heard{x, seq, sample, o.Found})
		})
	}
	return nil
}

// of is the state of a frame's source, which begins anew when the source does.
func (s *Filter) of(id pipeline.FrameID) (*filtered, error) {
	s.turn++
	x := s.sources[id.Source]
	if x == nil || x.epoch != id.Epoch {
		source, err := filter.New(s.params)
		if err != nil {
			return nil, err
		}
		x = &filtered{epoch: id.Epoch, source: source, state: source.State()}
		if len(s.sources) >= maxFiltered {
			s.forget()
		}
		s.sources[id.Source] = x
		s.tell(id.Source, x.state)
	}
	x.used = s.turn
	return x, nil
}

// forget lets go of the source that had no frame for longest.
func (s *Filter) forget() {
	var oldest string
	for name, x := range s.sources {
		if oldest == "" || x.used < s.sources[oldest].used {
			oldest = name
		}
	}
	delete(s.sources, oldest)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.states, oldest)
}

// tell notes what a source's frames are filtered by, for Filters.
func (s *Filter) tell(source string, state filter.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states[source] = state
}

// Filters says what frames are filtered by, by source.
func (s *Filter) Filters() []pipeline.Filtering {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []pipeline.Filtering
	for _, name := range slices.Sorted(maps.Keys(s.states)) {
		x := s.states[name]
		out = append(out, pipeline.Filtering{Source: name, Threshold: x.Threshold, Skips: x.Learnt, Accuracy: x.Accuracy, Analysed: x.Analysed})
	}
	return out
}

// listen takes in what has become of samples. It is not done by whoever tells of
// it, which must not be held up.
func (s *Filter) listen() {
	s.mu.Lock()
	all := s.heard
	s.heard = nil
	s.mu.Unlock()
	for _, h := range all {
		if h.found != nil && h.seq > h.of.since {
			h.of.shown, h.of.since = h.found, h.seq
		}
		switch {
		case h.sample == nil:
		case h.found == nil:
			h.of.source.Missed(h.sample)
		default:
			h.of.source.Found(h.sample, h.found.Detections)
		}
	}
}
