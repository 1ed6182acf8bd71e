package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// Decider plans and carries out workflows; the leader only.
type Decider interface {
	Plan(ctx context.Context, w *tiering.Workflow) (*tiering.Plan, error)
	Submit(ctx context.Context, w *tiering.Workflow, document string) (*tiering.Plan, error)
	Stop(ctx context.Context, workflow string) error
	Drain(ctx context.Context, node string, drain bool) error
}

// Reporter keeps what agents say of their instances; the leader only.
type Reporter interface {
	Report(r pipeline.Report) error
	Status(ctx context.Context, workflow string) (api.WorkflowStatus, error)
	Quality(ctx context.Context, workflow string) (api.QualityStatus, error)
}

// Profiler keeps what nodes say of what detectors cost there; the leader only.
type Profiler interface {
	PutProfiles(ctx context.Context, node string, ps []profile.Profile) error
}

// Keyring makes tokens and revokes them; the leader only.
type Keyring interface {
	CreateToken(ctx context.Context, t state.Token, lifetime time.Duration) (*state.Token, error)
	RevokeToken(ctx context.Context, name string) error
}

// History is the replicated state as this coordinator has it.
type History interface {
	Snapshot() *state.Snapshot
	Events(ctx context.Context, after uint64) ([]state.Event, error)
}

// Leadership says who leads.
type Leadership interface {
	Leader() (node, apiAddress string, ok bool)
	IsLeader() bool
	// Verify makes sure that this coordinator leads, and so that Snapshot has
	// everything that anybody was told.
	Verify(ctx context.Context) error
}

// Health says how the coordinator itself is.
type Health interface {
	// Fault is why it is out of service; nil: it is not.
	Fault() error
}

// Control is a coordinator.
type Control interface {
	Health
	Decider
	Reporter
	Profiler
	Keyring
	History
	Leadership
}

// Membership is the mesh as gossip sees it.
type Membership interface {
	Members() []tiering.Member
	RoundTrip(a, b string) (time.Duration, bool)
}

// GossipKeys are the keys that encrypt gossip.
type GossipKeys interface {
	Keys(ctx context.Context) ([]tiering.NodeKeys, error)
	RotateKey(ctx context.Context, key []byte) (tiering.KeyRotation, error)
}

// Config says how to serve. ServerTLS must require client certificates: the
// server lets callers go without one who show a token instead. ClientTLS is for
// forwarding to the leader.
type Config struct {
	Mesh, Node, Version  string
	Listen               string // host:port
	ServerTLS, ClientTLS *tls.Config
	Peers                *pki.Peers       // connections end with the trust in their peer; nil: they do not
	AuditDir             string           // records of writes; made if it is not there
	Catalogue            *catalog.Catalog // if there is no Library
	Library              Library          // nil: no files are handed out
	GossipKeys           GossipKeys       // nil: there is none to show or to exchange
	Log                  *slog.Logger
}

// Server answers the API.
type Server struct {
	cfg       Config
	control   Control
	members   Membership
	listener  net.Listener
	transport *api.Transport
	forward   http.Handler
	browsers  http.CrossOriginProtection
	limits    limits
	held      *holds // requests that wait for news
	bodies    *holds // requests whose body arrives
	blobs     *holds // files that are handed out
	rates     *rates
	audit     *audit
	done      chan struct{} // closed when the server stops: ends held requests
}

// New binds the address and opens the audit log, which Run releases (also a Run
// with a context that is done).
func New(cfg Config, control Control, members Membership) (*Server, error) {
	if !pki.AsksForCertificates(cfg.ServerTLS) {
		return nil, errors.New("the API needs TLS settings that require client certificates")
	}
	if cfg.AuditDir == "" {
		return nil, errors.New("the API needs a directory for its audit log")
	}
	records, err := newAudit(cfg.AuditDir, cfg.Log)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("API on %s: %w (is another weftd running? set `listen.api` to a free address)", cfg.Listen, err)
	}
	s := &Server{
		cfg: cfg, control: control, members: members, listener: l,
		transport: api.NewTransport(cfg.ClientTLS, cfg.Peers, nil), limits: defaultLimits(),
		held: newHolds(maxHeld, maxHeldEach), bodies: newHolds(maxBodies, maxBodiesEach), blobs: newHolds(maxBlobs, maxBlobsEach), rates: newRates(),
		audit: records, done: make(chan struct{}),
	}
	s.forward = s.newForwarder()
	return s, nil
}

// Addr is the address bound, host:port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Run serves until ctx ends. Requests that are held answer at once then, and
// others are given a few seconds. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	h := &http.Server{
		Handler:           s.handler(),
		ConnContext:       withConn,
		TLSConfig:         pki.OptionalClient(s.cfg.ServerTLS),
		ReadHeaderTimeout: s.limits.header,
		IdleTimeout:       s.limits.idle,
		MaxHeaderBytes:    maxHeader,
		HTTP2:             &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout, WriteByteTimeout: s.limits.answer},
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	h.TLSConfig.NextProtos = []string{"h2", "http/1.1"}
	listener := s.cfg.Peers.Listener(newBoundedListener(s.listener, s.limits, s.cfg.Log), h.TLSConfig)
	go func() { failed <- h.Serve(listener) }()
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	close(s.done)
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownLimit)
	defer cancel()
	if h.Shutdown(limit) != nil {
		s.cfg.Log.Warn("API requests cut off", "after", shutdownLimit)
		_ = h.Close()
	}
	s.transport.CloseIdleConnections()
	if err == nil {
		err = <-failed
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	if err := errors.Join(err, s.audit.close()); err != nil {
		return fmt.Errorf("API: %w", err)
	}
	return nil
}
