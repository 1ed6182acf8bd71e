package server

import (
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/coordinator"
	"github.com/weft-mesh/weft/coordinator/state"
)

// route is one operation of the API; openapi.yaml describes each, and a test
// compares the two.
type route struct {
	method, path string
	scope        state.Scope // what a token must have
	agents       agents
	place        place
	body         int64 // most bytes that it takes
	handle       func(http.ResponseWriter, *http.Request) error
}

const (
	// certificate is the scope of what no token may do.
	certificate = state.Scope("")

	read   = state.ScopeRead
	submit = state.ScopeSubmit
	admin  = state.ScopeAdmin
)

// place says who can answer.
type place int

const (
	here   place = iota // any coordinator, from its own copy of the state
	either              // any coordinator; the leader if the caller wants the latest
	leader              // the leader, who may be asked again
	// leaderOnce: the leader; what may have been carried out is not asked of it
	// again.
	leaderOnce
)

func (s *Server) routes() []route {
	return []route{
		{"GET", "/v1/mesh", read, anyAgent, here, 0, s.getMesh},
		{"GET", "/v1/nodes", read, noAgent, either, 0, s.getNodes},
		{"GET", "/v1/nodes/{node}/assignments", certificate, itsAgent, here, 0, s.getAssignments},
		{"POST", "/v1/nodes/{node}/report", certificate, itsAgent, leader, maxReport, s.postReport},
		{"PUT", "/v1/nodes/{node}/profiles", certificate, itsAgent, leader, maxProfiles, s.putProfiles},
		{"POST", "/v1/nodes/{node}/drain", admin, noAgent, leaderOnce, maxDrain, s.postDrain},
		{"GET", "/v1/models", read, noAgent, here, 0, s.getModels},
		{"GET", "/v1/profiles", read, noAgent, either, 0, s.getProfiles},
		{"GET", "/v1/blobs/{digest}", read, anyAgent, here, 0, s.getBlob},
		{"POST", "/v1/plan", read, noAgent, leader, maxDocument, s.postPlan},
		{"GET", "/v1/workflows", read, noAgent, either, 0, s.getWorkflows},
		{"POST", "/v1/workflows", submit, noAgent, leaderOnce, maxDocument, s.postWorkflow},
		{"GET", "/v1/workflows/{workflow}", read, noAgent, leader, 0, s.getWorkflow},
		{"GET", "/v1/workflows/{workflow}/quality", read, noAgent, leader, 0, s.getQuality},
		{"DELETE", "/v1/workflows/{workflow}", submit, noAgent, leaderOnce, 0, s.deleteWorkflow},
		{"GET", "/v1/tokens", admin, noAgent, either, 0, s.getTokens},
		{"POST", "/v1/tokens", admin, noAgent, leaderOnce, maxSmall, s.postToken},
		{"DELETE", "/v1/tokens/{token}", admin, noAgent, leaderOnce, 0, s.deleteToken},
		{"GET", "/v1/gossip-keys", admin, noAgent, here, 0, s.getGossipKeys},
		{"POST", "/v1/gossip-keys", admin, noAgent, here, maxSmall, s.postGossipKey},
		{"GET", "/v1/events", read, noAgent, here, 0, s.getEvents},
		{"GET", "/v1/openapi.yaml", read, anyAgent, here, 0, s.getOpenAPI},
		{"GET", "/v1/workflow.schema.json", read, anyAgent, here, 0, s.getSchema},
	}
}

// write reports whether the operation changes the mesh, and so is recorded:
// everything but reads and what agents say of themselves. A dry run is a read.
func (rt *route) write() bool {
	return rt.method != http.MethodGet && rt.scope != certificate && rt.scope != read
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{} // by path
	for _, rt := range s.routes() {
		mux.Handle(rt.method+" "+rt.path, s.guard(rt))
		methods[rt.path] = append(methods[rt.path], rt.method)
	}
	for path, known := range methods {
		slices.Sort(known)
		allow := strings.Join(known, ", ")
		mux.Handle(path, s.guard(route{scope: read, agents: anyAgent, handle: func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Allow", allow)
			return methodNotAllowed("%s %s is not part of the API: the path takes %s", r.Method, r.URL.Path, allow)
		}}))
	}
	mux.Handle("/", s.guard(route{scope: read, agents: anyAgent, handle: func(_ http.ResponseWriter, r *http.Request) error {
		return notFound("%s %s is not part of the API: see /v1/openapi.yaml", r.Method, r.URL.Path)
	}}))
	return mux
}

// guard answers a request as its route says.
func (s *Server) guard(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if rt.write() {
			s.recorded(w, r, &rt)
			return
		}
		if err := s.serve(w, r, &rt, nil); err != nil {
			s.fail(w, r, err)
		}
	})
}

// serve admits a request and has it answered; begin, which may be nil, is
// called between the two, and what it refuses is not carried out.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, rt *route, begin func(caller) error) error {
	s.limitTime(w, r)
	who, err := s.admit(w, r, rt)
	if err != nil {
		return err
	}
	if begin != nil {
		if err := begin(who); err != nil {
			return err
		}
	}
	release, err := s.limitBody(w, r, who, rt.body)
	if err != nil {
		return err
	}
	defer release()
	return s.answer(w, who.in(r), rt)
}

// admit says who sent a request, or why it goes no further. Whoever cannot say
// who it is counts by its address.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, rt *route) (caller, error) {
	now := time.Now()
	who, err := s.authenticate(r, now)
	var limited time.Duration
	if err != nil {
		limited = s.rates.stranger(addressOf(r), now)
	} else if limited = s.rates.caller(who.name, now); limited == 0 && rt.write() {
		limited = s.rates.writer(who.name, now)
	}
	switch {
	case limited > 0:
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(limited.Seconds()))))
		return who, tooMany("too many requests: wait %s", limited.Round(time.Millisecond))
	case err != nil:
		if describe(err).Status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer realm="weft"`)
		}
		return who, err
	}
	keepConn(r)
	// An operator's browser may hold the certificate.
	if err := s.browsers.Check(r); err != nil {
		return who, forbidden("%v", err)
	}
	err = rt.authorize(who, r)
	if err == nil && rt.agents == itsAgent {
		err = s.agrees(who, r)
	}
	return who, err
}

// answer answers a request here or has the leader do so.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, rt *route) error {
	where := rt.place
	if where == either {
		latest, err := consistent(r)
		if err != nil {
			return err
		}
		if where = here; latest {
			where = leader
		}
	}
	if where != here && !s.control.IsLeader() {
		return s.toLeader(w, r, where)
	}
	if rt.place == either && where == leader {
		if err := s.control.Verify(r.Context()); err != nil {
			return err
		}
	}
	err := rt.handle(w, r)
	if where == leaderOnce && errors.Is(err, coordinator.ErrNotLeader) {
		return uncertain("%s lost the leadership meanwhile", s.cfg.Node)
	}
	return err
}

// consistent reports whether the caller wants the latest rather than what is
// at hand.
func consistent(r *http.Request) (bool, error) {
	switch v := r.URL.Query().Get("consistent"); v {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, invalid("consistent: %q: use true or false", v)
	}
}
