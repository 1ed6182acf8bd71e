package live

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// While costs are measured every source keeps its resolution, or a detector
// that adaptation leaves without frames would hold up everything.
func TestCalibrationIsNotAdapted(t *testing.T) {
	for name, want := range map[string]*tiering.Adapting{"adaptation-small.yaml": {Rule: tiering.AdaptOff}, "nineteen.yaml": {Rule: tiering.AdaptOff}, "people14.yaml": nil} {
		path := filepath.Join("..", "..", "..", "examples", "testbed", name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := testbed.Parse(path, data, os.ReadFile)
		if err != nil {
			t.Fatal(err)
		}
		fixed, err := unadapted(s)
		if err != nil {
			t.Fatal(err)
		}
		w, err := fixed.WorkflowSpec(nil)
		if err != nil {
			t.Fatal(err)
		}
		if (w.Adapting == nil) != (want == nil) || want != nil && w.Adapting.Rule != want.Rule {
			t.Errorf("%s: adapted by %+v, want %+v", name, w.Adapting, want)
		}
	}
}
