package tiering

import (
	"reflect"
	"slices"
	"testing"
)

func TestAssignments(t *testing.T) {
	nodes := paperMesh()
	w := paperWorkflow(2)
	w.Objectives.MinAccuracy = 0.5
	w.Links[0].Transport = MQTT // cam-01 → resize
	w.Sources[0].Node, w.Sources[1].Node = "edge-01", "edge-02"
	placed := mustSchedule(t, NewView(1, nodes, nil, paperRoundTrips(nodes)), w).Place
	live := map[string]Node{}
	for _, n := range nodes {
		live[n.ID] = n
	}
	stray := Placement{ID: "objects/gone#0", Workflow: "objects", Task: "gone", Node: "edge-01"}
	placed = append(placed, stray, Placement{ID: "other/x#0", Workflow: "other", Task: "x", Node: "edge-01"})

	got := Assignments("edge-01", []*Workflow{w}, placed, live, nil)
	if len(got) != 2 {
		t.Fatalf("%d assignments for edge-01, want its source and its resize: %+v", len(got), got)
	}
	src, resize := got[0], got[1]
	if src.Source == nil || src.Source.Name != "cam-01" || src.Task != nil || src.Objectives.MinAccuracy != 0.5 {
		t.Errorf("first assignment %+v, want source cam-01", src)
	}
	want := []Offer{
		{Instance: "objects/resize#0", Group: "resize", Node: "edge-01", Tier: Edge, Address: "edge-01", Link: w.Links[0], Accepts: Data{Type: "image"}},
		{Instance: "objects/resize#1", Group: "resize", Node: "edge-02", Tier: Edge, Address: "edge-02", Link: w.Links[0], Accepts: Data{Type: "image"}},
	}
	if !reflect.DeepEqual(src.Next, want) {
		t.Errorf("cam-01 may go to\n%+v, want\n%+v", src.Next, want)
	}
	if !slices.Equal(src.Groups, []string{"resize"}) || !slices.Equal(resize.Groups, []string{"detect"}) {
		t.Errorf("frames go on to %v and %v, want resize and detect", src.Groups, resize.Groups)
	}
	if resize.Task == nil || resize.Task.Name != "resize" || resize.Source != nil {
		t.Errorf("second assignment %+v, want resize", resize)
	}
	var detect []Data
	for _, o := range resize.Next {
		detect = append(detect, o.Accepts)
		if o.Fit != Letterbox || o.Group != "detect" {
			t.Errorf("offer %+v, want the fit of the detector", o)
		}
		if want := live[o.Node].Addresses.Data; o.Address != want {
			t.Errorf("offer at %s, want its QUIC address %s", o.Address, want)
		}
	}
	if want := []Data{{Type: "image", Resolution: 416, Model: "yolov4"}, {Type: "image", Resolution: 512, Model: "yolov4"}}; !slices.Equal(detect, want) {
		t.Errorf("resize may go to %v, want %v", detect, want)
	}

	last := Assignments("cloud-1", []*Workflow{w}, placed, live, nil)
	if len(last) != 2 || last[0].Task.Name != "yolov4@512" || last[1].Task.Name != "draw" || len(last[1].Next) != 0 {
		t.Errorf("cloud-1 runs %+v, want the 512 model, then draw, where frames end", last)
	}

	t.Run("the order of placements does not matter", func(t *testing.T) {
		reversed := slices.Clone(placed)
		slices.Reverse(reversed)
		if again := Assignments("edge-01", []*Workflow{w}, reversed, live, nil); !reflect.DeepEqual(again, got) {
			t.Errorf("got %+v, want %+v", again, got)
		}
	})
	t.Run("instances on dead nodes are not offered", func(t *testing.T) {
		delete(live, "edge-02")
		if next := Assignments("edge-01", []*Workflow{w}, placed, live, nil)[0].Next; len(next) != 1 || next[0].Node != "edge-01" {
			t.Errorf("cam-01 may go to %+v, want the live instance only", next)
		}
		for _, id := range []string{"fog-1", "fog-2", "cloud-1"} {
			delete(live, id)
		}
		if a := Assignments("edge-01", []*Workflow{w}, placed, live, nil)[1]; len(a.Next) != 0 || !slices.Equal(a.Groups, []string{"detect"}) {
			t.Errorf("resize may go to %v of %v, want no instance of detect", a.Next, a.Groups)
		}
	})
}

// A decision changes what is assigned of a source, and not the workflow.
func TestAssignmentsOfAdaptedSources(t *testing.T) {
	nodes := paperMesh()
	w := paperWorkflow(2)
	w.Sources[0].Node, w.Sources[1].Node = "edge-01", "edge-02"
	placed := mustSchedule(t, NewView(1, nodes, nil, paperRoundTrips(nodes)), w).Place
	live := map[string]Node{}
	for _, n := range nodes {
		live[n.ID] = n
	}
	low := Quality{Model: "yolov4", Resolution: 416, Every: 2}
	adapted := map[string]*Adaptation{w.Name: {
		Qualities: map[string]Quality{w.Sources[0].Name: low}, Held: map[string]string{w.Sources[1].Name: "0.9 is asked for"},
	}}
	for node, want := range map[string]Assignment{
		"edge-01": {Quality: &low, Source: &Source{Resolution: 416}},
		"edge-02": {Held: "0.9 is asked for", Source: &Source{Resolution: 512}},
	} {
		got := Assignments(node, []*Workflow{w}, placed, live, adapted)[0]
		if got.Source == nil || got.Source.Resolution != want.Source.Resolution || got.Held != want.Held || !reflect.DeepEqual(got.Quality, want.Quality) {
			t.Errorf("%s: %+v of %+v", node, got, got.Source)
		}
	}
	if r := w.Sources[0].Resolution; r != 512 {
		t.Errorf("the workflow says %d now", r)
	}
}
