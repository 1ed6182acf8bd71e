package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/pipeline"
)

// goodConfig is a configuration in a directory with all that it names.
func goodConfig(t *testing.T) (file, text string) {
	t.Helper()
	f := &farm{t: t, dir: t.TempDir(), ca: newCA(t)}
	writeKey(t, f.dir)
	f.write("edge-1", 1, "127.0.0.1:0", "127.0.0.1:0", false)
	b, err := os.ReadFile(f.config("edge-1"))
	if err != nil {
		t.Fatal(err)
	}
	return f.config("edge-1"), string(b)
}

// gateUser is a user whose password is "correct horse".
const gateUser = "{name: gate, passwordHash: $2a$10$Pkid8YMNp2AbsFjCeUbfB.x5o5gXuP.dsIDz5JLA1ADDgm3a5uCRC, publish: [cameras/gate]}"

func TestConfigurationMistakesAreExplained(t *testing.T) {
	for _, tc := range []struct{ name, from, to, want string }{
		{"unknown key", "dataDir:", "datadir:", `edge-1.yaml:3:1: datadir: unknown key "datadir"; did you mean "dataDir"?`},
		{"unknown tier", "tier: edge", "tier: sky", `edge-1.yaml:2:28: node.tier: unknown tier "sky": use edge, fog or cloud`},
		{"no core at all", "tier: edge", "tier: edge, coreSpeed: 0", "node.coreSpeed: 0: use a fraction of at least 0.001"},
		{"no number of cores", "tier: edge", "tier: edge, coreSpeed: .nan", "node.coreSpeed: want a number; found the number .nan"},
		{"slow cores and several threads", "tier: edge", "tier: edge, coreSpeed: 0.1", "node.coreSpeed: 0.1 is for emulation, where a stage has one thread and nothing is measured: set threads to 1"},
		{"slow cores that measure", "profile: false", "profile: true, coreSpeed: 0.1, threads: 1", "set threads to 1 and profile to false"},
		{"bad name", "name: edge-1", "name: Edge_1", `node.name: "Edge_1" is not a name`},
		{"no mesh", "mesh: farm\n", "", `mesh`},
		{"bad address", `data: "127.0.0.1:0"`, `data: "nowhere"`, `listen.data: "nowhere" is not an address: use HOST:PORT`},
		{"even number of coordinators", "enabled: false, expect: 3", "enabled: true, expect: 2", `coordinator.expect: 2 coordinators: use an odd number`},
		{"missing key file", "gossip.key", "none.key", "none.key: no such file"},
		{"certificate of another node", "name: edge-1", "name: edge-2", "edge-1.yaml:2:14: node.name: is edge-2, and the certificate "},
		{"certificate of another tier", "tier: edge", "tier: fog", "node.tier: is fog, and the certificate "},
		{"certificate of another mesh", "mesh: farm", "mesh: barn", "edge-1.yaml:1:7: mesh: is barn, and the certificate "},
		{"coordinator at the edge", "enabled: false", "enabled: true", "coordinator.enabled: no node at the edge coordinates: enable it on another node"},
		{"the broker at the edge", "embedded: false", "embedded: true", "mqtt.embedded: no node at the edge has the mesh's broker: "},
		{"two brokers", "embedded: false", "embedded: true, broker: tls://x:1", "choose one"},
		{"plain text by the scheme alone", "embedded: false", "broker: tcp://u:secret@x:1", "mqtt.broker: invalid MQTT settings: broker …@x:1: tcp:// is plain text, which everybody on the way can read and change: use tls://, or ask for plain text by name (plaintext: true)"},
		{"plain text over TLS", "embedded: false", "broker: tls://x:1, plaintext: true", "choose one"},
		{"plain text of the mesh's own broker", "embedded: false", "embedded: true, plaintext: true", "mqtt.plaintext: nobody could log in"},
		{"plain text of no broker", "embedded: false", "embedded: false, plaintext: true", "mqtt.plaintext: there is no broker"},
		{"an authority of the mesh's own broker", "embedded: false", "embedded: true, ca: system", "mqtt.ca: is for an external broker"},
		{"users of no broker", "embedded: false", "embedded: false, users: [" + gateUser + "]", "mqtt.users: are those of the mesh's own broker"},
		{"a user's password in plain text", "embedded: false", "embedded: true, users: [{name: gate, passwordHash: secret, publish: [a]}]", "mqtt.users[0].passwordHash: invalid MQTT settings: not a password's hash: want bcrypt's $2a$…, as `weft mqtt-password` prints it"},
		{"a user who may do nothing", "embedded: false", "embedded: true, users: [" + strings.Replace(gateUser, "publish: [cameras/gate]", "", 1) + "]", "mqtt.users[0].publish: invalid MQTT settings: it may do nothing"},
		{"a user for the mesh's topics", "embedded: false", "embedded: true, users: [" + strings.Replace(gateUser, "cameras/gate", "cameras/gate, weft/#", 1) + "]", "mqtt.users[0].publish[1]: invalid MQTT settings: \"weft/#\""},
		{"a user twice", "embedded: false", "embedded: true, users: [" + gateUser + ", " + gateUser + "]", "mqtt.users[1].name: invalid MQTT settings: gate is there twice"},
		{"an authority for plain text", "embedded: false", "broker: tcp://x:1, plaintext: true, ca: ca.crt", "plain text knows no certificates"},
		{"no broker of that kind", "embedded: false", "broker: https://x:1", "want tls://HOST:PORT"},
		{"no authority", "embedded: false", "broker: tls://x:1, ca: gossip.key", "gossip.key holds no certificate: want PEM, or `system`"},
		{"bad quantity", "memory: 4GiB", "memory: 4", "has no unit"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file, text := goodConfig(t)
			if !strings.Contains(text, tc.from) {
				t.Fatalf("the configuration has no %q:\n%s", tc.from, text)
			}
			if err := os.WriteFile(file, []byte(strings.Replace(text, tc.from, tc.to, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			_, _, err := readConfig(t.Context(), file, nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v\nwant %s", err, tc.want)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		file, _ := goodConfig(t)
		if _, _, err := readConfig(t.Context(), file, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestTheExampleConfigurationIsSound(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "examples", "config", "weftd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	users := strings.NewReplacer("tier: edge #", "tier: fog #", "embedded: false", "embedded: true", "  # plaintext: true  ", "  plaintext: true # ",
		"  # users:", "  users:", "  #   - ", "    - ", "  #     passwordHash:", "      passwordHash:",
		"  #     publish:", "      publish:", "  #     subscribe:", "      subscribe:").Replace(string(b))
	for text, want := range map[string]int{string(b): 0, users: 1} {
		raw := defaults()
		doc, err := yamlfile.Decode("weftd.yaml", []byte(text), &raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := check(doc, &raw); err != nil {
			t.Error(err)
		}
		if n := len(raw.MQTT.Users); n != want || raw.MQTT.Plaintext != (want > 0) {
			t.Errorf("%d users, plain text %v, want %d", n, raw.MQTT.Plaintext, want)
		}
	}
}

func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for key, taken := range map[string]string{"gossip": l.Addr().String(), "data": u.LocalAddr().String(), "http": l.Addr().String()} {
		t.Run(key, func(t *testing.T) {
			file, text := goodConfig(t)
			old := key + `: "127.0.0.1:0"`
			if err := os.WriteFile(file, []byte(strings.Replace(text, old, fmt.Sprintf("%s: %q", key, taken), 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			// A process of its own: what a node has bound when it cannot be made
			// is released with the process.
			daemon := exec.CommandContext(t.Context(), os.Args[0], "--config", file, "--log-level", "error")
			daemon.Env = append(os.Environ(), asDaemon+"=1")
			out, err := daemon.CombinedOutput()
			if said := string(out); daemon.ProcessState.ExitCode() != exitFailure || !strings.Contains(said, "address already in use") || !strings.Contains(said, taken) {
				t.Errorf("%v: %s", err, said)
			}
			t.Logf("%s", out)
		})
	}
}

// TestWhatCannotRunSaysWhy submits workflows that are sound as documents.
func TestWhatCannotRunSaysWhy(t *testing.T) {
	media, models := t.TempDir(), t.TempDir()
	half := halfWeights(t, models)
	// The built-in catalogue knows the size of the file, so no node would
	// offer the model; one's own entry has nobody else's word for it.
	own := filepath.Join(t.TempDir(), "models.yaml")
	if err := os.WriteFile(own, []byte(ownCatalogue), 0o600); err != nil {
		t.Fatal(err)
	}
	m := startDev(t, devOptions{media: media, models: models, catalogue: own})

	t.Run("a video that does not exist", func(t *testing.T) {
		submit(t, m.Client, people("video:nowhere.avi", 5, "[512]"))
		defer func() { _ = m.Stop(t.Context(), "people") }()
		var message string
		eventually(t, time.Minute, "the source says what is wrong", func() bool {
			s := status(t, m.Client, "people").Sources[0]
			message = s.Message
			return s.Status == pipeline.StatusRetrying && strings.Contains(message, "nowhere.avi") && strings.Contains(message, "does not exist")
		})
		t.Log(message)
	})
	t.Run("a workflow that needs more than the mesh has", func(t *testing.T) {
		doc := strings.Replace(people("videotest:", 5, "[512, 768]"), "cpu: 500m, memory: 256MiB", "cpu: 40, memory: 256MiB", 1)
		_, err := m.Submit(t.Context(), "test.yaml", []byte(doc))
		var e *api.Error
		if !errors.As(err, &e) || e.Code != api.CodeRefused || len(e.Shortages) == 0 || !strings.Contains(err.Error(), "cores") {
			t.Errorf("%v", err)
		}
		t.Log(err)
		nodes, nerr := m.Nodes(t.Context())
		if nerr != nil {
			t.Fatal(nerr)
		}
		for _, n := range nodes {
			if !n.Reserved.IsZero() {
				t.Errorf("a refused workflow has reserved %v on %s", n.Reserved, n.ID)
			}
		}
	})
	t.Run("weights cut in half", func(t *testing.T) {
		if !half {
			testData(t) // says why it skips
		}
		submit(t, m.Client, strings.Replace(objects("my-yolo"), "images:dog?loop=true", "videotest:", 1))
		defer func() { _ = m.Stop(t.Context(), "objects") }()
		var message string
		eventually(t, time.Minute, "the detector says what is wrong", func() bool {
			for _, st := range status(t, m.Client, "objects").Stages {
				if st.Task == "detect@416" {
					message = st.Message
					return st.Status == pipeline.StatusRetrying && message != ""
				}
			}
			return false
		})
		t.Log(message)
	})
}

const ownCatalogue = `apiVersion: weft/v1
kind: Catalogue
models:
  - name: my-yolo
    format: darknet
    files:
      - {role: config, name: yolo-fastest-1.1-xl.cfg}
      - {role: weights, name: yolo-fastest-1.1-xl.weights}
    resolutions: [416]
    classes: coco80
    fit: stretch
`

// halfWeights puts a detector with half of its weights into dir, if there are
// real detectors.
func halfWeights(t *testing.T, dir string) bool {
	t.Helper()
	from := dataDir()
	cfg, err := os.ReadFile(filepath.Join(from, "detectors", "yolo-fastest-1.1-xl.cfg"))
	if err != nil {
		return false
	}
	weights, err := os.ReadFile(filepath.Join(from, "detectors", "yolo-fastest-1.1-xl.weights"))
	if err != nil {
		return false
	}
	for name, b := range map[string][]byte{"yolo-fastest-1.1-xl.cfg": cfg, "yolo-fastest-1.1-xl.weights": weights[:len(weights)/2]} {
		path, copied := filepath.Join(dir, name), time.Now().Add(-time.Minute) // nobody is still at it
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, copied, copied); err != nil {
			t.Fatal(err)
		}
	}
	return true
}
