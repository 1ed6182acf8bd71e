package tiering

import (
	"fmt"
	"hash/fnv"
)

// Quality is one way to analyse a source's frames.
type Quality struct {
	Model      string `json:"model"`
	Resolution int    `json:"resolution"` // pixels, square
	Every      int    `json:"every"`      // one captured frame in Every is analysed; 1: all
}

// String returns "street@416", or "street@416 1/2" if every second frame is
// analysed.
func (q Quality) String() string {
	if q.Every == 1 {
		return fmt.Sprintf("%s@%d", q.Model, q.Resolution)
	}
	return fmt.Sprintf("%s@%d 1/%d", q.Model, q.Resolution, q.Every)
}

// Phase is how many frames a source passes over before the first one that is
// analysed. Cameras whose frames come at the same moments, and of which each skips
// some, would otherwise all analyse the same ones: bursts for which queues are
// too short.
func (q Quality) Phase(source string) int {
	if q.Every <= 1 {
		return 0
	}
	h := fnv.New32a() // its lowest bits tell names apart that end in different digits
	_, _ = h.Write([]byte(source))
	return int(h.Sum32() % uint32(q.Every))
}

// Adaptation is what was decided of the sources of a workflow (package
// adaptation/quality). A source that is in neither map has what its document
// says.
type Adaptation struct {
	Qualities map[string]Quality `json:"qualities,omitempty"` // by source
	Held      map[string]string  `json:"held,omitempty"`      // by source: why no frames of it are taken in
}

// source says what a source is to do, in dst.
func (a *Adaptation) source(dst *Assignment) {
	if a == nil {
		return
	}
	src := *dst.Source
	dst.Held = a.Held[src.Name]
	if q, ok := a.Qualities[src.Name]; ok {
		// Agents of before there was adaptation know the resolution only.
		src.Resolution = q.Resolution
		dst.Source, dst.Quality = &src, &q
	}
}
