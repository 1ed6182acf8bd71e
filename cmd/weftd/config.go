package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/weft-mesh/weft/agent/gossip"
	"github.com/weft-mesh/weft/agent/machine"
	"github.com/weft-mesh/weft/internal/dnslabel"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/quantity"
	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/pipeline/mqtt"
	"github.com/weft-mesh/weft/tiering"
)

// configFile is weftd's configuration as it is written: see examples/config/weftd.yaml.
type configFile struct {
	Mesh        string          `yaml:"mesh,required"`
	Node        nodeFile        `yaml:"node,required"`
	DataDir     string          `yaml:"dataDir"`
	MediaDir    string          `yaml:"mediaDir"`
	ModelsDir   string          `yaml:"modelsDir"`
	Catalogue   string          `yaml:"catalogue"`
	Listen      listenFile      `yaml:"listen"`
	Advertise   string          `yaml:"advertise"`
	Join        []string        `yaml:"join"`
	GossipKey   string          `yaml:"gossipKey"`
	TLS         tlsFile         `yaml:"tls"`
	Coordinator coordinatorFile `yaml:"coordinator"`
	MQTT        mqttFile        `yaml:"mqtt"`
	Log         logFile         `yaml:"log"`
}

type nodeFile struct {
	Name     string       `yaml:"name,required"`
	Tier     tiering.Tier `yaml:"tier,required"`
	Capacity capacityFile `yaml:"capacity"`
	// Uplink is what the way up to the next tier carries.
	Uplink  quantity.Rate `yaml:"uplink"`
	Retain  int           `yaml:"retain"`
	Threads int           `yaml:"threads"`
	Profile bool          `yaml:"profile"`
	// CoreSpeed makes each core a slower one, for emulation.
	CoreSpeed float64 `yaml:"coreSpeed"`
}

type capacityFile struct {
	CPU    quantity.Cores `yaml:"cpu"`
	Memory quantity.Bytes `yaml:"memory"`
	Disk   quantity.Bytes `yaml:"disk"`
}

type listenFile struct {
	Gossip string `yaml:"gossip"`
	Data   string `yaml:"data"`
	Raft   string `yaml:"raft"`
	API    string `yaml:"api"`
	HTTP   string `yaml:"http"`
	MQTT   string `yaml:"mqtt"`
	// MQTTPlaintext is for users of the embedded broker, if mqtt.plaintext is on.
	MQTTPlaintext string `yaml:"mqttPlaintext"`
}

