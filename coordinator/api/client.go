package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/models/profile"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// The conditions that callers tell apart, besides the codes of [Error].
var (
	// ErrUnreachable reports that no coordinator answered; its text says which
	// were asked, and why each did not.
	ErrUnreachable = errors.New("no coordinator answers")
	// ErrUncertain reports a write whose answer was lost on the way.
	ErrUncertain = errors.New("it may or may not have been carried out")
)

// Wait is how long the server holds a request for assignments that have not
// changed.
const Wait = 30 * time.Second

// Client speaks to whichever coordinator answers: first the one that did last.
// It is safe for concurrent use.
//
// Its errors are an [*Error] if a coordinator answered with one, or else
// ErrUnreachable or ErrUncertain with the causes.
type Client struct {
	addresses func() []string // host:port
	http      *http.Client
	bearer    string // header Authorization; empty: a certificate is shown

	mu   sync.Mutex
	last string
}

// NewClient returns a client of the coordinators at the addresses, host:port,
// asked for before each request. tlsConfig carries the caller's certificate.
func NewClient(addresses func() []string, tlsConfig *tls.Config) *Client {
	return NewClientVia(nil, addresses, tlsConfig)
}

// NewClientVia is NewClient with connections that dial makes, say from inside
// a network namespace; nil: as usual.
func NewClientVia(dial DialFunc, addresses func() []string, tlsConfig *tls.Config) *Client {
	return newClient(addresses, NewTransport(tlsConfig, nil, dial))
}

// NewPeerClient is NewClient for a node, whose connections end with its trust in
// the coordinator.
func NewPeerClient(peers *pki.Peers, addresses func() []string, tlsConfig *tls.Config) *Client {
	return newClient(addresses, NewTransport(tlsConfig, peers, nil))
}

// newClient follows no redirects: coordinators forward by themselves, and what
// the caller shows and sends is for those at the addresses.
func newClient(addresses func() []string, t *Transport) *Client {
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{addresses: addresses, http: &http.Client{Transport: t, CheckRedirect: stay}}
}

// NewTokenClient is NewClient for a caller that shows a token. tlsConfig has no
// certificate.
func NewTokenClient(addresses func() []string, tlsConfig *tls.Config, token Secret) *Client {
	c := NewClient(addresses, tlsConfig)
	c.bearer = "Bearer " + token.Reveal()
	return c
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Mesh asks how the control plane is doing.
func (c *Client) Mesh(ctx context.Context) (m Mesh, err error) {
	return m, c.get(ctx, "/v1/mesh", nil, &m)
}

// Nodes lists the nodes, dead ones included.
func (c *Client) Nodes(ctx context.Context) (ns []Node, err error) {
	return ns, c.get(ctx, "/v1/nodes", nil, &ns)
}

// Models lists the catalogue.
func (c *Client) Models(ctx context.Context) (ms []Model, err error) {
	return ms, c.get(ctx, "/v1/models", nil, &ms)
}

// Workflows lists the workflows, stopped ones included.
func (c *Client) Workflows(ctx context.Context) (ws []Workflow, err error) {
	return ws, c.get(ctx, "/v1/workflows", nil, &ws)
}

// Workflow asks how a workflow is doing.
func (c *Client) Workflow(ctx context.Context, name string) (s WorkflowStatus, err error) {
	return s, c.get(ctx, "/v1/workflows/"+url.PathEscape(name), nil, &s)
}

// Quality asks how the quality of a workflow's sources is adapted.
func (c *Client) Quality(ctx context.Context, name string) (s QualityStatus, err error) {
	return s, c.get(ctx, "/v1/workflows/"+url.PathEscape(name)+"/quality", nil, &s)
}

// Plan says what submitting the document would change. file is its name, for
// messages.
func (c *Client) Plan(ctx context.Context, file string, document []byte) (p Planned, err error) {
	return p, c.do(ctx, call{
		method: http.MethodPost, path: "/v1/plan", query: url.Values{"file": {file}},
		contentType: "application/yaml", body: document, repeatable: true,
	}, &p)
}

// Submit submits the document. file is its name, for messages.
func (c *Client) Submit(ctx context.Context, file string, document []byte) (p Planned, err error) {
	return p, c.do(ctx, call{
		method: http.MethodPost, path: "/v1/workflows", query: url.Values{"file": {file}},
		contentType: "application/yaml", body: document,
	}, &p)
}

// Stop stops a workflow and releases what it has reserved.
func (c *Client) Stop(ctx context.Context, workflow string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/v1/workflows/" + url.PathEscape(workflow)}, nil)
}

// Drain has a node drain, or take tasks again, and returns the node as it is
// then.
func (c *Client) Drain(ctx context.Context, node string, drain bool) (n Node, err error) {
	body, err := json.Marshal(Drain{drain})
	if err != nil {
		return n, err
	}
	return n, c.do(ctx, call{
		method: http.MethodPost, path: "/v1/nodes/" + url.PathEscape(node) + "/drain",
		contentType: "application/json", body: body, repeatable: true, // twice is once
	}, &n)
}

// Tokens lists the tokens, expired ones included.
func (c *Client) Tokens(ctx context.Context) (ts []Token, err error) {
	return ts, c.get(ctx, "/v1/tokens", nil, &ts)
}

// CreateToken makes a token. Its secret is told this once.
func (c *Client) CreateToken(ctx context.Context, ask TokenRequest) (t NewToken, err error) {
	body, err := json.Marshal(ask)
	if err != nil {
		return t, fmt.Errorf("encode token: %w", err)
	}
	return t, c.do(ctx, call{method: http.MethodPost, path: "/v1/tokens", contentType: "application/json", body: body}, &t)
}

// RevokeToken makes the token of that name invalid.
func (c *Client) RevokeToken(ctx context.Context, name string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/v1/tokens/" + url.PathEscape(name)}, nil)
}

// Assignments returns what the node is to run and the index of that state.
// With an index after other than 0 it blocks, for [Wait] at most, until there
// is something newer.
func (c *Client) Assignments(ctx context.Context, node string, after uint64) ([]tiering.Assignment, uint64, error) {
	a, err := c.Watch(ctx, node, after)
	return a.Assignments, a.Index, err
}

// Watch is Assignments with the models that the node is to have.
func (c *Client) Watch(ctx context.Context, node string, after uint64) (a Assignments, err error) {
	return a, c.get(ctx, "/v1/nodes/"+url.PathEscape(node)+"/assignments", url.Values{"after": {strconv.FormatUint(after, 10)}}, &a)
}

// Report tells the leader how a node's instances are doing.
func (c *Client) Report(ctx context.Context, r pipeline.Report) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	return c.do(ctx, call{
		method: http.MethodPost, path: "/v1/nodes/" + url.PathEscape(r.Node) + "/report",
		contentType: "application/json", body: body, repeatable: true, // counts grow, so twice is once
	}, nil)
}

