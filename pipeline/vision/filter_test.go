package vision

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/weft-mesh/weft/adaptation/filter"
	"github.com/weft-mesh/weft/models/street"
	"github.com/weft-mesh/weft/pipeline"
)

// streetFrames are frames of a made street with what is in them.
func streetFrames(t *testing.T, o street.Options, epoch uint32, n int) (frames []*pipeline.Frame, truth [][]pipeline.Detection) {
	t.Helper()
	s, err := street.New(o)
	if err != nil {
		t.Fatal(err)
	}
	o = s.Options()
	for i := range n {
		img := pipeline.Image{Format: pipeline.BGR, Width: o.Width, Height: o.Height, Data: make([]byte, s.Bytes())}
		var found []pipeline.Detection
		for _, x := range s.RenderAt(uint64(i+1), img.Data) {
			found = append(found, pipeline.Detection{Label: x.Class.String(), Score: 1, Box: pipeline.Box(x.Box)})
		}
		frames = append(frames, &pipeline.Frame{
			ID:    pipeline.FrameID{Workflow: "w", Source: fmt.Sprint(o.Seed), Epoch: epoch, Seq: uint64(i + 1)},
			Image: img, Quality: 512, SourceWidth: o.Width, SourceHeight: o.Height,
		})
		truth = append(truth, found)
	}
	return frames, truth
}

// passed has a filter look at frames that are analysed by whoever knows what is in
// them, and says how many of them pass.
func passed(t *testing.T, s *Filter, frames []*pipeline.Frame, truth [][]pipeline.Detection) (n int) {
	t.Helper()
	for i, f := range frames {
		settled := 0
		f.OnSettle(func(pipeline.Outcome) { settled++ })
		switch err := s.Process(t.Context(), f); {
		case err == nil:
			n++
			o := pipeline.Outcome{Stage: "draw"}
			if f.Ask {
				o.Found = &pipeline.Finding{Model: "street", Detections: truth[i]}
			}
			f.Settle(o)
		case errors.Is(err, pipeline.ErrFiltered):
			if f.Ask {
				t.Fatalf("frame %d asks, and is filtered", i)
			}
			f.Settle(pipeline.Outcome{Reason: pipeline.ReasonFiltered})
		default:
			t.Fatal(err)
		}
		if settled != 1 {
			t.Fatalf("frame %d was settled %d times", i, settled)
		}
	}
	return n
}

