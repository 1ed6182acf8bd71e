package darknet

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
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

func TestWeights(t *testing.T) {
	c, err := Parse([]byte(tiny))
	if err != nil {
		t.Fatal(err)
	}
	weights, classes, err := c.Check()
	if err != nil || weights != 510 || classes != 2 {
		t.Errorf("%d weights, %d classes, %v; want 510, 2", weights, classes, err)
	}
}

// The published files are as long as their configs say.
func TestWeightsOfPublishedModels(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "data", "detectors")
	if data := os.Getenv("WEFT_TEST_DATA"); data != "" {
		dir = filepath.Join(data, "detectors")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the real detectors are not here (%v); set WEFT_TEST_DATA to their directory", err)
	}
	for _, name := range []string{"yolo-fastest-1.1", "yolo-fastest-1.1-xl", "MobileNetV2-YOLOv3-Nano-coco"} {
		cfg, err := os.ReadFile(filepath.Join(dir, name+".cfg"))
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, name+".weights"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := Parse(cfg)
		if err != nil {
			t.Fatal(err)
		}
		weights, classes, err := c.Check()
		if err != nil || classes != 80 {
			t.Fatalf("%s: %d classes, %v", name, classes, err)
		}
		if err := CheckWeights(data, int64(len(data)), weights); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := CheckWeights(data, int64(len(data))-4, weights); err == nil {
			t.Errorf("%s: weights one float short pass", name)
		}
	}
}

func TestForInput(t *testing.T) {
	c, err := Parse([]byte(tiny))
	if err != nil {
		t.Fatal(err)
	}
	text := string(c.ForInput(416))
	for _, want := range []string{"width=416\n", "height=416\n", "\nthresh=0\n", "nms_threshold=0\n", "layers=-1,0\n"} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%q is there %d times in\n%s", want, strings.Count(text, want), text)
		}
	}
	again, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if w, n, err := again.Check(); w != 510 || n != 2 || err != nil {
		t.Errorf("the new text asks for %d weights, %d classes, %v", w, n, err)
	}
}

func TestMistakes(t *testing.T) {
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
			c, err := Parse([]byte(text))
			if err == nil {
				_, _, err = c.Check()
			}
			if err == nil || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(tiny))
	f.Add([]byte("[net]\n[convolutional]\nfilters=1048576\nsize=1024\n[convolutional]\nfilters=1048576\nsize=1024\n[yolo]\n"))
	f.Add([]byte("[net]\n[reorg]\nstride=1048576\n[route]\nlayers=-1,-1,0\ngroups=2\n[region]\nclasses=0\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse(text)
		if err != nil {
			return
		}
		weights, classes, err := c.Check()
		if err != nil {
			return
		}
		if weights < 0 || weights > maxWeights || classes < 1 || classes > math.MaxInt32 {
			t.Fatalf("%d weights, %d classes", weights, classes)
		}
		again, err := Parse(c.ForInput(32))
		if err != nil {
			t.Fatalf("its own text: %v", err)
		}
		if w, n, err := again.Check(); w != weights || n != classes || err != nil {
			t.Fatalf("its own text: %d weights, %d classes, %v; was %d, %d", w, n, err, weights, classes)
		}
		if !bytes.Equal(again.ForInput(32), c.ForInput(32)) {
			t.Fatal("its own text changes again")
		}
	})
}