type tlsFile struct {
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

type coordinatorFile struct {
	Enabled bool `yaml:"enabled"`
	Expect  int  `yaml:"expect"`
	// Dedicated keeps tasks off this node.
	Dedicated bool `yaml:"dedicated"`
}

type mqttFile struct {
	Embedded  bool   `yaml:"embedded"`
	Broker    string `yaml:"broker"`
	Plaintext bool   `yaml:"plaintext"`
	CA        string `yaml:"ca"` // of the external broker; empty: the mesh's
	// Users of the embedded broker have a password in place of a certificate.
	Users []mqttUserFile `yaml:"users"`
}

type mqttUserFile struct {
	Name         string   `yaml:"name,required"`
	PasswordHash string   `yaml:"passwordHash,required"`
	Publish      []string `yaml:"publish"`
	Subscribe    []string `yaml:"subscribe"`
}

func (m mqttFile) users() []mqtt.User {
	var out []mqtt.User
	for _, u := range m.Users {
		out = append(out, mqtt.User{Name: u.Name, Hash: u.PasswordHash, Publish: u.Publish, Subscribe: u.Subscribe})
	}
	return out
}

type logFile struct {
	Level  slog.Level `yaml:"level"`
	Format string     `yaml:"format"`
}

// config is what one node is started with: every file read, every default set.
type config struct {
	Mesh      string
	Node      tiering.Node // Addresses are filled in when they are bound
	DataDir   string
	MediaDir  string
	ModelsDir string
	Catalogue *catalog.Catalog
	Listen    listenFile
	Advertise string // host
	Join      []string
	// GossipKeys encrypt gossip (the first) and decrypt it (all). They were
	// read from KeyFile, if that is not empty.
	GossipKeys [][]byte
	KeyFile    string
	Identity   *pki.Identity
	// Hangup has the node look at once whether its certificates and keys have
	// changed; nil: it looks every few seconds only.
	Hangup    <-chan os.Signal
	Expect    int // coordinators; 0: this node is none
	Broker    externalBroker
	Embedded  bool        // the MQTT broker of the mesh runs here
	Users     *mqtt.Users // of it, who have a password; nil: none
	PlainMQTT bool        // they may log in at Listen.MQTTPlaintext, too
	Retain    int         // annotated pictures a source
	Threads   int         // of OpenCV; 0: all cores
	CoreSpeed float64     // what a stage has of a core
	Profile   bool        // the node is to measure what detectors cost here
	Measurer  *measurer   // of what detectors cost here, in the background; nil: nobody measures
}

func defaults() configFile {
	return configFile{
		Node:    nodeFile{Retain: 500, Profile: true, CoreSpeed: 1},
		DataDir: "/var/lib/weft",
		Listen: listenFile{
			Gossip: "0.0.0.0:7946", Data: "0.0.0.0:7947", Raft: "0.0.0.0:7948",
			API: "0.0.0.0:7949", HTTP: "127.0.0.1:7950", MQTT: "0.0.0.0:8883", MQTTPlaintext: "0.0.0.0:1883",
		},
		Coordinator: coordinatorFile{Expect: 1},
		Log:         logFile{Format: "text"},
	}
}

// readConfig reads a configuration and the files that it names. Paths in it
// are relative to the file. override, which may be nil, has the last word.
func readConfig(ctx context.Context, file string, override func(*configFile)) (config, logFile, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return config{}, logFile{}, fmt.Errorf("read the configuration: %w", err)
	}
	raw := defaults()
	doc, err := yamlfile.Decode(file, data, &raw)
	if err != nil {
		return config{}, logFile{}, err
	}
	if override != nil {
		override(&raw)
	}
	if err := check(doc, &raw); err != nil {
		return config{}, logFile{}, err
	}
	base := filepath.Dir(file)
	at := func(p string) string {
		if p == "" || filepath.IsAbs(p) {
			return p
		}
		return filepath.Join(base, p)
	}
	cfg, err := resolve(ctx, doc, &raw, at)
	return cfg, raw.Log, err
}

