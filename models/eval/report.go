package eval

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// Subject is what was evaluated, and on what.
type Subject struct {
	Model      string
	Resolution int
	Dataset    string
	Confidence float64
	NMS        float64
	Backend    string
}

// Report is a result for people and scripts.
type Report struct {
	Model      string  `json:"model"`
	Resolution int     `json:"resolution"`
	Precision  float64 `json:"precision"`
	Recall     float64 `json:"recall"`
	F1         float64 `json:"f1"`
	AP50       float64 `json:"ap50"`
	MAP        float64 `json:"map"`
	Images     int     `json:"images"`
	MSPerFrame float64 `json:"ms_per_frame"`

	Partial    bool          `json:"partial,omitempty"` // interrupted after Images of ImagesAll
	ImagesAll  int           `json:"images_all"`
	Dataset    string        `json:"dataset"`
	Confidence float64       `json:"confidence"`
	NMS        float64       `json:"nms"`
	Backend    string        `json:"backend"`
	Objects    int           `json:"objects"`
	Found      int           `json:"found"`
	Right      int           `json:"right"`
	Classes    []ClassReport `json:"classes"`

	// Left out: classes that the other one does not know.
	OnlyModel   []string `json:"classes_of_model_only,omitempty"`
	OnlyDataset []string `json:"classes_of_dataset_only,omitempty"`
}

// ClassReport is of one class. It has no average precision without objects.
type ClassReport struct {
	Class     string   `json:"class"`
	Objects   int      `json:"objects"`
	Found     int      `json:"found"`
	Right     int      `json:"right"`
	Precision float64  `json:"precision"`
	Recall    float64  `json:"recall"`
	F1        float64  `json:"f1"`
	AP50      *float64 `json:"ap50,omitempty"`
	MAP       *float64 `json:"map,omitempty"`
}

// Report returns the result as a report, its classes with the most objects
// first.
func (r *Result) Report(s Subject) *Report {
	out := &Report{
		Model: s.Model, Resolution: s.Resolution,
		Precision: r.Total.Precision(), Recall: r.Total.Recall(), F1: r.Total.F1(),
		AP50: r.Mean.AP50, MAP: r.Mean.AP,
		Images: r.Images, MSPerFrame: float64(r.PerFrame) / float64(time.Millisecond),
		Partial: r.Images < r.Of, ImagesAll: r.Of,
		Dataset: s.Dataset, Confidence: s.Confidence, NMS: s.NMS, Backend: s.Backend,
		Objects: r.Total.Objects(), Found: r.Total.Found(), Right: r.Total.TruePositives,
		Classes:   []ClassReport{},
		OnlyModel: r.OnlyDetector, OnlyDataset: r.OnlySet,
	}
	for _, c := range r.Counts {
		n := ClassReport{
			Class: c.Label, Objects: c.Objects(), Found: c.Found(), Right: c.TruePositives,
			Precision: c.Precision(), Recall: c.Recall(), F1: c.F1(),
		}
		if a, ok := r.Averages[c.Label]; ok {
			n.AP50, n.MAP = &a.AP50, &a.AP
		}
		out.Classes = append(out.Classes, n)
	}
	slices.SortStableFunc(out.Classes, func(a, b ClassReport) int { return cmp.Compare(b.Objects, a.Objects) })
	return out
}

// Write writes the report as a table.
func (r *Report) Write(w io.Writer) error {
	wide := len("CLASS")
	for _, c := range r.Classes {
		wide = max(wide, utf8.RuneCountInString(c.Class))
	}
	var table bytes.Buffer
	t := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight) // but for the first column
	const row = "%-*s\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t\n"
	fmt.Fprintf(t, "%-*s\tOBJECTS\tFOUND\tRIGHT\tPRECISION\tRECALL\tF1\tAP50\tMAP\t\n", wide, "CLASS")
	for _, c := range r.Classes {
		fmt.Fprintf(t, row, wide, c.Class, c.Objects, c.Found, c.Right,
			figure(c.Precision, c.Found > 0), figure(c.Recall, c.Objects > 0), figure(c.F1, true), optional(c.AP50), optional(c.MAP))
	}
	fmt.Fprintf(t, row, wide, "all", r.Objects, r.Found, r.Right,
		figure(r.Precision, r.Found > 0), figure(r.Recall, r.Objects > 0), figure(r.F1, r.Found+r.Objects > 0), figure(r.AP50, r.Objects > 0), figure(r.MAP, r.Objects > 0))
	if err := t.Flush(); err != nil {
		return err
	}
	for line := range bytes.Lines(table.Bytes()) {
		if _, err := w.Write(bytes.TrimPrefix(line, []byte("  "))); err != nil {
			return err
		}
	}
	pictures := fmt.Sprintf("%d pictures", r.Images)
	if r.Partial {
		pictures = fmt.Sprintf("PARTIAL: the first %d of %d pictures", r.Images, r.ImagesAll)
	}
	_, err := fmt.Fprintf(w, "\n%s at %d on %s, %s: score above %g, NMS %g, %.1f ms a picture on %s\n",
		r.Model, r.Resolution, r.Dataset, pictures, r.Confidence, r.NMS, r.MSPerFrame, r.Backend)
	for _, left := range []struct {
		who     string
		classes []string
	}{{"the model", r.OnlyModel}, {"the data set", r.OnlyDataset}} {
		if err == nil && len(left.classes) > 0 {
			_, err = fmt.Fprintf(w, "left out, for only %s has them: %s\n", left.who, strings.Join(left.classes, ", "))
		}
	}
	return err
}

func figure(v float64, known bool) string {
	if !known {
		return "-"
	}
	return fmt.Sprintf("%.3f", v)
}

func optional(v *float64) string {
	if v == nil {
		return "-"
	}
	return figure(*v, true)
}
