package tiering

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrNoOffer reports that no running instance takes the data.
var ErrNoOffer = errors.New("no instance takes the data")

// Discover chooses the instance that a frame goes to (Houmani et al., section
// VI-D): of the offers of one group those that accept the data, by type,
// format and resolution, and of these the nearest: on the same node, else by
// round trip where it is known, then by tier. Those within a millisecond of the
// nearest are as near, and equals take turns: turn is a number that the caller
// counts up. rtt may be nil.
//
// The error wraps ErrNoOffer and says what was wanted and what is on offer.
func Discover(want Data, fromNode string, fromTier Tier, offers []Offer, rtt RoundTrips, turn uint64) (Offer, error) {
	if o := plain(want, fromNode, offers, turn); o != nil {
		return *o, nil
	}
	near := nearest(want, fromNode, fromTier, offers, rtt)
	if len(near) == 0 {
		return Offer{}, noOffer(want, offers)
	}
	return *near[turn%uint64(len(near))].offer, nil
}

// Nearest returns the offers that take turns when Discover is asked: the others
// get no data from there.
func Nearest(want Data, fromNode string, fromTier Tier, offers []Offer, rtt RoundTrips) []Offer {
	var out []Offer
	for _, r := range nearest(want, fromNode, fromTier, offers, rtt) {
		out = append(out, *r.offer)
	}
	return out
}

// reach is how far away an offer is.
type reach struct {
	offer                     *Offer
	apart, unknown, rtt, tier int64
}

func nearest(want Data, fromNode string, fromTier Tier, offers []Offer, rtt RoundTrips) []reach {
	near := make([]reach, 0, 16)
	for i := range offers {
		o := &offers[i]
		if !o.Accepts.takes(want) {
			continue
		}
		r := reach{offer: o}
		if o.Node != fromNode {
			r.apart, r.unknown, r.tier = 1, 1, int64(Distance(fromTier, o.Tier))
			if rtt != nil {
				if d, ok := rtt(fromNode, o.Node); ok {
					r.unknown, r.rtt = 0, int64(d)
				}
			}
		}
		near = append(near, r)
	}
	if len(near) == 0 {
		return nil
	}
	near = least(near, 0, func(r *reach) int64 { return r.apart })
	near = least(near, 0, func(r *reach) int64 { return r.unknown })
	near = least(near, int64(nearSlack), func(r *reach) int64 { return r.rtt })
	return least(near, 0, func(r *reach) int64 { return r.tier })
}

// plain is Discover where no distance has to be looked up, which is where most
// frames go: to instances on the same node, or to the only one there is. It
// allocates nothing. Nil: there is more to it.
func plain(want Data, fromNode string, offers []Offer, turn uint64) *Offer {
	var (
		only        *Offer
		taking      int
		here, which uint64
	)
	for i := range offers {
		if o := &offers[i]; o.Accepts.takes(want) {
			only = o
			taking++
			if o.Node == fromNode {
				here++
			}
		}
	}
	if here == 0 {
		if taking == 1 {
			return only
		}
		return nil
	}
	which = turn % here
	for i := range offers {
		o := &offers[i]
		if o.Node != fromNode || !o.Accepts.takes(want) {
			continue
		}
		if which == 0 {
			return o
		}
		which--
	}
	return nil
}

// takes reports whether an offer of d accepts the wanted data. An empty format
// or model on either side is any; a resolution must be equal, 0 in the offer is
// any.
func (d Data) takes(want Data) bool {
	return d.Type == want.Type &&
		(d.Format == "" || want.Format == "" || d.Format == want.Format) &&
		(d.Model == "" || want.Model == "" || d.Model == want.Model) &&
		(d.Resolution == 0 || d.Resolution == want.Resolution)
}

// String says what the data are: "image jpeg at 512 for yolox-nano".
func (d Data) String() string {
	s := d.Type
	if d.Format != "" {
		s += " " + d.Format
	}
	if d.Resolution == 0 {
		s += " at any resolution"
	} else {
		s += fmt.Sprintf(" at %d", d.Resolution)
	}
	if d.Model != "" {
		s += " for " + d.Model
	}
	return s
}

func noOffer(want Data, offers []Offer) error {
	if len(offers) == 0 {
		return fmt.Errorf("%w: %v is wanted and no instance is running", ErrNoOffer, want)
	}
	var on []string
	for i := range offers {
		if s := offers[i].Accepts.String(); !slices.Contains(on, s) {
			on = append(on, s)
		}
	}
	return fmt.Errorf("%w: %v is wanted, on offer is %s", ErrNoOffer, want, strings.Join(on, ", "))
}
