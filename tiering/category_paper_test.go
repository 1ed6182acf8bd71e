package tiering

import (
	"maps"
	"testing"
)

// Houmani et al., section VI-A.
func TestCategoriseSectionVIA(t *testing.T) {
	model := func(name, family string, resolution int, typ TaskType) Task {
		return Task{Name: name, Type: typ, Model: &Model{Name: family, Family: family, Resolution: resolution}}
	}
	tests := []struct {
		name  string
		tasks []Task
		want  map[string]Category
	}{
		{"the use case: resize NI, draw HI, YOLOv4-416 LI, YOLOv4-512 HI", []Task{
			{Name: "resize", Type: Preprocess},
			model("yolov4-416", "yolov4", 416, DeepModel),
			model("yolov4-512", "yolov4", 512, DeepModel),
			{Name: "draw", Type: Postprocess, Store: true},
		}, map[string]Category{"resize": NI, "yolov4-416": LI, "yolov4-512": HI, "draw": HI}},
		{"tasks that do not manage their own database are NI", []Task{
			{Name: "resize", Type: Preprocess}, {Name: "publish", Type: Postprocess},
		}, map[string]Category{"resize": NI, "publish": NI}},
		{"a store makes any task HI", []Task{
			{Name: "record", Type: Preprocess, Store: true},
			{Name: "gallery", Type: ShallowModel, Store: true},
			{Name: "archive", Type: DeepModel, Store: true, Model: &Model{Family: "f", Resolution: 416}},
		}, map[string]Category{"record": HI, "gallery": HI, "archive": HI}},
		{"classic learning models are LI at any resolution", []Task{
			model("hog-512", "hog", 512, ShallowModel), model("hog-768", "hog", 768, ShallowModel),
		}, map[string]Category{"hog-512": LI, "hog-768": LI}},
		{"each family has its own lowest resolution", []Task{
			model("y-512", "yolo", 512, DeepModel), model("y-608", "yolo", 608, DeepModel),
			model("r-800", "rcnn", 800, DeepModel), model("r-1024", "rcnn", 1024, DeepModel),
		}, map[string]Category{"y-512": LI, "y-608": HI, "r-800": LI, "r-1024": HI}},
		{"every variant at the family's lowest resolution is LI", []Task{
			model("tiny-416", "yolo", 416, DeepModel), model("full-416", "yolo", 416, DeepModel),
			model("full-512", "yolo", 512, DeepModel),
		}, map[string]Category{"tiny-416": LI, "full-416": LI, "full-512": HI}},
		{"a single deep model is its family's lowest", []Task{
			model("only", "yolox", 640, DeepModel),
		}, map[string]Category{"only": LI}},
		{"what says nothing of itself stays off the edge", []Task{
			{Name: "unknown", Type: "train"}, {Name: "bare", Type: DeepModel},
		}, map[string]Category{"unknown": HI, "bare": HI}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Categorise(tt.tasks); !maps.Equal(got, tt.want) {
				t.Errorf("Categorise = %v, want %v", got, tt.want)
			}
		})
	}
}

// Section VI-B: "all tasks within the same category have the same resource
// assignment".
func TestOneAssignmentPerCategory(t *testing.T) {
	tasks := []Task{
		{Name: "resize", Type: Preprocess, Request: res(1, 1)},
		{Name: "crop", Type: Preprocess, Request: res(9, 9)},
		{Name: "a", Type: ShallowModel, Request: res(2, 1)},
		{Name: "b", Type: ShallowModel, Request: res(1, 4)},
		{Name: "draw", Type: Postprocess, Store: true, Request: Resources{Disk: 5}},
	}
	got := asks(tasks, Categorise(tasks))
	want := []Resources{res(1, 1), res(9, 9), res(2, 4), res(2, 4), {Disk: 5}}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%s asks for %v, want %v", tasks[i].Name, got[i], want[i])
		}
	}
}
