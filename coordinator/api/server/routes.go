package server

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/coordinator"
	"github.com/weft-mesh/weft/internal/pki"
)

// route is one operation of the API; openapi.yaml describes each, and a test
// compares the two.
type route struct {
	method, path string
	rights       rights
	place        place
	body         int64 // most bytes that it takes
	handle       func(http.ResponseWriter, *http.Request) error
}

// rights says whether a caller may do what it asks for.
type rights func(who pki.Subject, r *http.Request) error

// place says who can answer.
type place int

const (
	here   place = iota // any coordinator, from its own copy of the state
	leader              // the leader, who may be asked again
	// leaderOnce: the leader; what may have been carried out is not asked of it
	// again.
	leaderOnce
)

func (s *Server) routes() []route {
	return []route{
		{"GET", "/v1/mesh", everyone, here, 0, s.getMesh},
		{"GET", "/v1/nodes", operators, here, 0, s.getNodes},
		{"GET", "/v1/nodes/{node}/assignments", theNode, here, 0, s.getAssignments},
		{"POST", "/v1/nodes/{node}/report", theNode, leader, maxReport, s.postReport},
		{"POST", "/v1/nodes/{node}/drain", operators, leader, maxDrain, s.postDrain},
		{"GET", "/v1/models", operators, here, 0, s.getModels},
		{"POST", "/v1/plan", operators, leader, maxDocument, s.postPlan},
		{"GET", "/v1/workflows", operators, here, 0, s.getWorkflows},
		{"POST", "/v1/workflows", operators, leaderOnce, maxDocument, s.postWorkflow},
		{"GET", "/v1/workflows/{workflow}", operators, leader, 0, s.getWorkflow},
		{"DELETE", "/v1/workflows/{workflow}", operators, leaderOnce, 0, s.deleteWorkflow},
		{"GET", "/v1/events", operators, here, 0, s.getEvents},
		{"GET", "/v1/openapi.yaml", everyone, here, 0, s.getOpenAPI},
		{"GET", "/v1/workflow.schema.json", everyone, here, 0, s.getSchema},
	}
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
		mux.Handle(path, s.guard(route{rights: everyone, handle: func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Allow", allow)
			return methodNotAllowed("%s %s is not part of the API: the path takes %s", r.Method, r.URL.Path, allow)
		}}))
	}
	mux.Handle("/", s.guard(route{rights: everyone, handle: func(_ http.ResponseWriter, r *http.Request) error {
		return notFound("%s %s is not part of the API: see /v1/openapi.yaml", r.Method, r.URL.Path)
	}}))
	return mux
}

// guard answers a request as its route says: rights and limits come first,
// then the leader if it is for the leader to answer.
func (s *Server) guard(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.serve(w, r, rt); err != nil {
			s.fail(w, r, err)
		}
	})
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, rt route) error {
	// An operator's browser may hold the certificate.
	if err := s.browsers.Check(r); err != nil {
		return forbidden("%v", err)
	}
	who, err := caller(r)
	if err != nil {
		return err
	}
	if err := rt.rights(who, r); err != nil {
		return err
	}
	s.limitBody(w, r, rt.body)
	if rt.place != here && !s.control.IsLeader() {
		return s.toLeader(w, r, rt.place)
	}
	err = rt.handle(w, r)
	if rt.place == leaderOnce && errors.Is(err, coordinator.ErrNotLeader) {
		return uncertain("%s lost the leadership meanwhile", s.cfg.Node)
	}
	return err
}
