package adapter

import (
	"slices"
	"testing"
	"time"

	"github.com/weft-mesh/weft/tiering"
)

// Sources are as old as the document has them, not as their names sort.
func TestCome(t *testing.T) {
	mind := &workflow{}
	start := time.Unix(1000, 0)
	come := func(after time.Duration, names ...string) (byAge []string) {
		w := &tiering.Workflow{}
		for _, n := range names {
			w.Sources = append(w.Sources, tiering.Source{Name: n})
		}
		mind.come(w, start.Add(after))
		slices.SortFunc(names, func(a, b string) int { return mind.joined[a].Compare(mind.joined[b]) })
		return names
	}
	for _, step := range []struct{ doc, want []string }{
		{[]string{"cam-9", "cam-8"}, []string{"cam-9", "cam-8"}},
		{[]string{"cam-10", "cam-8", "cam-9"}, []string{"cam-9", "cam-8", "cam-10"}},
		{[]string{"cam-10", "cam-8"}, []string{"cam-8", "cam-10"}},
		{[]string{"cam-9", "cam-10", "cam-8"}, []string{"cam-8", "cam-10", "cam-9"}}, // it came back
	} {
		if got := come(time.Hour, slices.Clone(step.doc)...); !slices.Equal(got, step.want) {
			t.Errorf("%v: by age %v, want %v", step.doc, got, step.want)
		}
		start = start.Add(time.Minute)
	}
	if len(mind.joined) != 3 {
		t.Errorf("remembers %v", mind.joined)
	}
}
