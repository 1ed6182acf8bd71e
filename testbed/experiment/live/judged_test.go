package live

import (
	"testing"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/kpi"
	"github.com/weft-mesh/weft/pipeline"
)

func TestJudged(t *testing.T) {
	status := func(j *pipeline.Judged) api.WorkflowStatus {
		return api.WorkflowStatus{Stages: []kpi.Stage{{Task: "draw"}, {Task: "detect", Judged: j}}}
	}
	early, late := &pipeline.Judged{Frames: 4, Right: 9, Wrong: 1, Missed: 2}, &pipeline.Judged{Frames: 10, Right: 20, Wrong: 2, Missed: 5}
	for _, tt := range []struct {
		name       string
		start, end *pipeline.Judged
		want       pipeline.Judged
	}{
		{"in between", early, late, pipeline.Judged{Frames: 6, Right: 11, Wrong: 1, Missed: 3}},
		{"from the start", nil, late, *late},
		{"never", nil, nil, pipeline.Judged{}},
		{"another leader", late, early, *early},
	} {
		if got := judged(status(tt.end), status(tt.start), "detect"); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
