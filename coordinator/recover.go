package coordinator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"

	"github.com/weft-mesh/weft/coordinator/state"
)

// ErrPeers reports a list of coordinators that cannot be meant.
var ErrPeers = errors.New("invalid list of coordinators")

// Peer is one coordinator of a mesh that is recovered, as Consul and rqlite
// write it, too.
type Peer struct {
	ID       string `json:"id"`      // node name
	Address  string `json:"address"` // of its Raft, host:port
	NonVoter bool   `json:"non_voter"`
}

// ReadPeers reads a list of coordinators: [{"id", "address", "non_voter"}].
func ReadPeers(file string) ([]Peer, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the list of coordinators: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var peers []Peer
	if err := dec.Decode(&peers); err != nil {
		return nil, fmt.Errorf("%w: %s: %w; write [{\"id\": \"NODE\", \"address\": \"HOST:PORT\"}]", ErrPeers, file, err)
	}
	if dec.More() {
		return nil, fmt.Errorf("%w: %s: something follows the list", ErrPeers, file)
	}
	return peers, nil
}

// checkPeers returns the coordinators as Raft wants them. self must be one.
func checkPeers(self string, peers []Peer) (raft.Configuration, error) {
	var conf raft.Configuration
	bad := func(format string, args ...any) (raft.Configuration, error) {
		return raft.Configuration{}, fmt.Errorf("%w: "+format, append([]any{ErrPeers}, args...)...)
	}
	ids, addrs, voters := map[string]bool{}, map[string]string{}, 0
	for i, p := range peers {
		host, port, err := net.SplitHostPort(p.Address)
		ip := net.ParseIP(host)
		switch {
		case p.ID == "":
			return bad("entry %d has no id; use the node's name", i)
		case ids[p.ID]:
			return bad("%s is listed twice", p.ID)
		case err != nil || host == "" || port == "" || port == "0" || ip != nil && ip.IsUnspecified():
			return bad("%s: %q is not an address that others can dial; use HOST:PORT of its Raft", p.ID, p.Address)
		case addrs[p.Address] != "":
			return bad("%s and %s have one address, %s", addrs[p.Address], p.ID, p.Address)
		}
		ids[p.ID], addrs[p.Address] = true, p.ID
		s := raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(p.ID), Address: raft.ServerAddress(p.Address)}
		if p.NonVoter {
			s.Suffrage = raft.Nonvoter
		} else {
			voters++
		}
		conf.Servers = append(conf.Servers, s)
	}
	switch {
	case len(peers) == 0:
		return bad("it is empty; list the coordinators that survived, this one at least")
	case !ids[self]:
		return bad("this node, %s, is not listed; list the coordinators that survived", self)
	case voters == 0:
		return bad("none of them is a voter")
	}
	return conf, nil
}

// Recovered is what a recovery did.
type Recovered struct {
	Backup    string // copy of the data directory as it was
	Cluster   string // ID of the mesh
	Entry     uint64 // last that is part of the state
	Nodes     int    // in the state
	Workflows int
	Peers     []Peer // who may vote from now on
}

// Recover makes those peers the coordinators of the mesh whose state is in the
// data directory, whoever they were before. It is for a mesh that has lost the
// majority of them for good: everything in the log counts as committed. No
// weftd may run on the directory; a copy of it is kept.
func Recover(cfg Config, peers []Peer) (Recovered, error) {
	out := Recovered{Peers: peers}
	conf, err := checkPeers(cfg.ID, peers)
	if err != nil {
		return out, err
	}
	dir := filepath.Join(cfg.DataDir, "raft")
	if _, err := os.Stat(filepath.Join(dir, "log")); errors.Is(err, fs.ErrNotExist) {
		return out, fmt.Errorf("%w: %s has no state of a coordinator; recover on a machine that was one", ErrNotFound, cfg.DataDir)
	}
	log := newHclog(cfg.Log)
	// Raft must not be running while the copy is made.
	d, err := openDisk(cfg.DataDir, log, 0)
	if err != nil {
		return out, errors.Join(err, d.close())
	}
	err = recoverDisk(&out, d, &cfg, conf)
	return out, errors.Join(err, d.close())
}

func recoverDisk(out *Recovered, d *disk, cfg *Config, conf raft.Configuration) error {
	has, err := raft.HasExistingState(d.store, d.store, d.snapshots)
	if err != nil {
		return storageFault(err, d.dir)
	}
	if !has {
		return fmt.Errorf("%w: %s has no state of a coordinator; recover on a machine that was one", ErrNotFound, cfg.DataDir)
	}
	s, err := d.replay()
	if err != nil {
		return storageFault(err, d.dir)
	}
	if name := s.Cluster(); name != "" && name != cfg.Cluster {
		return fmt.Errorf("%w: %s is of mesh %s, the configuration of mesh %s", ErrWrongMesh, cfg.DataDir, name, cfg.Cluster)
	}
	out.Backup = filepath.Join(cfg.DataDir, "raft.before-recovery-"+time.Now().UTC().Format("20060102T150405.000Z"))
	if err := os.Mkdir(out.Backup, 0o700); err != nil {
		return storageFault(fmt.Errorf("keep a copy of %s: %w", d.dir, err), out.Backup)
	}
	if err := os.CopyFS(out.Backup, os.DirFS(d.dir)); err != nil {
		return storageFault(fmt.Errorf("keep a copy of %s: %w", d.dir, err), out.Backup)
	}
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(cfg.ID)
	rc.Logger = newHclog(cfg.Log).Named("raft")
	machine := &fsm{machine: state.New(), learnt: func(string) error { return nil }, fault: func(err error) error { return err }}
	_, t := raft.NewInmemTransport(conf.Servers[0].Address)
	if err := raft.RecoverCluster(rc, machine, d.store, d.store, d.snapshots, t, conf); err != nil {
		return storageFault(fmt.Errorf("%w (what was there is in %s)", err, out.Backup), d.dir)
	}
	out.Cluster, out.Entry, out.Nodes, out.Workflows = s.ClusterID(), s.Index(), len(s.Nodes()), len(s.Workflows())
	return nil
}

// replay returns the state at the end of the log. RecoverCluster does the same,
// but does not look at what could not be applied.
func (d *disk) replay() (*state.Snapshot, error) {
	m := state.New()
	metas, err := d.snapshots.List()
	if err != nil {
		return nil, err
	}
	for _, meta := range metas {
		if (position{meta.Term, meta.Index}) != d.newest {
			continue
		}
		_, r, err := d.snapshots.Open(meta.ID)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(m.Restore(r), r.Close()); err != nil {
			return nil, err
		}
		break
	}
	last, err := d.store.LastIndex()
	if err != nil {
		return nil, err
	}
	for i := d.newest.index + 1; i <= last; i++ {
		var l raft.Log
		if err := d.store.GetLog(i, &l); err != nil {
			return nil, err
		}
		if l.Type != raft.LogCommand {
			continue
		}
		if _, err := m.Apply(l.Index, l.Data); err != nil {
			return nil, err
		}
	}
	return m.Snapshot(), nil
}
