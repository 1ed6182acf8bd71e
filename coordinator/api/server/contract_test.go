package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"mime"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// load reads the OpenAPI document.
func load(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(api.Document())
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestDocumentIsSound(t *testing.T) {
	if err := load(t).Validate(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestDocumentHasEveryRouteAndNoOther(t *testing.T) {
	var want, got []string
	for _, rt := range new(Server).routes() {
		want = append(want, rt.method+" "+rt.path)
	}
	for path, item := range load(t).Paths.Map() {
		for method := range item.Operations() {
			got = append(got, method+" "+path)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the document has\n%v\nthe server\n%v", got, want)
	}
}

// TestDocumentHasTheScopes: it says of every operation what a token must have,
// and which takes none.
func TestDocumentHasTheScopes(t *testing.T) {
	doc := load(t)
	for _, rt := range new(Server).routes() {
		op := doc.Paths.Find(rt.path).GetOperation(rt.method)
		said, _ := op.Extensions["x-weft-scope"].(string)
		if said != string(rt.scope) {
			t.Errorf("%s %s: the document has scope %q, the server %q", rt.method, rt.path, said, rt.scope)
		}
		if said != "" && !strings.Contains(op.Description, "Scope `"+said+"`.") {
			t.Errorf("%s %s: the description does not tell of scope %s", rt.method, rt.path, said)
		}
		if onlyCertificates := op.Security != nil; onlyCertificates != (rt.scope == certificate) {
			t.Errorf("%s %s: the document takes only certificates: %v", rt.method, rt.path, onlyCertificates)
		}
	}
}

// bodies are the Go types of what the API takes and answers with.
var bodies = map[string]any{
	"GET /v1/mesh 200":                         api.Mesh{},
	"GET /v1/nodes 200":                        []api.Node{},
	"GET /v1/gossip-keys 200":                  []tiering.NodeKeys{},
	"POST /v1/gossip-keys 200":                 tiering.KeyRotation{},
	"POST /v1/gossip-keys takes":               api.GossipKey{},
	"GET /v1/models 200":                       []api.Model{},
	"GET /v1/workflows 200":                    []api.Workflow{},
	"GET /v1/workflows/{workflow} 200":         api.WorkflowStatus{},
	"GET /v1/workflows/{workflow}/quality 200": api.QualityStatus{},
	"POST /v1/workflows 201":                   api.Planned{},
	"POST /v1/plan 200":                        api.Planned{},
	"GET /v1/nodes/{node}/assignments 200":     api.Assignments{},
	"POST /v1/nodes/{node}/report takes":       pipeline.Report{},
	"GET /v1/profiles 200":                     []api.NodeProfile{},
	"PUT /v1/nodes/{node}/profiles takes":      api.Profiles{},
	"POST /v1/nodes/{node}/drain takes":        api.Drain{},
	"POST /v1/nodes/{node}/drain 200":          api.Node{},
	"a problem of any":                         api.Error{},
	"a message of GET /v1/events":              api.Event{},
	"GET /v1/tokens 200":                       []api.Token{},
	"POST /v1/tokens takes":                    api.TokenRequest{},
	"POST /v1/tokens 201":                      api.NewToken{},
	"GET /v1/workflow.schema.json 200":         nil, // documents of their own
	"GET /v1/openapi.yaml 200":                 nil,
	"GET /v1/blobs/{digest} 200":               nil,
	"GET /v1/blobs/{digest} 206":               nil,
	"POST /v1/plan takes":                      nil,
	"POST /v1/workflows takes":                 nil,
	"GET /v1/events 200":                       nil,
}

// TestDocumentHasTheGoTypes compares every schema with the type behind it:
// names of the fields, which may be missing, their types and the values of
// enumerations.
func TestDocumentHasTheGoTypes(t *testing.T) {
	t.Parallel()
	doc := load(t)
	c := &comparison{T: t, seen: map[string]reflect.Type{}}
	used := map[string]bool{}
	check := func(what string, content openapi3.Content) {
		for kind, media := range content {
			key := what
			if kind == "application/problem+json" {
				key = "a problem of any"
			}
			v, known := bodies[key]
			used[key] = true
			if !known {
				t.Errorf("%s: no Go type is named in the test", key)
			} else if v != nil {
				c.compare(what, media.Schema, reflect.TypeOf(v))
			}
		}
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if op.RequestBody != nil {
				check(method+" "+path+" takes", op.RequestBody.Value.Content)
			}
			for status, resp := range op.Responses.Map() {
				check(method+" "+path+" "+status, resp.Value.Content)
			}
		}
	}
	const event = "a message of GET /v1/events"
	c.compare(event, openapi3.NewSchemaRef("#/components/schemas/Event", doc.Components.Schemas["Event"].Value), reflect.TypeOf(bodies[event]))
	used[event] = true
	for what := range bodies {
		if !used[what] {
			t.Errorf("%s is not in the document", what)
		}
	}
	c.seen["Index"] = nil // of parameters, too
	for name := range doc.Components.Schemas {
		if _, ok := c.seen[name]; !ok {
			t.Errorf("no answer has schema %s", name)
		}
	}
}

// comparison holds schemas against Go types.
type comparison struct {
	*testing.T
	seen map[string]reflect.Type // by the schema's name
}

var (
	timeType      = reflect.TypeFor[time.Time]()
	tierType      = reflect.TypeFor[tiering.Tier]()
	histogramType = reflect.TypeFor[pipeline.Histogram]()
)

func (c *comparison) compare(where string, ref *openapi3.SchemaRef, t reflect.Type) {
	c.Helper()
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if ref.Ref != "" {
		name := ref.Ref[strings.LastIndex(ref.Ref, "/")+1:]
		before, ok := c.seen[name]
		c.seen[name] = t
		if ok && t.Kind() == reflect.Struct {
			if before != t {
				c.Errorf("%s: schema %s is for %v and for %v", where, name, before, t)
			}
			return
		}
	}
	s := ref.Value
	is := func(typ string) {
		if !s.Type.Is(typ) && !(s.Type.Includes(typ) && s.Type.Includes("null")) {
			c.Errorf("%s: type %v in the document, %v in Go", where, s.Type, t)
		}
	}
	switch {
	case t == timeType:
		is("string")
		if s.Format != "date-time" {
			c.Errorf("%s: format %q of a time", where, s.Format)
		}
	case t == histogramType:
		is("string")
	case t == tierType:
		is("string")
		var names []string
		for _, tier := range tiering.Tiers() {
			names = append(names, tier.String())
		}
		c.enum(where, s, names)
	case t.Kind() == reflect.Struct:
		is("object")
		c.fields(where, s, t)
	case t.Kind() == reflect.Slice:
		is("array")
		c.compare(where+"[]", s.Items, t.Elem())
	case t.Kind() == reflect.Map:
		is("object")
		if s.AdditionalProperties.Schema == nil {
			c.Errorf("%s: no schema of the values", where)
			return
		}
		c.compare(where+"{}", s.AdditionalProperties.Schema, t.Elem())
		names := c.constants(t.Key())
		if t.Key() == reflect.TypeFor[pipeline.Reason]() {
			names = slices.DeleteFunc(names, func(n string) bool { return n == string(pipeline.ReasonFiltered) }) // is no drop
		}
		if len(names) > 0 {
			c.enum(where+" keys", s.PropertyNames.Value, names)
		}
	case t.Kind() == reflect.String:
		is("string")
		if names := c.constants(t); len(names) > 0 {
			c.enum(where, s, names)
		}
	case t.Kind() == reflect.Bool:
		is("boolean")
	case t.Kind() == reflect.Float64:
		is("number")
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64:
		is("integer")
	default:
		c.Errorf("%s: Go type %v has no JSON form here", where, t)
	}
}

func (c *comparison) fields(where string, s *openapi3.Schema, t reflect.Type) {
	c.Helper()
	var names, required []string
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || !f.IsExported() || name == "-" {
			continue // what is embedded has its fields in the list
		}
		names = append(names, name)
		if options != "omitempty" {
			required = append(required, name)
		}
		if p, ok := s.Properties[name]; ok {
			c.compare(where+"."+name, p, f.Type)
		}
	}
	slices.Sort(names)
	slices.Sort(required)
	if got := slices.Sorted(maps.Keys(s.Properties)); !slices.Equal(got, names) {
		c.Errorf("%s: properties %v in the document, %v in %v", where, got, names, t)
	}
	if got := slices.Sorted(slices.Values(s.Required)); !slices.Equal(got, required) {
		c.Errorf("%s: required %v in the document, always there %v in %v", where, got, required, t)
	}
}

func (c *comparison) enum(where string, s *openapi3.Schema, want []string) {
	c.Helper()
	var got []string
	for _, v := range s.Enum {
		got = append(got, fmt.Sprint(v))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		c.Errorf("%s: values %v in the document, %v in Go", where, got, want)
	}
}

// constants returns the values of the constants that Go declares of one of
// this module's types, but for the empty one.
func (c *comparison) constants(t reflect.Type) []string {
	const module = "github.com/weft-mesh/weft/"
	dir, ours := strings.CutPrefix(t.PkgPath(), module)
	if !ours {
		return nil
	}
	files, err := filepath.Glob(filepath.Join("..", "..", "..", filepath.FromSlash(dir), "*.go"))
	if err != nil || len(files) == 0 {
		c.Fatalf("no source of %s: %v", t.PkgPath(), err)
	}
	var out []string
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			c.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if name, ok := spec.Type.(*ast.Ident); ok && name.Name == t.Name() && len(spec.Values) == 1 {
				if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if v, err := strconv.Unquote(lit.Value); err == nil && v != "" {
						out = append(out, v)
					}
				}
			}
			return true
		})
	}
	return out
}