// check reports every mistake that can be seen without looking at the machine.
func check(doc *yamlfile.Document, raw *configFile) error {
	var problems yamlfile.Problems
	bad := func(field, format string, args ...any) {
		problems = append(problems, doc.Problem(field, format, args...))
	}
	for field, v := range map[string]string{"mesh": raw.Mesh, "node.name": raw.Node.Name} {
		if !dnslabel.Valid(v) {
			bad(field, "%q is not a name: use 1 to 63 lower-case letters, digits and hyphens", v)
		}
	}
	for field, v := range map[string]string{
		"listen.gossip": raw.Listen.Gossip, "listen.data": raw.Listen.Data, "listen.raft": raw.Listen.Raft,
		"listen.api": raw.Listen.API, "listen.http": raw.Listen.HTTP, "listen.mqtt": raw.Listen.MQTT,
		"listen.mqttPlaintext": raw.Listen.MQTTPlaintext,
	} {
		if _, _, err := net.SplitHostPort(v); err != nil {
			bad(field, "%q is not an address: use HOST:PORT", v)
		}
	}
	for i, v := range raw.Join {
		if _, _, err := net.SplitHostPort(v); err != nil {
			bad(fmt.Sprintf("join[%d]", i), "%q is not an address: use HOST:PORT of another node's gossip", v)
		}
	}
	for field, v := range map[string]string{"gossipKey": raw.GossipKey, "tls.ca": raw.TLS.CA, "tls.cert": raw.TLS.Cert, "tls.key": raw.TLS.Key} {
		if v == "" {
			bad(field, "is missing: name a file; `weft keygen` makes a gossip key, `weft ca issue` certificates")
		}
	}
	if raw.Coordinator.Enabled && (raw.Coordinator.Expect < 1 || raw.Coordinator.Expect%2 == 0) {
		bad("coordinator.expect", "%d coordinators: use an odd number, so that a majority survives a partition", raw.Coordinator.Expect)
	}
	if raw.MQTT.Embedded && raw.MQTT.Broker != "" {
		bad("mqtt.broker", "an embedded broker and an external one: choose one")
	}
	if raw.MQTT.Embedded && raw.Node.Tier == tiering.Edge {
		bad("mqtt.embedded", "no node at the edge has the mesh's broker: whoever carries it away would read every frame there; enable it on another node, or run a broker of your own and name it in `mqtt.broker` on every node")
	}
	switch m := raw.MQTT; {
	case m.Broker != "":
		if err := mqtt.CheckURL(m.Broker, m.Plaintext); err != nil {
			bad("mqtt.broker", "%v", err)
		}
		if m.Plaintext && m.CA != "" {
			bad("mqtt.ca", "plain text knows no certificates: leave out `ca` or `plaintext`")
		}
	case m.CA != "":
		bad("mqtt.ca", "is for an external broker: name it in `broker`; the mesh's own has the mesh's certificates")
	case m.Plaintext && !m.Embedded:
		bad("mqtt.plaintext", "there is no broker to be plain with: name one in `broker`, or set `embedded`")
	case m.Plaintext && len(m.Users) == 0:
		bad("mqtt.plaintext", "nobody could log in: the mesh's own broker takes plain text from `users` only, since nodes show certificates")
	}
	if len(raw.MQTT.Users) > 0 && !raw.MQTT.Embedded {
		bad("mqtt.users", "are those of the mesh's own broker: set `embedded`, or list them where that broker runs")
	}
	for _, p := range mqtt.CheckUsers(raw.MQTT.users()) {
		bad(fmt.Sprintf("mqtt.users[%d].%s", p.User, p.Field), "%v", p.Err)
	}
	if raw.Log.Format != "text" && raw.Log.Format != "json" {
		bad("log.format", "%q is not a format: use text or json", raw.Log.Format)
	}
	if raw.Node.Retain < 0 {
		bad("node.retain", "%d pictures: use 0 or more", raw.Node.Retain)
	}
	switch s := raw.Node.CoreSpeed; {
	case !(s >= pipeline.LeastSpeed && s <= 1):
		bad("node.coreSpeed", "%g: use a fraction of at least %g, or 1 for cores as they are", s, pipeline.LeastSpeed)
	case s < 1 && (raw.Node.Threads != 1 || raw.Node.Profile):
		bad("node.coreSpeed", "%g is for emulation, where a stage has one thread and nothing is measured: set threads to 1 and profile to false", s)
	}
	return problems.Err()
}

