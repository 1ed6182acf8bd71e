package mqtt

import (
	"bufio"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/pipeline/mqtt/broker"
)

// analysed is a frame with one detection.
func analysed() *pipeline.Frame {
	f := newFrame(7, time.Minute)
	f.Captured = f.Captured.Add(-time.Hour)
	f.Model = "hog-people"
	f.Detections = []pipeline.Detection{
		{Label: "person", Class: 0, Score: 0.75, Box: pipeline.Box{X: 0.25, Y: 0.5, W: 0.125, H: 0.5}},
	}
	return f
}

// checkDetections holds a payload against the documented JSON, but for the
// age, which it checks to be right to the minute.
func checkDetections(t *testing.T, payload []byte) {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal(payload, &got); err != nil {
		t.Fatalf("%q: %v", payload, err)
	}
	if age, ok := got["age_ms"].(float64); !ok || age < 3_600_000 || age > 3_660_000 {
		t.Errorf("age_ms is %v, want an hour", got["age_ms"])
	}
	delete(got, "age_ms")
	rest, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"detections":[{"box":{"h":0.5,"w":0.125,"x":0.25,"y":0.5},"class":0,"label":"person","score":0.75}],` +
		`"height":576,"model":"hog-people","quality":512,"seq":7,"source":"gate","width":768,"workflow":"people"}`
	if string(rest) != want {
		t.Errorf("got  %s\nwant %s", rest, want)
	}
}

// What is published is seen by a client that knows nothing of Weft.
func TestPublish(t *testing.T) {
	for name, start := range map[string]func(*testing.T) string{
		"embedded": func(t *testing.T) string {
			b, _ := startBroker(t, broker.Config{})
			return b.Addr()
		},
		"mosquitto": func(t *testing.T) string { return startMosquitto(t) },
	} {
		t.Run(name, func(t *testing.T) {
			url := "tcp://" + start(t)
			type message struct {
				topic    string
				payload  []byte
				retained bool
			}
			seen := make(chan message, 10)
			c := client(t, url, nil)
			done(t, c.Subscribe("weft/v1/+/people/#", 0, func(_ paho.Client, m paho.Message) {
				seen <- message{m.Topic(), m.Payload(), m.Retained()}
			}))
			l, _ := startLink(t, Config{Broker: url, Node: "edge-1"}, ignore)
			f := analysed()
			if err := errors.Join(l.PublishDetections(f), l.PublishPicture(f)); err != nil {
				t.Fatal(err)
			}
			m := <-seen
			if m.topic != "weft/v1/detections/people/gate" || m.retained {
				t.Errorf("published to %s, retained %v", m.topic, m.retained)
			}
			checkDetections(t, m.payload)
			m = <-seen
			if m.topic != "weft/v1/pictures/people/gate" || string(m.payload) != "picture 7" || m.retained {
				t.Errorf("picture: %q to %s, retained %v", m.payload, m.topic, m.retained)
			}
			f.Detections = nil
			if err := l.PublishDetections(f); err != nil {
				t.Fatal(err)
			}
			if m := <-seen; !strings.HasSuffix(string(m.payload), `"detections":[]}`) {
				t.Errorf("without detections: %s", m.payload)
			}
			eventually(t, "the publications to be counted", func() bool {
				s := l.Stats()
				return s.DetectionsPublished == 2 && s.PicturesPublished == 1 && s.DetectionsDropped+s.PicturesDropped == 0
			})
		})
	}
}

// Debian's mosquitto_sub reads the detections off the embedded broker.
func TestDetectionsSeenByMosquittoSub(t *testing.T) {
	path, err := exec.LookPath("mosquitto_sub")
	if err != nil {
		t.Skip("no mosquitto_sub here: apt-get install mosquitto-clients (make test does)")
	}
	b, _ := startBroker(t, broker.Config{})
	host, port, err := net.SplitHostPort(b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-h", host, "-p", port, "-t", DetectionsTopic("people", "gate"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan []byte, 100)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			select {
			case lines <- append([]byte(nil), s.Bytes()...):
			default:
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	l, _ := startLink(t, Config{Broker: "tcp://" + b.Addr(), Node: "edge-1"}, ignore)
	eventually(t, "mosquitto_sub to print something", func() bool { // it may not have subscribed yet
		if err := l.PublishDetections(analysed()); err != nil {
			t.Fatal(err)
		}
		return len(lines) > 0
	})
	checkDetections(t, <-lines)
}

func TestPublishRefuses(t *testing.T) {
	l, err := New(Config{Broker: "tcp://127.0.0.1", Plaintext: true, Node: "edge-1", MaxFrame: 100, Log: slog.New(slog.DiscardHandler)}, ignore)
	if err != nil {
		t.Fatal(err)
	}
	f := analysed()
	f.Detections[0].Score = math.NaN()
	if err := l.PublishDetections(f); !errors.Is(err, pipeline.ErrMalformed) {
		t.Errorf("a score that is no number: %v, want ErrMalformed", err)
	}
	f.Image.Data = make([]byte, 101)
	if err := l.PublishPicture(f); !errors.Is(err, pipeline.ErrOversized) {
		t.Errorf("a large picture: %v, want ErrOversized", err)
	}
	f.Image.Format = pipeline.BGR
	if err := l.PublishPicture(f); !errors.Is(err, pipeline.ErrMalformed) {
		t.Errorf("a raw picture: %v, want ErrMalformed", err)
	}
}

// Without a broker nothing waits for it; with one that is slow the newest do.
func TestPublicationsDropped(t *testing.T) {
	out := newOutbox(errStarting)
	out.addResult(publication{topic: "lost"})
	out.addPicture(publication{topic: "lost"})
	if n := out.losses(); n.results != 1 || n.pictures != 1 {
		t.Errorf("without a broker: %+v, want one of each dropped", n)
	}
	out.open()
	if _, ok := out.take(1); ok {
		t.Error("something waited for the broker")
	}
	for range maxResults + 3 {
		out.addResult(publication{})
	}
	for i := range maxPictures + 2 {
		out.addPicture(publication{topic: string(rune('a' + i))})
	}
	if n := out.losses(); n.results != 4 || n.pictures != 3 {
		t.Errorf("with a full queue: %+v, want 4 and 3 dropped", n)
	}
	for range maxResults {
		if it, ok := out.take(1); !ok || it.result == nil {
			t.Fatal("detections are missing")
		}
	}
	if it, ok := out.take(1); !ok || it.picture.topic != "c" {
		t.Errorf("%+v is the oldest picture kept, want c", it)
	}
	out.addResult(publication{})
	out.shut(errClosed)
	if n := out.losses(); n.results != 5 || n.pictures != 3+maxPictures-1 {
		t.Errorf("after the connection is lost: %+v, want all that waited dropped", n)
	}
}