// contract is the document made strict, for checking requests and answers: no
// property that it does not name. It is made once; that takes a while.
var contract = sync.OnceValue(func() routers.Router {
	doc, err := openapi3.NewLoader().LoadFromData(api.Document())
	if err != nil {
		panic(err) // TestDocumentIsSound says so, too
	}
	doc.Servers = nil // any address
	no := false
	for _, s := range doc.Components.Schemas {
		if len(s.Value.Properties) > 0 {
			s.Value.AdditionalProperties = openapi3.AdditionalProperties{Has: &no}
		}
	}
	r, err := gorillamux.NewRouter(doc)
	if err != nil {
		panic(err)
	}
	return r
})

// documented checks what goes through it against the document.
type documented struct {
	t      *testing.T
	router routers.Router
	next   http.RoundTripper
}

// wrong marks requests that are wrong on purpose: only their answers are
// checked.
type wrong struct{}

func mistaken(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), wrong{}, true))
}

func (d *documented) RoundTrip(req *http.Request) (*http.Response, error) {
	d.t.Helper()
	in, err := d.input(req)
	if err != nil {
		d.t.Errorf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	resp, err := d.next.RoundTrip(req)
	if err != nil || in == nil {
		return resp, err
	}
	if err := checkAnswer(req.Context(), in, resp); err != nil {
		d.t.Errorf("%s %s: %d: %v", req.Method, req.URL.Path, resp.StatusCode, err)
	}
	return resp, nil
}

// input checks a request; nil for one that no operation describes.
func (d *documented) input(req *http.Request) (*openapi3filter.RequestValidationInput, error) {
	onPurpose := req.Context().Value(wrong{}) != nil
	route, params, err := d.router.FindRoute(req)
	if err != nil {
		if onPurpose {
			return nil, nil
		}
		return nil, err
	}
	in := &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params, Route: route,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, SkipSettingDefaults: true},
	}
	if onPurpose {
		return in, nil
	}
	body, err := rewindable(&req.Body)
	if err != nil {
		return in, err
	}
	err = openapi3filter.ValidateRequest(req.Context(), in)
	req.Body = io.NopCloser(bytes.NewReader(body))
	return in, err
}