// resolve reads what the configuration names and measures what it leaves out.
func resolve(ctx context.Context, doc *yamlfile.Document, raw *configFile, at func(string) string) (config, error) {
	c := config{
		Mesh: raw.Mesh, DataDir: at(raw.DataDir), Listen: raw.Listen, Advertise: raw.Advertise, Join: raw.Join,
		Broker:    externalBroker{URL: raw.MQTT.Broker, Plaintext: raw.MQTT.Plaintext && !raw.MQTT.Embedded},
		PlainMQTT: raw.MQTT.Plaintext && raw.MQTT.Embedded,
		Embedded:  raw.MQTT.Embedded, Retain: raw.Node.Retain, Threads: raw.Node.Threads, Profile: raw.Node.Profile, CoreSpeed: raw.Node.CoreSpeed,
		MediaDir:  cmp.Or(at(raw.MediaDir), filepath.Join(at(raw.DataDir), "media")),
		ModelsDir: cmp.Or(at(raw.ModelsDir), filepath.Join(at(raw.DataDir), "models")),
	}
	if raw.Coordinator.Enabled {
		c.Expect = raw.Coordinator.Expect
	}
	for _, dir := range []string{c.DataDir, c.MediaDir, c.ModelsDir} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return config{}, fmt.Errorf("make a directory of weftd: %w", err)
		}
	}
	var errs [5]error
	c.KeyFile = at(raw.GossipKey)
	c.GossipKeys, errs[0] = readKeys(c.KeyFile)
	c.Identity, errs[1] = pki.LoadIdentity(at(raw.TLS.CA), at(raw.TLS.Cert), at(raw.TLS.Key))
	c.Catalogue, errs[2] = catalogueWith(at(raw.Catalogue))
	c.Broker.CA, errs[3] = brokerCA(at, raw.MQTT.CA)
	if len(raw.MQTT.Users) > 0 {
		c.Users, errs[4] = mqtt.NewUsers(raw.MQTT.users())
	}
	if err := errors.Join(errs[:]...); err != nil {
		return config{}, err
	}
	if err := own(c.Identity.Subject, raw, doc, at(raw.TLS.Cert)); err != nil {
		return config{}, err
	}
	c.Identity.Subject.Tier = raw.Node.Tier // which the certificate may be too old to say
	capacity, err := machine.Capacity(ctx, c.DataDir)
	if err != nil {
		return config{}, err
	}
	own := raw.Node.Capacity
	c.Node = tiering.Node{
		ID: raw.Node.Name, Tier: raw.Node.Tier, Uplink: int64(raw.Node.Uplink),
		Capacity: tiering.Resources{
			CPU:    cmp.Or(int64(own.CPU), capacity.CPU),
			Memory: cmp.Or(int64(own.Memory), capacity.Memory),
			Disk:   cmp.Or(int64(own.Disk), capacity.Disk),
		},
	}
	if raw.Coordinator.Dedicated {
		c.Node.Capacity = tiering.Resources{}
	}
	return c, nil
}

// own checks that the certificate is this node's.
func own(s pki.Subject, raw *configFile, doc *yamlfile.Document, file string) error {
	var problems yamlfile.Problems
	bad := func(field, is, want string) {
		problems = append(problems, doc.Problem(field, "is %s, and the certificate %s is of %s: `weft ca issue` makes one that fits", want, file, is))
	}
	if s.Mesh != raw.Mesh {
		bad("mesh", "mesh "+s.Mesh, raw.Mesh)
	}
	if s.Name != raw.Node.Name {
		bad("node.name", s.Name, raw.Node.Name)
	}
	if s.Tier != 0 && s.Tier != raw.Node.Tier {
		bad("node.tier", "tier "+s.Tier.String(), raw.Node.Tier.String())
	}
	// Certificates from before tiers in them let a node at the edge go on as a
	// coordinator until they end; none is renewed for it.
	switch {
	case raw.Coordinator.Enabled && raw.Node.Tier == tiering.Edge && s.Tier == tiering.Edge:
		problems = append(problems, doc.Problem("coordinator.enabled",
			"no node at the edge coordinates: enable it on another node, or give this one node.tier: fog if nobody can carry it away, and a certificate that says so"))
	case !s.Role.Machine():
		bad("tls.cert", "an operator", "a node's")
	case raw.Coordinator.Enabled && !s.ActsAs(pki.Coordinator):
		bad("coordinator.enabled", "role "+string(s.Role)+", not role coordinator", "true")
	}
	return problems.Err()
}

// readKeys reads a file of gossip keys, one a line: the first encrypts.
func readKeys(file string) ([][]byte, error) {
	b, err := pki.ReadSecret(file)
	if err != nil {
		return nil, fmt.Errorf("read the gossip key: %w", err)
	}
	var keys [][]byte
	for _, line := range strings.Fields(string(b)) {
		key, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(key) != gossip.KeySize {
			return nil, fmt.Errorf("%s holds no gossip key: want %d bytes in base64 on each line, as `weft keygen` makes them", file, gossip.KeySize)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s is empty: `weft keygen` makes a gossip key", file)
	}
	return keys, nil
}

// catalogueWith is the built-in catalogue with that of the file, if one is
// named.
func catalogueWith(file string) (*catalog.Catalog, error) {
	if file == "" {
		return catalog.Builtin(), nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the catalogue: %w", err)
	}
	own, err := catalog.Load(file, b)
	if err != nil {
		return nil, err
	}
	return catalog.Builtin().Merge(own)
}
