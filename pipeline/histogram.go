package pipeline

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The range and precision of a Histogram.
const (
	histogramMin    = int64(1) // microseconds
	histogramMax    = int64(10 * time.Minute / time.Microsecond)
	histogramDigits = 2
)

// Histogram records durations with two significant digits between 1 µs and
// 10 minutes (values outside are recorded as the nearest limit), can be merged
// with others, and travels as a compressed string (HdrHistogram V2, base64).
// It is safe for concurrent use; a nil Histogram is empty.
type Histogram struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram
}

// NewHistogram returns an empty histogram.
func NewHistogram() *Histogram {
	return &Histogram{h: hdrhistogram.New(histogramMin, histogramMax, histogramDigits)}
}

// Record adds one duration.
func (h *Histogram) Record(d time.Duration) {
	v := min(max(int64(d/time.Microsecond), histogramMin), histogramMax)
	h.mu.Lock()
	defer h.mu.Unlock()
	_ = h.h.RecordValue(v) // v is within range
}

// Count is the number of durations recorded.
func (h *Histogram) Count() int64 {
	if h == nil {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.h.TotalCount()
}

// Quantile is the duration that the fraction q (0–1) of all recorded durations
// do not exceed; 0 when there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h == nil {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.h.TotalCount() == 0 {
		return 0
	}
	return time.Duration(h.h.ValueAtQuantile(q*100)) * time.Microsecond
}

// Mean is the mean of all recorded durations; 0 when there are none.
func (h *Histogram) Mean() time.Duration {
	if h == nil {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.h.TotalCount() == 0 {
		return 0
	}
	return time.Duration(h.h.Mean() * float64(time.Microsecond))
}

// Merge adds everything that other recorded.
func (h *Histogram) Merge(other *Histogram) {
	if other == nil {
		return
	}
	c := other.Clone()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.h.Merge(c.h)
}

// Clone returns a copy that no longer changes with h.
func (h *Histogram) Clone() *Histogram {
	if h == nil {
		return NewHistogram()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return &Histogram{h: h.h.Clone()}
}

// Since returns what h has recorded beyond earlier, a former state of it; all
// of h if earlier is not one, as when counting began anew.
func (h *Histogram) Since(earlier *Histogram) *Histogram {
	now := h.Clone()
	if earlier.Count() == 0 {
		return now
	}
	more, then := now.h.Export(), earlier.Clone().h.Export()
	for i, n := range then.Counts {
		if more.Counts[i] -= n; more.Counts[i] < 0 {
			return now
		}
	}
	return &Histogram{h: hdrhistogram.Import(more)}
}

// MarshalJSON encodes the histogram as a string.
func (h *Histogram) MarshalJSON() ([]byte, error) {
	c := h.Clone()
	b, err := c.h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return nil, fmt.Errorf("encode histogram: %w", err)
	}
	return json.Marshal(string(b))
}

// UnmarshalJSON decodes what MarshalJSON encoded.
func (h *Histogram) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("decode histogram: %w", err)
	}
	d, err := hdrhistogram.Decode([]byte(s))
	if err != nil {
		return fmt.Errorf("decode histogram: %w", err)
	}
	n := NewHistogram()
	n.h.Merge(d)
	h.h = n.h
	return nil
}
