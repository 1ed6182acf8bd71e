package sourceuri_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/tiering/sourceuri"
)

func TestParse(t *testing.T) {
	for uri, want := range map[string]sourceuri.Spec{
		"video:vtest.avi":                       {Scheme: sourceuri.Video, Path: "vtest.avi"},
		"video:/srv/a clip 100%.mp4":            {Scheme: sourceuri.Video, Path: "/srv/a clip 100%.mp4"},
		"video:vtest.avi?loop=true&start=1m30s": {Scheme: sourceuri.Video, Path: "vtest.avi", Options: sourceuri.Options{Loop: true, Start: 90 * time.Second}},
		"video:c:x.avi?loop=false":              {Scheme: sourceuri.Video, Path: "c:x.avi"},
		"images:pictures?loop=true":             {Scheme: sourceuri.Images, Path: "pictures", Options: sourceuri.Options{Loop: true}},
		"images:a/images?labels=a/coco.names":   {Scheme: sourceuri.Images, Path: "a/images", Options: sourceuri.Options{Labels: "a/coco.names"}},
		"rtsp://user:secret@cam:8554/live?x=1":  {Scheme: sourceuri.RTSP, URL: "rtsp://user:secret@cam:8554/live?x=1"},
		"https://cam.example/stream.mjpg":       {Scheme: sourceuri.HTTPS, URL: "https://cam.example/stream.mjpg"},
		"v4l2:/dev/video0?width=640&height=480": {Scheme: sourceuri.V4L2, Path: "/dev/video0", Options: sourceuri.Options{Width: 640, Height: 480}},
		"videotest:":                            {Scheme: sourceuri.VideoTest},
		"videotest:?width=320&height=240":       {Scheme: sourceuri.VideoTest, Options: sourceuri.Options{Width: 320, Height: 240}},
		"street:":                               {Scheme: sourceuri.Street},
		"street:?seed=7&fps=25":                 {Scheme: sourceuri.Street, Options: sourceuri.Options{Seed: 7, FPS: 25}},
		"street:?seed=18446744073709551615&density=250&width=640&height=480": {
			Scheme: sourceuri.Street, Options: sourceuri.Options{Seed: 1<<64 - 1, Density: 250, Width: 640, Height: 480},
		},
		"mqtt:cameras/gate": {Scheme: sourceuri.MQTT, Path: "cameras/gate"},
		"mqtt:odd?topic":    {Scheme: sourceuri.MQTT, Path: "odd?topic"},
	} {
		got, err := sourceuri.Parse(uri)
		if err != nil || got != want {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", uri, got, err, want)
		}
		if got.Network() != strings.Contains(uri, "://") {
			t.Errorf("Parse(%q).Network() = %v", uri, got.Network())
		}
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	const use = "use video:PATH, images:DIR, rtsp://…, http(s)://…, v4l2:DEVICE, videotest:, street: or mqtt:TOPIC"
	for uri, want := range map[string]string{
		"":                            `"" has no scheme; ` + use,
		"vtest.avi":                   `"vtest.avi" has no scheme; ` + use,
		"file:vtest.avi":              `unknown scheme "file"; ` + use,
		"Video:vtest.avi":             `unknown scheme "Video"; ` + use,
		"video:":                      "video: names a file, such as video:street.mp4",
		"video:?loop=true":            "video: names a file, such as video:street.mp4",
		"video:a\nb":                  "control character at byte 7",
		"video:a?lop=true":            `video: has no option "lop"; it takes loop and start`,
		"images:a?start=1s":           `images: has no option "start"; it takes loop and labels`,
		"images:a?labels=":            "option labels=: want a file with the names of the classes, such as coco.names",
		"video:a?loop=yes":            "option loop=yes: want true or false",
		"video:a?start=40":            "option start=40: want a duration such as 40s or 1m30s",
		"video:a?start=-1s":           "option start=-1s: want a duration such as 40s or 1m30s",
		"video:a?loop=true&loop=true": `option "loop" is given twice`,
		"video:a?loop=%zz":            `options "loop=%zz": invalid URL escape "%zz"`,
		"v4l2:x?width=640":            "give both width and height, or neither",
		"v4l2:x?width=0&height=1":     "option width=0: want 1 to 16384 pixels",
		"videotest:x":                 `"x" after videotest:, which takes only options`,
		"street:7":                    `"7" after street:, which takes only options`,
		"street:?sead=7":              `street: has no option "sead"; it takes seed, fps, width, height and density`,
		"street:?seed=-1":             "option seed=-1: want a whole number from 0, such as 7",
		"street:?seed=":               "option seed=: want a whole number from 0, such as 7",
		"street:?fps=0":               "option fps=0: want a whole number of frames a second, 1 to 120",
		"street:?fps=12.5":            "option fps=12.5: want a whole number of frames a second, 1 to 120",
		"street:?density=0":           "option density=0: want 1 to 400 percent of the usual traffic",
		"street:?width=960":           "give both width and height, or neither",
		"street:?width=63&height=100": "option width=63: want 64 to 4096 pixels",
		"street:?seed=1&seed=2":       `option "seed" is given twice`,
		"rtsp:cam":                    "no host; write rtsp://host/path",
		"http://":                     "no host; write http://host/path",
		"rtsp://u:secret@cam:port/":   `invalid port ":port" after host; write rtsp://host/path`,
		"mqtt:":                       "mqtt: names one topic, such as mqtt:cameras/gate, without the wildcards + and #",
		"mqtt:cameras/#":              "mqtt: names one topic, such as mqtt:cameras/gate, without the wildcards + and #",
	} {
		_, err := sourceuri.Parse(uri)
		if !errors.Is(err, sourceuri.ErrInvalid) {
			t.Errorf("Parse(%q): error %v, want ErrInvalid", uri, err)
			continue
		}
		if got := strings.TrimPrefix(err.Error(), "invalid source URI: "); got != want {
			t.Errorf("Parse(%q):\ngot  %s\nwant %s", uri, got, want)
		}
	}
}

func TestStringHidesPasswords(t *testing.T) {
	s, err := sourceuri.Parse("rtsp://user:secret@cam/live")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.String(), "rtsp://user:xxxxx@cam/live"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// String is the inverse of Parse, but for passwords.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"video:vtest.avi?loop=true&start=40s", "images:a/b?loop=false", "images:a/b?labels=c%20d", "rtsp://u:p@h:1/p?q", "http://[::1]/",
		"v4l2:/dev/video0?width=1&height=2", "videotest:", "street:?seed=7&fps=25&density=3&width=64&height=64", "mqtt:a/b", "video:%41?start=1h", "x", ":", "video:a?&&loop=true;",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		s, err := sourceuri.Parse(uri)
		if err != nil {
			if !errors.Is(err, sourceuri.ErrInvalid) || s != (sourceuri.Spec{}) {
				t.Fatalf("got %+v, %v", s, err)
			}
			return
		}
		if s.Network() {
			_ = s.String()
			return
		}
		again, err := sourceuri.Parse(s.String())
		if err != nil || again != s {
			t.Fatalf("%q is %+v, written %q, read %+v, %v", uri, s, s.String(), again, err)
		}
	})
}
