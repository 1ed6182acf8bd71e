package testbed

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Link is one direction of a path between two nodes. Both directions of a
// path have the same properties and do not share them: each carries Rate.
type Link struct {
	Delay  time.Duration `json:"delay"`  // one way
	Jitter time.Duration `json:"jitter"` // a packet's delay is uniform in Delay ± Jitter; packets keep their order
	Rate   int64         `json:"rate"`   // bits a second; 0: unshaped
	Loss   float64       `json:"loss"`   // fraction of packets, 0–1, each independently
	Queue  int           `json:"queue"`  // packets that may wait for Rate; more are dropped
}

// Then is the path over l and then m, as one: delays add, the lower rate and
// shorter queue hold, what l loses does not reach m.
func (l Link) Then(m Link) Link {
	return Link{
		Delay: l.Delay + m.Delay, Jitter: l.Jitter + m.Jitter,
		Rate: slower(l.Rate, m.Rate), Loss: l.Loss + m.Loss - l.Loss*m.Loss,
		Queue: min(l.Queue, m.Queue),
	}
}

func slower(a, b int64) int64 {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// LinkChange changes some properties of a link; nil leaves one as it is.
type LinkChange struct {
	Delay  *time.Duration `json:"delay,omitempty"`
	Jitter *time.Duration `json:"jitter,omitempty"`
	Rate   *int64         `json:"rate,omitempty"`
	Loss   *float64       `json:"loss,omitempty"`
	Queue  *int           `json:"queue,omitempty"`
}

// Apply returns l with the change made.
func (c LinkChange) Apply(l Link) Link {
	set(&l.Delay, c.Delay)
	set(&l.Jitter, c.Jitter)
	set(&l.Rate, c.Rate)
	set(&l.Loss, c.Loss)
	set(&l.Queue, c.Queue)
	return l
}

// Then is the change that c and then d make.
func (c LinkChange) Then(d LinkChange) LinkChange {
	return LinkChange{
		Delay: cmp.Or(d.Delay, c.Delay), Jitter: cmp.Or(d.Jitter, c.Jitter),
		Rate: cmp.Or(d.Rate, c.Rate), Loss: cmp.Or(d.Loss, c.Loss), Queue: cmp.Or(d.Queue, c.Queue),
	}
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// String says what a change changes, for people: "3 Mbit/s, 20 ms".
func (c LinkChange) String() string {
	var parts []string
	if c.Rate != nil {
		parts = append(parts, FormatRate(*c.Rate))
	}
	if c.Delay != nil {
		parts = append(parts, "delay "+c.Delay.String())
	}
	if c.Jitter != nil {
		parts = append(parts, "jitter "+c.Jitter.String())
	}
	if c.Loss != nil {
		parts = append(parts, fmt.Sprintf("loss %.4g %%", *c.Loss*100))
	}
	if c.Queue != nil {
		parts = append(parts, fmt.Sprintf("queue %d", *c.Queue))
	}
	return strings.Join(parts, ", ")
}

// FormatRate formats bits a second: "30 Mbit/s".
func FormatRate(bits int64) string {
	switch {
	case bits == 0:
		return "unshaped"
	case bits >= 1e9:
		return short(float64(bits)/1e9) + " Gbit/s"
	case bits >= 1e6:
		return short(float64(bits)/1e6) + " Mbit/s"
	case bits >= 1e3:
		return short(float64(bits)/1e3) + " kbit/s"
	}
	return fmt.Sprintf("%d bit/s", bits)
}

// short formats a number with three decimals at most.
func short(x float64) string {
	return strconv.FormatFloat(math.Round(x*1000)/1000, 'f', -1, 64)
}
