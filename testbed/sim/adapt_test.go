package sim

import (
	"fmt"
	"testing"
	"time"
)

// adapting is the bench with a detector whose accuracy is known.
func adapting(x setting, spec string) setting {
	x.workflow = append(x.workflow, "hog-people # inside OpenCV: needs no files", "mobilenetv2-yolov3-nano",
		"resolutions: [512, 640]", "resolutions: [416, 512]", "  sources:\n", "  adaptation: {"+spec+"}\n\n  sources:\n")
	x.edit = append(x.edit, `"detect@640": {work: 30ms, send: 2ms, receive: 1ms, bytes: 30kB`, `"detect@416": {work: 30ms, send: 2ms, receive: 1ms, bytes: 20kB`,
		`DETECT, send: 2ms, receive: 1ms, bytes: 30kB`, `DETECT, send: 2ms, receive: 1ms, bytes: 45kB`)
	if x.detect == "" {
		x.detect = "60ms"
	}
	return x
}

func TestX(t *testing.T) {
	for _, x := range []setting{
		adapting(setting{sources: 4, fps: 3, length: 90 * time.Second, timeline: []string{"at: 25s, link: {between: [fog, cloud], rate: 1Mbit}", "at: 50s, restore: [fog, cloud]"}}, "period: 5s"),
		adapting(setting{sources: 2, fps: 3, length: 90 * time.Second, detect: "40ms", timeline: []string{"at: 25s, link: {between: [edge, fog], rate: 3Mbit}", "at: 50s, restore: [edge, fog]"}}, "period: 5s"),
	} {
		rec := x.run(t)
		for _, m := range rec.Marks {
			if m.At > -5*time.Second {
			fmt.Println(m.At, m.Type, m.Subject, m.Message)
			}
		}
		for i := 0; i < len(rec.Samples); i += 10 {
			s := rec.Samples[i]
			fmt.Println(s.At, s.Frames, s.Latency.Mean, s.Latency.P95, s.Stages[1].Processed, s.Stages[2].Processed)
		}
	}
}
