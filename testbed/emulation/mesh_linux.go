package emulation

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// The ports of every weftd; each has an address to itself.
const (
	gossipPort = "7946"
	dataPort   = "7947"
	raftPort   = "7948"
	apiPort    = APIPort
	mqttPort   = "8883"
)

const (
	gossipKeySize = 32                   // bytes, of AES-256
	validity      = 365 * 24 * time.Hour // of certificates; nobody renews them
	retain        = 5                    // annotated pictures of a source
	maxJoin       = 3                    // nodes besides the coordinators that a node joins through
)

// weftdFile is the configuration of weftd, see examples/config/weftd.yaml.
type weftdFile struct {
	Mesh        string            `yaml:"mesh"`
	Node        weftdNode         `yaml:"node"`
	DataDir     string            `yaml:"dataDir"`
	MediaDir    string            `yaml:"mediaDir,omitempty"`
	ModelsDir   string            `yaml:"modelsDir,omitempty"`
	Listen      map[string]string `yaml:"listen"`
	Advertise   string            `yaml:"advertise"`
	Join        []string          `yaml:"join"`
	GossipKey   string            `yaml:"gossipKey"`
	TLS         tlsFiles          `yaml:"tls"`
	Coordinator weftdCoordinator  `yaml:"coordinator"`
	MQTT        weftdMQTT         `yaml:"mqtt"`
}

type weftdNode struct {
	Name      string            `yaml:"name"`
	Tier      tiering.Tier      `yaml:"tier"`
	Capacity  map[string]string `yaml:"capacity"`
	Uplink    string            `yaml:"uplink,omitempty"`
	Retain    int               `yaml:"retain"`
	Threads   int               `yaml:"threads"`
	Profile   bool              `yaml:"profile"`
	CoreSpeed float64           `yaml:"coreSpeed,omitempty"`
}

