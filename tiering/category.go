package tiering

// Categorise says how intensive each task is, by task name (Houmani et al.,
// SBAC-PAD 2021, section VI-A):
//
//   - a task that manages its own store is HI, whatever its type;
//   - preprocessing and postprocessing are NI;
//   - shallow models are LI;
//   - of each deep-model family the variants at the lowest resolution among
//     tasks are LI, the others HI.
//
// A type that is none of these, and a deep model without a Model, count as HI:
// the mistake then costs capacity and not the edge.
func Categorise(tasks []Task) map[string]Category {
	lowest := map[string]int{} // resolution by family
	for i := range tasks {
		if m := tasks[i].Model; tasks[i].Type == DeepModel && m != nil {
			if r, ok := lowest[m.Family]; !ok || m.Resolution < r {
				lowest[m.Family] = m.Resolution
			}
		}
	}
	categories := make(map[string]Category, len(tasks))
	for i := range tasks {
		categories[tasks[i].Name] = category(&tasks[i], lowest)
	}
	return categories
}

func category(t *Task, lowest map[string]int) Category {
	switch {
	case t.Store:
		return HI
	case t.Type == Preprocess || t.Type == Postprocess:
		return NI
	case t.Type == ShallowModel:
		return LI
	case t.Type == DeepModel && t.Model != nil && t.Model.Resolution == lowest[t.Model.Family]:
		return LI
	}
	return HI
}

// asks returns what one instance of each task asks for, in the order of tasks.
// "All tasks within the same category have the same resource assignment"
// (section VI-B): for LI and HI it is the component-wise maximum of what the
// category's tasks request, since only a slot of that size serves every one of
// them, and equal slots are what lets Algorithm 2 count instead of search. NI
// tasks reserve nothing, so each asks for its own.
func asks(tasks []Task, categories map[string]Category) []Resources {
	var largest struct{ li, hi Resources }
	for i := range tasks {
		switch categories[tasks[i].Name] {
		case LI:
			largest.li = largest.li.Max(tasks[i].Request)
		case HI:
			largest.hi = largest.hi.Max(tasks[i].Request)
		}
	}
	out := make([]Resources, len(tasks))
	for i := range tasks {
		switch categories[tasks[i].Name] {
		case LI:
			out[i] = largest.li
		case HI:
			out[i] = largest.hi
		default:
			out[i] = tasks[i].Request
		}
	}
	return out
}
