package vision

import (
	"bytes"
	"math"
	"os"
	"strings"
	"testing"
)

// tiny is a config whose weights can be counted by hand:
// conv 4·8 + 8·3·9 = 248, grouped conv 8 + 8·2·1 = 24, and
// conv on 8+8 channels 14 + 14·16 = 238; 510 in all.
const tiny = `# a comment
[net]
width=64
height=32
channels=3

[convolutional]
batch_normalize = 1
filters=8
size=3
stride=2
pad=1

[maxpool]
size=2
stride=2

[convolutional]
filters=8
size=1
groups=4

[route]
layers=-1, 0

[convolutional]
filters=14
size=1

; two boxes, two classes
[yolo]
mask=0,1
classes=2
num=6
thresh=.9
`

func TestDarknetWeights(t *testing.T) {
	c, err := parseDarknet([]byte(tiny))
	if err != nil {
		t.Fatal(err)
	}
	weights, classes, err := c.check()
	if err != nil || weights != 510 || classes != 2 {
		t.Errorf("%d weights, %d classes, %v; want 510, 2", weights, classes, err)
	}
}

// The published files are as long as their configs say.
func TestDarknetWeightsOfPublishedModels(t *testing.T) {
	for _, name := range []string{"yolo-fastest-1.1", "yolo-fastest-1.1-xl", "MobileNetV2-YOLOv3-Nano-coco"} {
		cfg, err := os.ReadFile(testData(t, "detectors", name+".cfg"))
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(testData(t, "detectors", name+".weights"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := parseDarknet(cfg)
		if err != nil {
			t.Fatal(err)
		}
		weights, classes, err := c.check()
		if err != nil || classes != 80 {
			t.Fatalf("%s: %d classes, %v", name, classes, err)
		}
		if err := checkDarknetWeights(data, weights); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := checkDarknetWeights(data[:len(data)-4], weights); err == nil {
			t.Errorf("%s: weights one float short pass", name)
		}
	}
}

func TestDarknetForInput(t *testing.T) {
	c, err := parseDarknet([]byte(tiny))
	if err != nil {
		t.Fatal(err)
	}
	text := string(c.forInput(416, 0.25))
	for _, want := range []string{"width=416\n", "height=416\n", "thresh=0.25\n", "nms_threshold=0\n", "layers=-1,0\n"} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%q is there %d times in\n%s", want, strings.Count(text, want), text)
		}
	}
	again, err := parseDarknet([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if w, n, err := again.check(); w != 510 || n != 2 || err != nil {
		t.Errorf("the new text asks for %d weights, %d classes, %v", w, n, err)
	}
}

func TestDarknetMistakes(t *testing.T) {
	tests := []struct{ name, old, new, want string }{
		{"no section", "[net]\n", "", `line 2: "width=64" comes before the first section; is this a darknet config?`},
		{"open bracket", "[maxpool]", "[maxpool", `line 14: "[maxpool" lacks its closing bracket`},
		{"no value", "classes=2", "classes", `line 33: "classes" is no key=value`},
		{"other file", tiny, "[maxpool]\n[yolo]\n", "no [net] section with layers after it; is this a darknet config?"},
		{"grey pictures", "channels=3", "channels=1", "line 2: 1 input channels; pictures have 3"},
		{"bad number", "filters=14", "filters=many", "line 26: [convolutional] filters=many is no usable number"},
		{"groups", "groups=4", "groups=3", "line 18: [convolutional] with 8 filters of size 1 in 3 groups on 8 channels"},
		{"route ahead", "layers=-1, 0", "layers=7", "line 23: [route] layers=7 names no layer before this one"},
		{"boxes", "filters=14", "filters=15",
			"line 31: [yolo] needs 14 channels for 2 boxes and 2 classes, the layer before makes 15"},
		{"no detector", "[yolo]", "[dropout]", "no [yolo] layer: this is no detector"},
		{"unknown layer", "[maxpool]", "[lstm]", "line 14: layers of kind [lstm] are not supported"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := strings.Replace(tiny, test.old, test.new, 1)
			c, err := parseDarknet([]byte(text))
			if err == nil {
				_, _, err = c.check()
			}
			if err == nil || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func FuzzDarknet(f *testing.F) {
	f.Add([]byte(tiny))
	f.Add([]byte("[net]\n[convolutional]\nfilters=1048576\nsize=1024\n[convolutional]\nfilters=1048576\nsize=1024\n[yolo]\n"))
	f.Add([]byte("[net]\n[reorg]\nstride=1048576\n[route]\nlayers=-1,-1,0\ngroups=2\n[region]\nclasses=0\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseDarknet(text)
		if err != nil {
			return
		}
		weights, classes, err := c.check()
		if err != nil {
			return
		}
		if weights < 0 || weights > maxDarknetWeights || classes < 1 || classes > math.MaxInt32 {
			t.Fatalf("%d weights, %d classes", weights, classes)
		}
		again, err := parseDarknet(c.forInput(32, 0.5))
		if err != nil {
			t.Fatalf("its own text: %v", err)
		}
		if w, n, err := again.check(); w != weights || n != classes || err != nil {
			t.Fatalf("its own text: %d weights, %d classes, %v; was %d, %d", w, n, err, weights, classes)
		}
		if !bytes.Equal(again.forInput(32, 0.5), c.forInput(32, 0.5)) {
			t.Fatal("its own text changes again")
		}
	})
}
