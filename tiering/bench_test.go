package tiering

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"
)

// BenchmarkSchedule has the shape of Nomad's scheduler benchmark: every
// iteration plans a fresh workflow, and takes the plan into the view, on a mesh
// that fills up; when it refuses, it is emptied off the clock.
//
//	go test -run - -bench Schedule -cpu 1 ./tiering
func BenchmarkSchedule(b *testing.B) {
	for _, nodes := range []int{1000, 10000} {
		for _, tasks := range []int{3, 10, 30} {
			b.Run(fmt.Sprintf("nodes=%d/tasks=%d", nodes, tasks), func(b *testing.B) {
				benchSchedule(b, nodes, tasks)
			})
		}
	}
}

func benchSchedule(b *testing.B, nodes, tasks int) {
	mesh := benchMesh(nodes)
	empty := NewView(1, mesh, nil, benchRoundTrips(mesh))
	v, placed, resets := empty, 0, 0
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		w := benchWorkflow(fmt.Sprintf("w%d", i), tasks)
		p, err := Schedule(v, w, seeded(uint64(i)))
		if errors.Is(err, ErrRefused) {
			b.StopTimer()
			v = empty
			resets++
			b.StartTimer()
			continue
		} else if err != nil {
			b.Fatal(err)
		}
		v = v.With(p)
		placed += tasks
	}
	b.ReportMetric(float64(placed)/b.Elapsed().Seconds(), "tasks/s")
	b.ReportMetric(float64(resets), "resets")
}

// benchMesh is 80 % edge, 15 % fog and 5 % cloud nodes, with the model on three
// of four.
func benchMesh(n int) []Node {
	mesh := make([]Node, n)
	for i := range mesh {
		id := fmt.Sprintf("node-%05d", i)
		switch {
		case i%20 == 0:
			mesh[i] = node(id, Cloud, res(64, 256), "yolov4")
		case i%20 < 4:
			mesh[i] = node(id, Fog, res(16, 64))
			if i%4 != 1 {
				mesh[i].Models = []string{"yolov4"}
			}
		default:
			mesh[i] = node(id, Edge, res(4, 4))
		}
	}
	return mesh
}

// benchRoundTrips computes round trips from coordinates looked up by name, as
// Serf's are.
func benchRoundTrips(mesh []Node) RoundTrips {
	rng := seeded(3)
	at := make(map[string][8]float64, len(mesh))
	for _, n := range mesh {
		var c [8]float64
		for k := range c {
			c[k] = rng.Float64() * 10
		}
		at[n.ID] = c
	}
	return func(a, b string) (time.Duration, bool) {
		x, y := at[a], at[b]
		sum := 0.0
		for k := range x {
			sum += (x[k] - y[k]) * (x[k] - y[k])
		}
		return time.Duration(math.Sqrt(sum) * float64(time.Millisecond)), true
	}
}

// benchWorkflow has a source and a chain of tasks: NI, LI and HI in turn.
func benchWorkflow(name string, tasks int) *Workflow {
	w := &Workflow{Name: name, Sources: []Source{{Name: "cam", Resolution: 512}}}
	from := "cam"
	for i := range tasks {
		group := fmt.Sprintf("t%d", i)
		t := Task{Name: group, Group: group, Type: Preprocess, Request: res(0.25, 0.25), Replicas: 1}
		switch i % 3 {
		case 1:
			t.Type, t.Request = ShallowModel, res(1, 2)
			t.Model = &Model{Name: "yolov4", Family: "yolov4", Resolution: 416}
		case 2:
			t.Type, t.Store, t.Request = Postprocess, true, res(2, 4)
		}
		w.Tasks = append(w.Tasks, t)
		w.Links = append(w.Links, Link{From: from, To: group})
		from = group
	}
	return w
}
