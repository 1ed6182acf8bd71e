package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/agent/gossip"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/pipeline/source"
	"github.com/weft-mesh/weft/tiering"
)

// devOptions say how `weftd dev` is to run.
type devOptions struct {
	dir, media, models, catalogue string
	profile                       bool
	log                           *slog.Logger
}

func devCommand() *cobra.Command {
	var (
		o     devOptions
		level slog.Level
	)
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a whole mesh in this process: a coordinator, a cloud, a fog and two edge nodes",
		Long: `Run a whole mesh in this process, on loopback: a coordinator with an MQTT
broker, and a cloud, a fog and two edge nodes. Serf, Raft, QUIC and MQTT are
the real ones; certificates and keys are made anew and thrown away with the
directory. Nothing survives the next start.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.log = newLog(logFile{Level: level})
			m, err := newDev(o)
			if err != nil {
				return err
			}
			return m.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	f := cmd.Flags()
	f.StringVar(&o.dir, "dir", filepath.Join(cache, "weft", "dev"), "directory of the mesh; what an earlier `weftd dev` left there is removed")
	f.StringVar(&o.media, "media", "", "directory of the videos and pictures that workflows name (default DIR/media)")
	f.StringVar(&o.models, "models", "", "directory of detector files (default DIR/models)")
	f.StringVar(&o.catalogue, "catalogue", "", "catalogue of further detectors")
	f.BoolVar(&o.profile, "profile", true, "measure in the background what detectors cost")
	f.TextVar(&level, "log-level", slog.LevelWarn, "debug, info, warn or error")
	return cmd
}

// devMesh is a mesh in one process.
type devMesh struct {
	nodes  []*node
	names  []string
	tiers  []tiering.Tier
	client string // the weft command's configuration file
}

const (
	devMeshName = "dev"
	devMarker   = "weft-dev" // a file that says the directory is ours to remove
	devValidity = 7 * 24 * time.Hour
)

// devNodes are what `weftd dev` runs: capacities as in table I of Houmani et
// al., of which tasks reserve shares whatever the machine really has.
var devNodes = [...]struct {
	name     string
	tier     tiering.Tier
	capacity tiering.Resources
}{
	{"coordinator", tiering.Cloud, tiering.Resources{}},
	{"cloud-1", tiering.Cloud, tiering.Resources{CPU: 8000, Memory: 64 << 30, Disk: 500e9}},
	{"fog-1", tiering.Fog, tiering.Resources{CPU: 4000, Memory: 32 << 30, Disk: 20e9}},
	{"edge-1", tiering.Edge, tiering.Resources{CPU: 1000, Memory: 2 << 30, Disk: 2e9}},
	{"edge-2", tiering.Edge, tiering.Resources{CPU: 1000, Memory: 2 << 30, Disk: 2e9}},
}

// newDev makes the directory, the keys and the nodes.
func newDev(o devOptions) (*devMesh, error) {
	if err := freshDir(o.dir); err != nil {
		return nil, err
	}
	at := func(given, name string) (string, error) {
		if given != "" {
			return filepath.Abs(given)
		}
		p := filepath.Join(o.dir, name)
		return p, os.MkdirAll(p, 0o750)
	}
	media, err := at(o.media, "media")
	if err != nil {
		return nil, err
	}
	models, err := at(o.models, "models")
	if err != nil {
		return nil, err
	}
	now := time.Now()
	ca, err := pki.NewCA(devMeshName, now, devValidity)
	if err != nil {
		return nil, err
	}
	key := make([]byte, gossip.KeySize)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("draw a gossip key: %w", err)
	}
	log := o.log
	devices := source.NewDevices(log)
	known, err := catalogueWith(o.catalogue)
	if err != nil {
		return nil, err
	}
	var measures *measurer
	if o.profile {
		if measures, err = newMeasurer(slog.LevelWarn); err != nil {
			return nil, err
		}
	}
	m := &devMesh{client: filepath.Join(o.dir, "weft.yaml")}
	const anyPort = "127.0.0.1:0"
	for i, d := range devNodes {
		role := pki.Agent
		if i == 0 {
			role = pki.Coordinator
		}
		id, err := ca.Issue(pki.Subject{Role: role, Tier: d.tier, Name: d.name}, []string{"127.0.0.1", "localhost"}, now, devValidity)
		if err != nil {
			return nil, err
		}
		cfg := config{
			Mesh: devMeshName, Node: tiering.Node{ID: d.name, Tier: d.tier, Capacity: d.capacity},
			DataDir: filepath.Join(o.dir, d.name), MediaDir: media, ModelsDir: models, Catalogue: known,
			Listen:     listenFile{Gossip: anyPort, Data: anyPort, Raft: anyPort, API: anyPort, HTTP: anyPort, MQTT: anyPort},
			GossipKeys: [][]byte{key}, Identity: id, Retain: defaults().Node.Retain, Measurer: measures,
		}
		if i == 0 {
			cfg.Expect, cfg.Embedded = 1, true
		} else {
			cfg.Join = []string{m.nodes[0].gossip.Addr()}
		}
		if err := os.MkdirAll(cfg.DataDir, 0o750); err != nil {
			return nil, err
		}
		n, err := newNode(cfg, devices, log.With("node", d.name))
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", d.name, err)
		}
		m.nodes, m.names, m.tiers = append(m.nodes, n), append(m.names, d.name), append(m.tiers, d.tier)
	}
	operator, err := ca.Issue(pki.Subject{Role: pki.Operator, Name: "operator"}, nil, now, devValidity)
	if err != nil {
		return nil, err
	}
	keys := filepath.Join(o.dir, "operator")
	if err := operator.Save(keys); err != nil {
		return nil, err
	}
	client := fmt.Sprintf("# Written by weftd dev: how the weft command reaches this mesh.\naddresses: [%s]\nca: %s\ncert: %s\nkey: %s\n",
		m.nodes[0].addrs.API, "operator/ca.crt", "operator/operator.crt", "operator/operator.key")
	if err := os.WriteFile(m.client, []byte(client), 0o600); err != nil {
		return nil, fmt.Errorf("write the client's configuration: %w", err)
	}
	return m, nil
}

// freshDir empties a directory that an earlier `weftd dev` made, and no other.
func freshDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	if len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(dir, devMarker)); err != nil {
			return fmt.Errorf("%s is not empty and no directory of `weftd dev`: name another with --dir", dir)
		}
		for _, e := range entries {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, devMarker), []byte("weftd dev removes what is here when it starts\n"), 0o600)
}

// run runs every node until ctx ends.
func (m *devMesh) run(ctx context.Context, out io.Writer) error {
	m.describe(out)
	g, ctx := errgroup.WithContext(ctx)
	for i, n := range m.nodes {
		g.Go(func() error {
			if err := n.run(ctx); err != nil {
				return fmt.Errorf("node %s: %w", m.names[i], err)
			}
			return nil
		})
	}
	return g.Wait()
}

func (m *devMesh) describe(out io.Writer) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tTIER\tFRAMES (QUIC)\tPICTURES AND METRICS")
	for i, n := range m.nodes {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", m.names[i], m.tiers[i], n.addrs.Data, n.addrs.HTTP)
	}
	_ = t.Flush()
	fmt.Fprintf(out, "\nAPI %s, MQTT %s\nTo talk to it:  export WEFT_CONFIG=%s\n", m.nodes[0].addrs.API, m.nodes[0].addrs.MQTT, m.client)
}
