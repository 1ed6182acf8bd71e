package pipeline

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// drawnHistogram has recorded n durations of a wide spread.
func drawnHistogram(r *rand.Rand, n int) *Histogram {
	h := NewHistogram()
	for range n {
		h.Record(time.Duration(math.Exp(r.NormFloat64()*3+10)) * time.Microsecond)
	}
	return h
}

// What is written is what the library writes: it reads the same from both.
func TestHistogramEncoding(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	most := NewHistogram()
	most.h.RecordValues(histogramMax, 1<<40)
	most.h.RecordValues(histogramMin, 1<<54)
	all := []*Histogram{NewHistogram(), most}
	for n := range 200 {
		all = append(all, drawnHistogram(r, n*n/8))
	}
	for _, h := range all {
		text, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		var ours string
		if err := json.Unmarshal(text, &ours); err != nil {
			t.Fatal(err)
		}
		theirs, err := h.h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		if err != nil {
			t.Fatal(err)
		}
		a, err := hdrhistogram.Decode([]byte(ours))
		if err != nil {
			t.Fatalf("%d durations: the library does not read %s: %v", h.Count(), ours, err)
		}
		b, err := hdrhistogram.Decode(theirs)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a.Export(), b.Export()) || !a.Equals(h.h) || h.Count() > 0 && ours != string(theirs) {
			t.Fatalf("%d durations are %s, and read otherwise than the library's %s", h.Count(), ours, theirs)
		}
	}
}

// BenchmarkHistogramEncoding sets ours beside the library's.
func BenchmarkHistogramEncoding(b *testing.B) {
	h := drawnHistogram(rand.New(rand.NewPCG(1, 2)), 300)
	b.Run("ours", func(b *testing.B) {
		for b.Loop() {
			text, err := h.MarshalJSON()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(len(text)), "bytes")
		}
	})
	b.Run("library", func(b *testing.B) {
		for b.Loop() {
			text, err := h.Clone().h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(len(text)), "bytes")
		}
	})
}