type tlsFiles struct {
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

type weftdCoordinator struct {
	Enabled   bool `yaml:"enabled"`
	Expect    int  `yaml:"expect"`
	Dedicated bool `yaml:"dedicated"`
}

type weftdMQTT struct {
	Embedded bool `yaml:"embedded"`
}

// weftFile is the configuration of the weft command.
type weftFile struct {
	Addresses []string `yaml:"addresses"`
	tlsFiles  `yaml:",inline"`
}

// mesh is what the nodes' configurations have in common.
type mesh struct {
	name          string
	media, models string // directories; empty: each node's own
	s             *testbed.Scenario
	speed         float64 // of a core; 0: all of it
	addrs         map[string]netip.Addr
	ca            *pki.CA
}

// absolute is a path that holds in any directory; that of nothing is nothing.
func absolute(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return filepath.Abs(path)
}

const gossipKeyFile = "gossip.key"

// newMesh makes the keys of a mesh and writes what is the operator's.
func newMesh(name, dir string, s *testbed.Scenario, scale float64, addrs map[string]netip.Addr, now time.Time) (*mesh, *pki.Identity, error) {
	ca, err := pki.NewCA(name, now, validity)
	if err != nil {
		return nil, nil, err
	}
	m := &mesh{name: name, s: s, addrs: addrs, ca: ca}
	if speed := s.CoreSpeed(scale); speed < 1 {
		m.speed = speed // which an older weftd does not know
	}
	if m.media, err = absolute(s.Workflow.Media); err != nil {
		return nil, nil, err
	}
	if m.models, err = absolute(s.Workflow.Models); err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, fmt.Errorf("directory of the testbed: %w", err)
	}
	key := make([]byte, gossipKeySize)
	if _, err := rand.Read(key); err != nil {
		return nil, nil, fmt.Errorf("make a gossip key: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, gossipKeyFile), []byte(base64.StdEncoding.EncodeToString(key)+"\n"), 0o600); err != nil {
		return nil, nil, fmt.Errorf("make a gossip key: %w", err)
	}
	operator, err := ca.Issue(pki.Subject{Role: pki.Operator, Name: "operator"}, nil, now, validity)
	if err != nil {
		return nil, nil, err
	}
	if err := operator.Save(filepath.Join(dir, "operator")); err != nil {
		return nil, nil, err
	}
	return m, operator, writeYAML(filepath.Join(dir, "weft.yaml"), weftFile{m.apis(), keyFiles("operator", "operator")})
}

func keyFiles(dir, name string) tlsFiles {
	return tlsFiles{CA: filepath.Join(dir, pki.CACertFile), Cert: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key")}
}

// made lists what newMesh and node make in a directory.
func made() []string { return []string{gossipKeyFile, "weft.yaml", "operator", "nodes"} }

// fresh reports whether the directory is free of an earlier testbed's files.
func fresh(dir string) error {
	for _, f := range made() {
		if _, err := os.Stat(filepath.Join(dir, f)); err == nil {
			return fmt.Errorf("%w: %s holds the files of an earlier testbed (%s): remove them, or use another directory", ErrConfig, dir, f)
		}
	}
	return nil
}

// apis are the addresses of the coordinators.
func (m *mesh) apis() []string {
	var out []string
	for _, n := range m.s.Nodes {
		if n.Coordinator {
			out = append(out, m.addrs[n.Name].String()+":"+apiPort)
		}
	}
	return out
}

// join are the gossip addresses that a node tries: the coordinators', and some
// others', should it come back while those are away.
func (m *mesh) join(node string) []string {
	var first, more []string
	for _, n := range m.s.Nodes {
		at := m.addrs[n.Name].String() + ":" + gossipPort
		switch {
		case n.Name == node:
		case n.Coordinator:
			first = append(first, at)
		case len(more) < maxJoin:
			more = append(more, at)
		}
	}
	return append(first, more...)
}

// node writes a node's keys and configuration to its directory.
func (m *mesh) node(n testbed.Node, dir string, now time.Time) error {
	role := pki.Agent
	if n.Coordinator {
		role = pki.Coordinator
	}
	id, err := m.ca.Issue(pki.Subject{Role: role, Tier: n.Tier, Name: n.Name}, nil, now, validity)
	if err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(dir, 0o755), id.Save(dir)); err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	return writeYAML(filepath.Join(dir, "weftd.yaml"), weftdFile{
		Mesh: m.name,
		Node: weftdNode{
			Name: n.Name, Tier: n.Tier, Retain: retain,
			Threads:  1, // of OpenCV: more of them on a fraction of a core only switch
			Capacity: capacity(n), Uplink: uplink(m.s.Uplink(n.Tier)),
			Profile:   false, // it would be measured beside the experiment, within the node's share of a core
			CoreSpeed: m.speed,
		},
		DataDir: dataDir, MediaDir: m.media, ModelsDir: m.models,
		Listen: map[string]string{
			"gossip": "0.0.0.0:" + gossipPort, "data": "0.0.0.0:" + dataPort, "raft": "0.0.0.0:" + raftPort,
			"api": "0.0.0.0:" + apiPort, "http": "127.0.0.1:" + httpPort, "mqtt": "0.0.0.0:" + mqttPort,
		},
		Advertise: m.addrs[n.Name].String(), Join: m.join(n.Name), GossipKey: filepath.Join("..", "..", gossipKeyFile),
		TLS:         keyFiles("", n.Name),
		Coordinator: weftdCoordinator{n.Coordinator, len(m.apis()), n.Dedicated},
		MQTT:        weftdMQTT{n.Broker},
	})
}

// uplink is a rate as weftd reads it; nothing where links are not limited.
func uplink(bits int64) string {
	if bits == 0 {
		return ""
	}
	return strconv.FormatInt(bits, 10) + "bit"
}

// capacity is what the node offers: unscaled, so that the mesh plans for the
// continuum and not for this machine. Zero would mean: measure this machine.
func capacity(n testbed.Node) map[string]string {
	out := map[string]string{"cpu": strconv.FormatInt(n.Cores, 10) + "m", "memory": strconv.FormatInt(n.Memory, 10) + "B"}
	if n.Disk > 0 {
		out["disk"] = strconv.FormatInt(n.Disk, 10) + "B"
	}
	return out
}

func writeYAML(path string, v any) error {
	b, err := yaml.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return fmt.Errorf("write a configuration: %w", err)
	}
	return nil
}
