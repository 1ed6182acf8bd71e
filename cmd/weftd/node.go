package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/agent"
	"github.com/weft-mesh/weft/agent/gossip"
	"github.com/weft-mesh/weft/agent/journal"
	"github.com/weft-mesh/weft/agent/library"
	"github.com/weft-mesh/weft/agent/machine"
	"github.com/weft-mesh/weft/agent/profiler"
	"github.com/weft-mesh/weft/coordinator"
	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/api/server"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/models/fetch"
	"github.com/weft-mesh/weft/models/store"
	"github.com/weft-mesh/weft/models/street/detector"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/pipeline/gallery"
	"github.com/weft-mesh/weft/pipeline/mqtt"
	"github.com/weft-mesh/weft/pipeline/mqtt/broker"
	"github.com/weft-mesh/weft/pipeline/quic"
	"github.com/weft-mesh/weft/pipeline/source"
	"github.com/weft-mesh/weft/pipeline/vision"
	"github.com/weft-mesh/weft/tiering"
)

// measureEvery is how often a node measures what of it is unused.
const measureEvery = 5 * time.Second

// node is one weftd: every part made and bound, ready to run.
type node struct {
	log    *slog.Logger
	gossip *gossip.Gossip
	coord  *coordinator.Coordinator // nil: this node is no coordinator
	parts  []actor
	close  []func() error // what Run does not release
	addrs  tiering.Addresses
}

