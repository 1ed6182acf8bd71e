package mqtt

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/weft-mesh/weft/internal/upgradetest"
	"github.com/weft-mesh/weft/pipeline"
)

// Nodes of the first release and of today meet at the same topics. What goes
// through them is of pipeline's Codec, whose own test it is.
func TestTopicsAreThoseOfVersion1(t *testing.T) {
	var golden map[string]string
	if err := json.Unmarshal(upgradetest.Read(t, "testdata/v1/topics.json"), &golden); err != nil {
		t.Fatal(err)
	}
	from, to := party{"edge/1 é", "ab12"}, party{"fog-1", "ff00"}
	now := map[string]string{
		"frames": framesTopic("fog-1", from), "frames filter": framesFilter("fog-1"),
		"control": controlTopic(to, from), "control filter": controlFilter(to),
		"detections": DetectionsTopic("people", "gate@1"), "pictures": PicturesTopic("people", "gate@1"),
	}
	if !reflect.DeepEqual(now, golden) {
		t.Errorf("topics are %q, they were %q", now, golden)
	}
	for _, kind := range []string{"frames", "control"} {
		if p, err := sender(golden[kind]); err != nil || p != from {
			t.Errorf("%s is from %+v, %v", golden[kind], p, err)
		}
	}
}

// Whoever subscribed to detections finds them as the first release published
// them.
func TestDetectionsAreThoseOfVersion1(t *testing.T) {
	golden := upgradetest.Read(t, "testdata/v1/detections.json")
	upgradetest.Holds(t, "detections", Detections{
		Workflow: "people", Source: "gate", Seq: 7, AgeMS: 12.5, Quality: 512, Model: "hog-people", Width: 768, Height: 576,
		Detections: []pipeline.Detection{{Label: "person", Class: 14, Score: 0.75, Box: pipeline.Box{X: 0.25, Y: 0.125, W: 0.1, H: 0.5}}},
	}, golden)
	var d Detections
	if err := json.Unmarshal(golden, &d); err != nil {
		t.Fatal(err)
	}
	upgradetest.Holds(t, "detections read", d, golden)
}
