package pipeline

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
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
	b, err := encode(h.Clone().h.Export())
	if err != nil {
		return nil, fmt.Errorf("encode histogram: %w", err)
	}
	return json.Marshal(base64.StdEncoding.EncodeToString(b))
}

// Cookies of HdrHistogram's V2 format, with the word size of its counts.
const (
	cookieV2           = uint32(hdrhistogram.V2EncodingCookieBase | 0x10)
	cookieV2Compressed = uint32(hdrhistogram.V2CompressedEncodingCookieBase | 0x10)
)

// compressors are kept, since making one takes 800 kB: agents report their
// histograms every second.
var compressors = sync.Pool{New: func() any {
	w, _ := zlib.NewWriterLevel(io.Discard, zlib.BestCompression) // the level is valid
	return w
}}

// encode writes the V2 compressed format, to the byte as the library's Encode does,
// but with a compressor that is used again. The library decodes it.
func encode(h *hdrhistogram.Snapshot) ([]byte, error) {
	var counts []byte
	for i := 0; i < len(h.Counts); {
		n := i
		for n < len(h.Counts) && h.Counts[n] == 0 {
			n++
		}
		switch zeros := n - i; {
		case n == len(h.Counts): // none at the end
			i = n
		case zeros > 1:
			counts = binary.AppendVarint(counts, int64(-zeros))
			i = n
		default:
			counts = binary.AppendVarint(counts, h.Counts[i])
			i++
		}
	}
	be := binary.BigEndian
	plain := be.AppendUint32(nil, cookieV2)
	plain = be.AppendUint32(plain, uint32(len(counts)))
	plain = be.AppendUint32(plain, 0) // offset of the counts
	plain = be.AppendUint32(plain, uint32(h.SignificantFigures))
	plain = be.AppendUint64(plain, uint64(h.LowestTrackableValue))
	plain = be.AppendUint64(plain, uint64(h.HighestTrackableValue))
	plain = be.AppendUint64(plain, math.Float64bits(1)) // a value's unit
	plain = append(plain, counts...)

	var out bytes.Buffer
	out.Write(make([]byte, 8))
	w := compressors.Get().(*zlib.Writer)
	defer compressors.Put(w)
	w.Reset(&out)
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	b := out.Bytes()
	be.PutUint32(b, cookieV2Compressed)
	be.PutUint32(b[4:], uint32(len(b)-8))
	return b, nil
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
