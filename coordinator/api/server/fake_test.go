package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// fake is a leader whose state the test writes, and a server of it.
type fake struct {
	*testing.T
	ca      *pki.CA
	server  *Server
	machine *state.Machine
	submit  func() error // what plans and writes come to
	fault   error
	stop    func() // the server
	runs    sync.Once
	index   uint64
}

var _ Control = (*fake)(nil)

// newFake returns a fake whose server does not listen yet; caller starts it.
func newFake(t *testing.T) *fake {
	t.Helper()
	ca := pkitest.CA(t)
	f := &fake{T: t, ca: ca, machine: state.New(), submit: func() error { return nil }}
	m := &mesh{T: t, ca: ca}
	var err error
	f.server, err = New(m.config("c1"), f, &gossip{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.server.listener.Close() })
	f.apply(&state.RegisterNode{Node: worker("edge-1", tiering.Edge, 2)})
	return f
}

// apply changes the state.
func (f *fake) apply(cmd state.Command) {
	f.Helper()
	entry, err := state.Encode(cmd)
	if err != nil {
		f.Fatal(err)
	}
	f.index++
	if r, err := f.machine.Apply(f.index, entry); err != nil || r.Err != nil {
		f.Fatal(err, r.Err)
	}
}

func (f *fake) run() { f.runs.Do(func() { f.stop = background(f.T, "server", f.server.Run) }) }

func (f *fake) caller(role pki.Role, name string) *testCaller {
	f.run()
	return newCaller(f.T, pkitest.Issue(f.T, f.ca, role, name), f.server)
}

// as is a request for the handler itself.
func (f *fake) as(role pki.Role, name, method, path, body string) *http.Request {
	cert := pkitest.Issue(f.T, f.ca, role, name).Certificate()
	r := httptest.NewRequestWithContext(f.Context(), method, path, strings.NewReader(body))
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
	return r
}

func (f *fake) Plan(context.Context, *tiering.Workflow) (*tiering.Plan, error) {
	return &tiering.Plan{Categories: map[string]tiering.Category{}}, f.submit()
}

func (f *fake) Submit(context.Context, *tiering.Workflow, string) (*tiering.Plan, error) {
	return &tiering.Plan{Categories: map[string]tiering.Category{}}, f.submit()
}

func (f *fake) Stop(context.Context, string) error { return f.submit() }

func (f *fake) Drain(context.Context, string, bool) error { return f.submit() }

func (f *fake) Report(pipeline.Report) error { return f.submit() }

func (f *fake) PutProfiles(_ context.Context, node string, ps []profile.Profile) error {
	if err := (&state.PutProfiles{Node: node, Profiles: ps}).Check(); err != nil {
		return err
	}
	return f.submit()
}

func (f *fake) CreateToken(_ context.Context, t state.Token, lifetime time.Duration) (*state.Token, error) {
	return &t, f.submit()
}

func (f *fake) RevokeToken(context.Context, string) error { return f.submit() }

func (f *fake) Verify(context.Context) error { return f.submit() }

func (f *fake) Status(context.Context, string) (api.WorkflowStatus, error) {
	return api.WorkflowStatus{}, f.submit()
}

func (f *fake) Quality(context.Context, string) (api.QualityStatus, error) {
	return api.QualityStatus{}, f.submit()
}

func (f *fake) Snapshot() *state.Snapshot { return f.machine.Snapshot() }

func (f *fake) Events(ctx context.Context, after uint64) ([]state.Event, error) {
	for {
		events, more := f.machine.Events(after)
		if len(events) > 0 {
			return events, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (f *fake) Leader() (string, string, bool) { return "c1", f.server.Addr(), true }

func (f *fake) IsLeader() bool { return true }

func (f *fake) Fault() error { return f.fault }