// Profiles lists what detectors were measured to cost, by node.
func (c *Client) Profiles(ctx context.Context) (ps []NodeProfile, err error) {
	return ps, c.get(ctx, "/v1/profiles", nil, &ps)
}

// PutProfiles says what detectors cost on a node.
func (c *Client) PutProfiles(ctx context.Context, node string, ps []profile.Profile) error {
	body, err := json.Marshal(Profiles{ps})
	if err != nil {
		return fmt.Errorf("encode profiles: %w", err)
	}
	return c.do(ctx, call{
		method: http.MethodPut, path: "/v1/nodes/" + url.PathEscape(node) + "/profiles",
		contentType: "application/json", body: body, repeatable: true, // twice is once
	}, nil)
}

// call is one request, to whichever coordinator answers.
type call struct {
	method, path string // the path as in a URL, escaped
	query        url.Values
	contentType  string
	body         []byte
	// repeatable: another coordinator is asked even if this one, or the leader,
	// may have carried it out.
	repeatable bool
}

func (c *Client) get(ctx context.Context, path string, query url.Values, into any) error {
	return c.do(ctx, call{method: http.MethodGet, path: path, query: query, repeatable: true}, into)
}

func (c *Client) do(ctx context.Context, what call, into any) error {
	return c.ask(ctx, what, func(resp *http.Response) error { return answer(resp, into) })
}

// ask asks one coordinator after the other until one answers, and hands the
// answer to read. Those without a leader, or with too much to do, do not count.
func (c *Client) ask(ctx context.Context, what call, read func(*http.Response) error) error {
	var (
		tried    attempts
		answered *Error // of one that could not help
	)
	for _, addr := range c.order() {
		resp, err := c.send(ctx, addr, what)
		switch {
		case err == nil:
			err = c.receive(addr, resp, read)
			known, ok := errors.AsType[*Error](err)
			if !ok || !known.elsewhere() && (!what.repeatable || known.Code != CodeUncertain) {
				return err
			}
			answered = known
		case !what.repeatable && !errors.Is(err, ErrNotSent):
			return fmt.Errorf("no answer from %s (%w): %w", addr, explain(err), ErrUncertain)
		}
		tried = append(tried, attempt{addr, explain(err)})
		if ctx.Err() != nil {
			break
		}
	}
	switch {
	case len(tried) == 0:
		return fmt.Errorf("%w: no address of one is known", ErrUnreachable)
	case !slices.ContainsFunc(tried, func(a attempt) bool { return !errors.As(a.err, new(*Error)) }):
		return answered // all are there, and none can help
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, tried)
}

// order is the addresses, the one that answered last first.
func (c *Client) order() []string {
	c.mu.Lock()
	last := c.last
	c.mu.Unlock()
	out := slices.Clone(c.addresses())
	if i := slices.Index(out, last); i > 0 {
		out = slices.Insert(slices.Delete(out, i, i+1), 0, last)
	}
	return out
}

func (c *Client) send(ctx context.Context, addr string, what call) (*http.Response, error) {
	_, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, &worded{err.Error(), []error{ErrNotSent, err}}
	}
	req, err := http.NewRequestWithContext(ctx, what.method, "https://"+addr+what.path, bytes.NewReader(what.body))
	if err != nil {
		return nil, &worded{err.Error(), []error{ErrNotSent, err}}
	}
	req.URL.RawQuery = what.query.Encode()
	if c.bearer != "" {
		req.Header.Set("Authorization", c.bearer)
	}
	if what.contentType != "" {
		req.Header.Set("Content-Type", what.contentType)
	}
	return c.http.Do(req)
}

// receive reads an answer and remembers who gave it.
func (c *Client) receive(addr string, resp *http.Response, read func(*http.Response) error) error {
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		err := readError(resp)
		if !err.elsewhere() {
			c.remember(addr)
		}
		return err
	}
	c.remember(addr)
	return read(resp)
}

func (c *Client) remember(addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = addr
}

func answer(resp *http.Response, into any) error {
	if into == nil {
		_, err := io.Copy(io.Discard, resp.Body)
		return err
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("the answer of %s cannot be read: %w", resp.Request.URL.Host, err)
	}
	return nil
}
