package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/weft-mesh/weft/coordinator"
	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/tiering"
)

// fail answers with the API's error body.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := describe(err)
	if rec, ok := w.(*recorder); ok {
		rec.code = e.Code
	}
	gone := errors.Is(r.Context().Err(), context.Canceled) // the caller, which explains it
	if e.Code == api.CodeInternal && !gone {
		s.cfg.Log.Error("API request failed", "method", r.Method, "path", bounded(r.URL.Path), "err", err)
	}
	e.Title = http.StatusText(e.Status)
	b, err := json.Marshal(e)
	if err != nil {
		s.cfg.Log.Error("API error cannot be encoded", "err", err)
	}
	s.send(w, e.Status, "application/problem+json", append(b, '\n'))
}

// describe finds the code of an error.
func describe(err error) *api.Error {
	var (
		known    *api.Error
		problems yamlfile.Problems
		refused  *tiering.Refused
		tooLarge *http.MaxBytesError
	)
	is := func(status int, code api.Code) *api.Error {
		return &api.Error{Status: status, Code: code, Detail: err.Error()}
	}
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &problems):
		e := is(http.StatusUnprocessableEntity, api.CodeDocument)
		e.Problems = problems
		return e
	case errors.As(err, &refused):
		e := is(http.StatusConflict, api.CodeRefused)
		e.Shortages = refused.Shortages
		return e
	case errors.As(err, &tooLarge):
		e := is(http.StatusRequestEntityTooLarge, api.CodeTooLarge)
		e.Detail = fmt.Sprintf("the body is too large: at most %s", tiering.FormatBytes(tooLarge.Limit))
		return e
	case errors.Is(err, coordinator.ErrNotFound):
		return is(http.StatusNotFound, api.CodeNotFound)
	case errors.Is(err, coordinator.ErrConflict):
		return is(http.StatusConflict, api.CodeConflict)
	case errors.Is(err, coordinator.ErrInvalid):
		return is(http.StatusBadRequest, api.CodeInvalid)
	case errors.Is(err, coordinator.ErrNotLeader), errors.Is(err, coordinator.ErrNoLeader):
		return is(http.StatusServiceUnavailable, api.CodeNoLeader)
	}
	return is(http.StatusInternalServerError, api.CodeInternal)
}

func invalid(format string, args ...any) error {
	return &api.Error{Status: http.StatusBadRequest, Code: api.CodeInvalid, Detail: fmt.Sprintf(format, args...)}
}

func unauthorized(format string, args ...any) error {
	return &api.Error{Status: http.StatusUnauthorized, Code: api.CodeUnauthorized, Detail: fmt.Sprintf(format, args...)}
}

func tooMany(format string, args ...any) error {
	return &api.Error{Status: http.StatusTooManyRequests, Code: api.CodeTooMany, Detail: fmt.Sprintf(format, args...)}
}

func unavailable(format string, args ...any) error {
	return &api.Error{Status: http.StatusServiceUnavailable, Code: api.CodeNotAvailable, Detail: fmt.Sprintf(format, args...)}
}

func forbidden(format string, args ...any) error {
	return &api.Error{Status: http.StatusForbidden, Code: api.CodeForbidden, Detail: fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) error {
	return &api.Error{Status: http.StatusNotFound, Code: api.CodeNotFound, Detail: fmt.Sprintf(format, args...)}
}

func methodNotAllowed(format string, args ...any) error {
	return &api.Error{Status: http.StatusMethodNotAllowed, Code: api.CodeMethod, Detail: fmt.Sprintf(format, args...)}
}

// noLeader: nothing was done.
func noLeader(format string, args ...any) error {
	return &api.Error{Status: http.StatusServiceUnavailable, Code: api.CodeNoLeader, Detail: fmt.Sprintf(format, args...)}
}

// uncertain: a write of which it is not known whether it was carried out.
func uncertain(format string, args ...any) error {
	return &api.Error{
		Status: http.StatusServiceUnavailable, Code: api.CodeUncertain,
		Detail: fmt.Sprintf(format, args...) + ": " + api.ErrUncertain.Error() + "; look before you ask again",
	}
}
