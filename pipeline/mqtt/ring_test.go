package mqtt

import (
	"testing"

	"pgregory.net/rapid"
)

// A ring is a queue that forgets the oldest beyond its limit.
func TestRing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 5).Draw(t, "limit")
		r := newRing[int](limit)
		var model []int
		next := 1
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				old, full := r.push(next)
				model = append(model, next)
				next++
				if want := len(model) > limit; full != want || want && old != model[0] {
					t.Fatalf("gave way: %d, %v, want %v of %v", old, full, want, model)
				}
				model = model[max(0, len(model)-limit):]
			},
			"pop": func(t *rapid.T) {
				v, ok := r.pop()
				if ok != (len(model) > 0) || ok && v != model[0] {
					t.Fatalf("popped %d, %v from %v", v, ok, model)
				}
				model = model[min(1, len(model)):]
			},
			"clear": func(t *rapid.T) {
				if n := r.clear(); n != len(model) {
					t.Fatalf("cleared %d of %v", n, model)
				}
				model = nil
			},
			"": func(t *rapid.T) {
				kept := 0
				for _, v := range r.items {
					if v != 0 {
						kept++
					}
				}
				if r.n != len(model) || kept != len(model) {
					t.Fatalf("holds %d and keeps alive %d, want %d", r.n, kept, len(model))
				}
			},
		})
	})
}
