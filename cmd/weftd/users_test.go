package main

import (
	"os"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/weft-mesh/weft/tiering"
)

// TestACameraWithAPassword logs in at a node's broker as its configuration says.
func TestACameraWithAPassword(t *testing.T) {
	f := &farm{t: t, dir: t.TempDir(), ca: newCA(t), processes: map[string]*process{}}
	writeKey(t, f.dir)
	t.Cleanup(f.stopAll)
	plain := freePort(t)
	f.write("coord-1", tiering.Cloud, "127.0.0.1:0", "127.0.0.1:0", true)
	conf, err := os.ReadFile(f.config("coord-1"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("expect: 3", "expect: 1", "listen: {", `listen: {mqttPlaintext: "`+plain+`", `,
		"embedded: true", "embedded: true, plaintext: true, users: ["+gateUser+"]").Replace(string(conf))
	if err := os.WriteFile(f.config("coord-1"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f.start("coord-1")
	login := func(password string) (paho.Client, error) {
		c := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + plain).SetProtocolVersion(4).SetUsername("gate").SetPassword(password))
		tok := c.Connect()
		tok.WaitTimeout(time.Minute)
		return c, tok.Error()
	}
	var camera paho.Client
	eventually(t, time.Minute, "the camera to be let in", func() bool {
		var err error
		camera, err = login("correct horse")
		return err == nil
	})
	defer camera.Disconnect(100)
	if tok := camera.Publish("cameras/gate", 1, false, "picture"); !tok.WaitTimeout(time.Minute) || tok.Error() != nil {
		t.Errorf("the camera publishes: %v", tok.Error())
	}
	if _, err := login("wrong horse"); err == nil || !strings.Contains(err.Error(), "uthorized") {
		t.Errorf("with a wrong password: %v", err)
	}
}