// An empty street is hardly looked at; one with traffic is. Each source has its
// own threshold, and learns anew when it starts again.
func TestFilterOfStreets(t *testing.T) {
	s, err := NewFilter(filter.Params{Accuracy: 0.95}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	const n = 120
	small := street.Options{Width: 320, Height: 240, FPS: 10}
	small.Seed = 10 // where nothing moves for a while
	empty, nothing := streetFrames(t, small, 1, n)
	small.Seed, small.Density = 7, 200
	busy, traffic := streetFrames(t, small, 1, n)
	if got := passed(t, s, empty, nothing); got > 0.8*n {
		t.Errorf("%d of %d frames of an empty street pass", got, n)
	}
	if got := passed(t, s, busy, traffic); got < 0.8*n {
		t.Errorf("%d of %d frames of a busy street pass", got, n)
	}
	said := s.Filters()
	if len(said) != 2 || said[0].Source != "10" || !said[0].Skips || said[1].Threshold <= 0 || said[0].Accuracy < 0.95 || said[0].Analysed <= 0 || said[0].Analysed > 0.5 || said[1].Source != "7" {
		t.Errorf("they are filtered by %+v", said)
	}
	small.Seed, small.Density = 10, 0
	again, nothing := streetFrames(t, small, 2, 48)
	if got := passed(t, s, again, nothing); got != 48 {
		t.Errorf("%d of 48 frames pass after a new start", got)
	}
	if said := s.Filters(); len(said) != 2 || said[0].Source != "10" || said[0].Accuracy == 0 && said[0].Skips {
		t.Errorf("after a new start they are filtered by %+v", said)
	}
	if len(s.sources) != 2 || len(s.heard) > 1 {
		t.Errorf("%d sources and %d answers are kept", len(s.sources), len(s.heard))
	}
}

// Frames come as pictures of any kind, and go as they came.
func TestFilterLeavesPicturesAlone(t *testing.T) {
	s, err := NewFilter(filter.Params{Threshold: 0.1}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	frames, _ := streetFrames(t, street.Options{Seed: 1, Width: 320, Height: 240}, 1, 1)
	jpeg, err := Codec{}.Encode(frames[0].Image, "jpeg", 90)
	if err != nil {
		t.Fatal(err)
	}
	f := frames[0]
	f.Image = jpeg
	if err := s.Process(t.Context(), f); err != nil || f.Image.Format != pipeline.JPEG || &f.Image.Data[0] != &jpeg.Data[0] || f.Ask {
		t.Errorf("%v: %s, asks: %t", err, f.Image.Format, f.Ask)
	}
	if err := s.Process(t.Context(), f); !errors.Is(err, pipeline.ErrFiltered) || f.Model != "" {
		t.Errorf("the same again: %v", err)
	}
	if said, want := s.Filters(), (pipeline.Filtering{Source: "1", Threshold: 0.1, Skips: true}); len(said) != 1 || said[0] != want {
		t.Errorf("filtered by %+v, want %+v", said, want)
	}
	f.Image.Data = f.Image.Data[:40]
	if err := s.Process(t.Context(), f); err == nil || errors.Is(err, pipeline.ErrFiltered) {
		t.Errorf("half a picture: %v", err)
	}
}

// Where it is known what frames show, a filtered one has what is shown in its
// place: the newest that was found, and heard of.
func TestFilterSaysWhatIsShown(t *testing.T) {
	s, err := NewFilter(filter.Params{Threshold: 1}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	frames, _ := streetFrames(t, street.Options{Seed: 1, Width: 320, Height: 240}, 1, 40)
	var asked []*pipeline.Frame
	told := 0
	for i, f := range frames {
		f.Truth = []pipeline.Truth{}
		switch err := s.Process(t.Context(), f); {
		case err == nil && f.Ask:
			asked = append(asked, f)
		case err == nil || !errors.Is(err, pipeline.ErrFiltered):
			t.Fatalf("frame %d: %v, asks: %t", i, err, f.Ask)
		case told == 0 && f.Model != "" || told > 0 && (len(f.Detections) != 1 || f.Detections[0].Label != fmt.Sprint(told)):
			t.Errorf("frame %d shows %v of %q, want what was found in frame %d", i, f.Detections, f.Model, told)
		}
		if i%16 == 5 { // later ones first: what is old is not shown any more
			for k := len(asked) - 1; k >= 0; k-- {
				seq := asked[k].ID.Seq
				told = max(told, int(seq))
				asked[k].Settle(pipeline.Outcome{Found: &pipeline.Finding{Model: "street", Detections: []pipeline.Detection{{Label: fmt.Sprint(seq)}}}})
			}
		}
	}
	if len(asked) != 3 {
		t.Errorf("%d frames passed, want one in 16", len(asked))
	}
}

// What is kept is bounded, whatever sources frames say they are of.
func TestFilterForgets(t *testing.T) {
	s, err := NewFilter(filter.Params{Accuracy: 0.9}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	f := &pipeline.Frame{Image: pipeline.Image{Format: pipeline.BGR, Width: 1, Height: 1, Data: make([]byte, 3)}}
	for i := range maxFiltered + 50 {
		f.ID.Source = fmt.Sprint(i)
		if err := s.Process(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		f.ID.Source = "0" // which is seen again and again
		if err := s.Process(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := s.sources["0"]; !ok || len(s.sources) != maxFiltered {
		t.Errorf("%d sources are kept, the busiest: %t", len(s.sources), ok)
	}
	if _, err := NewFilter(filter.Params{Accuracy: 2}, nil); !errors.Is(err, filter.ErrParams) {
		t.Errorf("an accuracy of 2: %v", err)
	}
}
