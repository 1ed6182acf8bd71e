package pipeline

import "fmt"

// wireNote says of a settlement what nodes of before there were filters do not
// know: they skip it, and take a filtered frame for a delivered one.
type wireNote struct {
	At       int          `cbor:"1,keyasint"` // index of the settlement
	Filtered bool         `cbor:"2,keyasint,omitempty"`
	Model    string       `cbor:"3,keyasint,omitempty"` // empty: nothing is said of what was found
	Found    []wireObject `cbor:"4,keyasint,omitempty"`
}

// addNotes says the rest of what the settlements do.
func (h *controlHeader) addNotes(settlements []Settlement, findings bool) {
	for i, s := range settlements {
		n := wireNote{At: i, Filtered: s.Outcome.Reason == ReasonFiltered}
		if f := s.Outcome.Found; f != nil && findings {
			n.Model = f.Model
			for _, d := range f.Detections {
				n.Found = append(n.Found, objectOf(d))
			}
		}
		if n.Filtered || n.Model != "" {
			h.Notes = append(h.Notes, n)
		}
	}
}

// annotate adds what the notes say to the settlements.
func (h *controlHeader) annotate(settlements []Settlement) {
	for _, n := range h.Notes {
		o := &settlements[n.At].Outcome
		if n.Filtered {
			o.Reason = ReasonFiltered
		}
		if n.Model == "" {
			continue
		}
		o.Found = &Finding{Model: n.Model}
		for i := range n.Found {
			o.Found.Detections = append(o.Found.Detections, n.Found[i].detection())
		}
	}
}

func (h *controlHeader) checkNotes(l Limits) error {
	if n := len(h.Notes); n > len(h.Settlements) {
		return fmt.Errorf("%w: %d notes on %d settlements", ErrMalformed, n, len(h.Settlements))
	}
	last := -1
	for i := range h.Notes {
		n := &h.Notes[i]
		if n.At <= last || n.At >= len(h.Settlements) {
			return fmt.Errorf("notes[%d]: %w: on settlement %d of %d", i, ErrMalformed, n.At, len(h.Settlements))
		}
		last = n.At
		if n.Filtered && h.Settlements[n.At].Reason != ReasonNone {
			return fmt.Errorf("notes[%d]: %w: filtered, and %s", i, ErrMalformed, h.Settlements[n.At].Reason)
		}
		if err := checkName(n.Model); err != nil {
			return fmt.Errorf("notes[%d]: %w", i, err)
		}
		if len(n.Found) > l.Detections {
			return fmt.Errorf("notes[%d]: %w: %d detections, at most %d", i, ErrOversized, len(n.Found), l.Detections)
		}
		for k := range n.Found {
			if err := n.Found[k].check(); err != nil {
				return fmt.Errorf("notes[%d].found[%d]: %w", i, k, err)
			}
		}
	}
	return nil
}
