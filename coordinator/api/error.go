package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/tiering"
)

// Code says what kind of error the API answered with.
type Code string

// The codes, with their HTTP status.
const (
	CodeInvalid      Code = "invalid"       // 400: the request itself
	CodeUnauthorized Code = "unauthorized"  // 401: neither a certificate nor a valid token
	CodeForbidden    Code = "forbidden"     // 403: the certificate's role or name, or the token's scope
	CodeNotFound     Code = "not-found"     // 404
	CodeMethod       Code = "method"        // 405: the path has other methods
	CodeConflict     Code = "conflict"      // 409: the state has moved on
	CodeRefused      Code = "refused"       // 409: the mesh has too little, see Shortages
	CodeTooLarge     Code = "too-large"     // 413
	CodeDocument     Code = "document"      // 422: the workflow document, see Problems
	CodeTooMany      Code = "too-many"      // 429: requests of this caller, at a time or in a while
	CodeInternal     Code = "internal"      // 500
	CodeNotAvailable Code = "not-available" // 503: on this coordinator, now
	CodeNoLeader     Code = "no-leader"     // 503: nothing was done, try again shortly
	CodeUncertain    Code = "uncertain"     // 503: a write that may or may not have been carried out
)

// Error is the body of every answer that is not a success
// (application/problem+json, RFC 9457).
type Error struct {
	Status    int                `json:"status"` // HTTP
	Code      Code               `json:"code"`
	Title     string             `json:"title"`
	Detail    string             `json:"detail"`
	Problems  yamlfile.Problems  `json:"problems,omitempty"`
	Shortages []tiering.Shortage `json:"shortages,omitempty"`
}

func (e *Error) Error() string { return e.Detail }

// Is makes errors.Is see through to the code: errors.Is(err, &Error{Code:
// CodeNotFound}). CodeUncertain is ErrUncertain, too.
func (e *Error) Is(target error) bool {
	if target == ErrUncertain {
		return e.Code == CodeUncertain
	}
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// elsewhere reports whether another coordinator may do what this one did not.
func (e *Error) elsewhere() bool { return e.Code == CodeNoLeader || e.Code == CodeNotAvailable }

// maxError bounds an error that is read, in bytes.
const maxError = 1 << 20

// readError makes an Error of an answer.
func readError(r *http.Response) *Error {
	e := &Error{}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxError))
	if err == nil && json.Unmarshal(body, e) == nil && e.Code != "" {
		return e
	}
	detail := fmt.Sprintf("%s answered %s", r.Request.URL.Host, r.Status)
	if text := strings.TrimSpace(string(body[:min(len(body), 200)])); text != "" {
		detail += ": " + text
	}
	return &Error{Status: r.StatusCode, Code: CodeInternal, Title: http.StatusText(r.StatusCode), Detail: detail}
}