// newNode makes every part of a node in the order in which they need each
// other. devices are the machine's cameras, of which there is one set however
// many nodes run in this process. What it has bound when it fails is released with the process.
func newNode(cfg config, devices *source.Devices, log *slog.Logger) (*node, error) {
	n := &node{log: log}
	id, self := cfg.Identity, cfg.Node
	self.Version = version
	self.Platforms = platforms(self.Capacity)
	shelf := store.New(cfg.ModelsDir, cfg.Catalogue, detector.Files())
	books, err := library.New(library.Config{
		Store: shelf, Fetch: &fetch.Fetcher{Log: log.With("part", "models")}, Sources: n.holders(self.ID, id),
		Tell: func(names []string) (int, error) { return n.gossip.SetModels(names) },
		Room: func(ctx context.Context) (int64, error) { return machine.Disk(ctx, cfg.ModelsDir) },
		Log:  log.With("part", "models"),
	})
	if err != nil {
		return nil, err
	}
	self.Models = books.Models()
	if cfg.Threads > 0 {
		vision.SetThreads(cfg.Threads)
	}

	n.gossip, err = gossip.New(gossip.Config{
		Mesh: cfg.Mesh, Node: self, Listen: cfg.Listen.Gossip, Advertise: cfg.Advertise, Join: cfg.Join,
		Keys: cfg.GossipKeys, DataDir: cfg.DataDir, Known: func() []string { return n.models(books) }, Log: log.With("part", "gossip"),
	})
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(n.gossip.Addr())
	if err != nil {
		return nil, fmt.Errorf("gossip address: %w", err)
	}
	reach := func(bound string) string { return reachable(bound, host) }

	board := pipeline.NewSwitchboard()
	link, err := quic.New(quic.Config{
		Listen: cfg.Listen.Data, Node: self.ID,
		ServerTLS: id.ServerTLS(pki.Agent), ClientTLS: id.ClientTLS(pki.Agent), Peers: id.Peers(), Log: log.With("part", "quic"),
	}, board)
	if err != nil {
		return nil, err
	}
	n.addrs.Data = reach(link.Addr())

	var mq *broker.Broker
	if cfg.Embedded {
		conf := broker.Config{
			Listen: cfg.Listen.MQTT, TLS: id.ServerTLS(pki.Agent, pki.Operator), Peers: id.Peers(), Allow: mqtt.Allowed, Log: log.With("part", "broker"),
		}
		if cfg.Users != nil {
			conf.Users = cfg.Users
		}
		if cfg.PlainMQTT {
			conf.PlainListen = cfg.Listen.MQTTPlaintext
		}
		mq, err = broker.New(conf)
		if err != nil {
			return nil, err
		}
		n.addrs.MQTT = "tls://" + reach(mq.Addr())
	}
	bl := &brokerLink{
		node: self.ID, tls: cfg.Broker.tls(id.ClientTLS(pki.Agent)), peers: cfg.Broker.peers(id.Peers()), recv: board, log: log.With("part", "mqtt"),
		find: func() (meshBroker, bool) { return findBroker(cfg.Broker.URL, n.gossip.Members()) },
	}

	pictures, err := gallery.New(gallery.Config{Dir: filepath.Join(cfg.DataDir, "pictures"), Retain: cfg.Retain, Log: log.With("part", "gallery")})
	if err != nil {
		return nil, err
	}
	n.close = append(n.close, pictures.Close)

	var apiServer *server.Server
	if cfg.Expect > 0 {
		raftLog := log.With("part", "coordinator")
		n.coord, err = coordinator.New(coordinator.Config{
			ID: self.ID, Cluster: cfg.Mesh, DataDir: filepath.Join(cfg.DataDir, "raft"),
			RaftListen: cfg.Listen.Raft, RaftAdvertise: reach(cfg.Listen.Raft), Expect: cfg.Expect,
			ServerTLS: id.ServerTLS(pki.Coordinator), ClientTLS: id.ClientTLS(pki.Coordinator), Peers: id.Peers(), Log: raftLog,
			OnFault: func(why error) {
				if err := n.gossip.SetFault(coordinator.Summary(why)); err != nil {
					raftLog.Warn("cannot tell the others that this coordinator is out of service", "err", err)
				}
			},
		}, n.gossip, n.gossip.RoundTrip)
		if err != nil {
			return nil, err
		}
		n.addrs.Raft = n.coord.RaftAddr()
		apiServer, err = server.New(server.Config{
			Mesh: cfg.Mesh, Node: self.ID, Version: version, Listen: cfg.Listen.API, Library: books,
			ServerTLS: id.ServerTLS(pki.Agent, pki.Coordinator, pki.Operator), ClientTLS: id.ClientTLS(pki.Coordinator), Peers: id.Peers(),
			AuditDir: filepath.Join(cfg.DataDir, "audit"), GossipKeys: n.gossip, Log: log.With("part", "api"),
		}, n.coord, n.gossip)
		if err != nil {
			return nil, err
		}
		n.addrs.API = reach(apiServer.Addr())
	}

	client := api.NewPeerClient(id.Peers(), func() []string { return coordinators(n.gossip.Members()) }, id.ClientTLS(pki.Coordinator))
	shop := &workshop{
		models: books, modelsDir: cfg.ModelsDir, embedded: shelf.Embedded(), mediaDir: cfg.MediaDir, retain: cfg.Retain,
		gallery: pictures, broker: bl, devices: devices, log: log.With("part", "stages"),
	}
	run := make([]byte, 8)
	if _, err := rand.Read(run); err != nil {
		return nil, fmt.Errorf("name this run: %w", err)
	}
	told := &control{Client: client, models: books}
	worker, err := agent.New(agent.Config{
		Node: self, Speed: cfg.CoreSpeed, Journal: journal.New(filepath.Join(cfg.DataDir, "assignments"), cfg.Mesh, self.ID), Log: log.With("part", "agent"),
	}, hex.EncodeToString(run), told, shop,
		agent.Links{
			Senders: map[tiering.Transport]pipeline.Sender{tiering.QUIC: link, tiering.MQTT: bl},
			Encoder: vision.Codec{},
		}, board, n.gossip.RoundTrip)
	if err != nil {
		return nil, err
	}
	metrics := []prometheus.Collector{worker.Metrics()}
	if n.coord != nil {
		metrics = append(metrics, n.coord.Metrics())
	}
	var profiles *profiler.Profiler
	if cfg.Measurer != nil {
		profiles, err = profiler.New(profiler.Config{Node: self.ID, Log: log.With("part", "profiles")}, newBackground(&cfg, books), client, worker)
		if err != nil {
			return nil, err
		}
		told.profiles = profiles
	}
	web, err := newWeb(cfg.Listen.HTTP, id, pictures, metrics, books, log.With("part", "http"))
	if err != nil {
		return nil, err
	}
	n.addrs.HTTP = web.scheme + "://" + reach(web.addr())
	if err := n.gossip.Announce(n.addrs); err != nil {
		return nil, err
	}

	// Stopped from the last to the first: the API stops accepting, the agent
	// drains while its links still carry frames, a leader hands over, gossip
	// says good-bye, and Raft shuts down last.
	measure := func(ctx context.Context) error {
		// What cannot be measured now is no reason to stop anything.
		for ctx.Err() == nil {
			if err := machine.Watch(ctx, cfg.DataDir, self.Capacity, measureEvery, n.gossip.SetFree); err != nil {
				log.Warn("cannot measure what is free on this machine, will try again", "err", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(measureEvery):
			}
		}
		return nil
	}
	if err := n.follow(cfg); err != nil {
		return nil, err
	}
	n.add("links", link.Run)
	if n.coord != nil {
		n.add("coordinator", n.coordinate)
	}
	n.add("gossip", n.gossip.Run)
	if n.coord != nil {
		n.add("identity", n.identify)
		n.add("leadership", func(ctx context.Context) error { <-ctx.Done(); n.coord.StepDown(); return nil })
	}
	if mq != nil {
		n.add("mqtt broker", mq.Run)
	}
	n.add("mqtt", bl.Run)
	n.add("measurement", measure)
	n.add("models", books.Run)
	if profiles != nil {
		n.add("profiles", profiles.Run)
	}
	n.add("http", web.run)
	n.add("agent", worker.Run)
	if apiServer != nil {
		n.add("api", apiServer.Run)
	}
	return n, nil
}

// follow adds what keeps certificates and keys as their files are.
func (n *node) follow(cfg config) error {
	if !cfg.Identity.Followable() {
		return nil // of `weftd dev`, which ends before they do
	}
	certificates, keys := make(chan os.Signal, 1), make(chan os.Signal, 1)
	f, err := pki.NewFollower(cfg.Identity, certificates, n.log.With("part", "certificates"))
	if err != nil {
		return err
	}
	k := &keyFollower{file: cfg.KeyFile, seen: cfg.GossipKeys, now: keys, use: n.gossip.SetKeys, log: n.log.With("part", "gossip")}
	n.add("certificates", f.Run)
	n.add("gossip key", k.run)
	n.add("hangup", func(ctx context.Context) error { return split(ctx, cfg.Hangup, certificates, keys) })
	return nil
}

func (n *node) add(name string, run func(context.Context) error) {
	n.parts = append(n.parts, actor{name, run})
}

// coordinate runs the coordinator. Damage to what it keeps takes it out of
// service, but not the node: its stages go on, and the other coordinators place
// them. What is wrong with the configuration ends weftd.
func (n *node) coordinate(ctx context.Context) error {
	err := n.coord.Run(ctx)
	if !errors.Is(err, coordinator.ErrStorage) || ctx.Err() != nil {
		return err
	}
	tick := time.NewTicker(remindEvery)
	defer tick.Stop()
	for {
		n.log.Error("this node is not a coordinator any more, and goes on as an agent", "err", err)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// remindEvery is how often a node says that its coordinator is out of service.
const remindEvery = 10 * time.Minute

// identify gossips which mesh this is, once the coordinator knows.
func (n *node) identify(ctx context.Context) error {
	select {
	case <-n.coord.Identified():
		if err := n.gossip.SetCluster(n.coord.ClusterID()); err != nil {
			n.log.Error("cannot gossip the ID of the mesh; meshes of one name may mix", "err", err)
		}
	case <-ctx.Done():
	}
	<-ctx.Done()
	return nil
}

// run runs the node until ctx ends.
func (n *node) run(ctx context.Context) error {
	n.log.Info("weftd is up", "version", version, "gossip", n.gossip.Addr(), "data", n.addrs.Data,
		"api", n.addrs.API, "http", n.addrs.HTTP, "mqtt", n.addrs.MQTT)
	errs := []error{runAll(ctx, n.log, n.parts)}
	for _, c := range n.close {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// reachable is the address at which others reach what was bound: a wildcard
// is replaced by the host that gossip advertises.
func reachable(bound, host string) string {
	h, port, err := net.SplitHostPort(bound)
	if err != nil {
		return bound
	}
	if ip := net.ParseIP(h); h == "" || (ip != nil && ip.IsUnspecified()) {
		h = host
	}
	return net.JoinHostPort(h, port)
}

// platforms are the processors that detectors of this build can use.
func platforms(capacity tiering.Resources) []tiering.Platform {
	cores := min(int(capacity.CPU+999)/1000, runtime.NumCPU())
	out := []tiering.Platform{{Type: "cpu", Count: max(cores, 1)}}
	if n := vision.CUDADevices(); n > 0 {
		out = append(out, tiering.Platform{Type: "cuda", Count: n})
	}
	return out
}

// coordinators are the API addresses of the live coordinators.
func coordinators(members []tiering.Member) []string {
	var out []string
	for _, m := range members {
		if m.Status == tiering.NodeAlive && m.Node.Addresses.API != "" {
			out = append(out, m.Node.Addresses.API)
		}
	}
	slices.Sort(out)
	return out
}