// rewindable reads a body and puts it back.
func rewindable(body *io.ReadCloser) ([]byte, error) {
	if *body == nil {
		return nil, nil
	}
	b, err := io.ReadAll(*body)
	err = errors.Join(err, (*body).Close())
	*body = io.NopCloser(bytes.NewReader(b))
	return b, err
}

func checkAnswer(ctx context.Context, in *openapi3filter.RequestValidationInput, resp *http.Response) error {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: resp.StatusCode, Header: resp.Header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, ExcludeResponseBody: kind == "text/event-stream"}, // it has no end
	}
	if !out.Options.ExcludeResponseBody {
		body, err := rewindable(&resp.Body)
		if err != nil {
			return err
		}
		if resp.StatusCode == http.StatusNoContent && len(body) > 0 {
			return fmt.Errorf("an answer without content has %q", body)
		}
		out.SetBodyBytes(body)
	}
	return openapi3filter.ValidateResponse(ctx, out)
}

// TestContractIsStrict makes sure that the check can fail.
func TestContractIsStrict(t *testing.T) {
	d := &documented{t: t, router: contract()}
	for name, c := range map[string]struct {
		status     int
		kind, body string
		fine       bool
	}{
		"as it should be":    {200, "application/json", `{"mesh":"m","node":"n","version":"1","leader":"","leader_address":"","coordinators":[],"index":7}`, true},
		"unknown property":   {200, "application/json", `{"mesh":"m","node":"n","version":"1","leader":"","leader_address":"","coordinators":[],"index":7,"new":1}`, false},
		"missing property":   {200, "application/json", `{"mesh":"m"}`, false},
		"null for a list":    {200, "application/json", `{"mesh":"m","node":"n","version":"1","leader":"","leader_address":"","coordinators":null,"index":7}`, false},
		"another type":       {200, "text/plain", `ok`, false},
		"an unknown status":  {418, "application/problem+json", `{"status":418,"code":"invalid","title":"t","detail":"d"}`, false},
		"a problem":          {403, "application/problem+json", `{"status":403,"code":"forbidden","title":"t","detail":"d"}`, true},
		"an unknown code":    {403, "application/problem+json", `{"status":403,"code":"teapot","title":"t","detail":"d"}`, false},
		"a problem, as JSON": {403, "application/json", `{"status":403,"code":"forbidden","title":"t","detail":"d"}`, false},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://any/v1/mesh", nil)
		if err != nil {
			t.Fatal(err)
		}
		in, err := d.input(req)
		if err != nil {
			t.Fatal(err)
		}
		resp := &http.Response{StatusCode: c.status, Header: http.Header{"Content-Type": {c.kind}}, Body: io.NopCloser(strings.NewReader(c.body))}
		if err := checkAnswer(t.Context(), in, resp); (err == nil) != c.fine {
			t.Errorf("%s: %v", name, err)
		}
	}
}
