package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/testbed/experiment/live"
)

// explain words an error for a person: what is wrong, where, and what to do.
func (e *environment) explain(err error) string {
	var (
		answer   *api.Error
		problems yamlfile.Problems
	)
	if errors.As(err, &answer) {
		problems = answer.Problems
	}
	switch {
	case len(problems) > 0 || errors.As(err, &problems):
		return problems.Error() // as compilers print them, one a line
	case answer != nil && len(answer.Shortages) > 0:
		return refused(answer)
	case errors.Is(err, api.ErrUncertain):
		return "weft: " + err.Error() + "\n`weft workflow list` shows whether it was"
	case errors.Is(err, context.Canceled):
		return "weft: interrupted"
	case errors.Is(err, live.ErrNotUp), errors.Is(err, live.ErrNotRunning):
		return "weft: " + err.Error() // of a testbed's own mesh, which no configuration says how to reach
	case errors.Is(err, api.ErrUnreachable):
		return e.unreachable(err)
	}
	return "weft: " + err.Error()
}

// refused lists what the mesh is short of, tier by tier.
func refused(e *api.Error) string {
	short := make([]string, len(e.Shortages))
	for i, s := range e.Shortages {
		short[i] = s.String()
	}
	// The detail has the shortages, too: "workflow w refused: A; B: what does
	// not fit".
	detail := e.Detail
	if before, after, ok := strings.Cut(detail, strings.Join(short, "; ")+": "); ok {
		detail = before + after
	}
	return "weft: " + detail + "\n  " + strings.Join(short, "\n  ")
}

// unreachable lists the coordinators that were asked in vain, what for, and what to
// do about it.
func (e *environment) unreachable(err error) string {
	during, causes, _ := strings.Cut(err.Error(), api.ErrUnreachable.Error()+": ")
	var remedy string
	var (
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		plain     tls.RecordHeaderError
	)
	config, _ := e.path() // it has been read
	switch {
	case errors.As(err, &authority):
		remedy = "that mesh has another CA: use its ca.crt, and a certificate that it issued, in " + config
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		remedy = "either the coordinator's certificate has expired, which `weft ca renew NAME` renews, or this machine's clock is wrong"
	case errors.Is(err, pki.ErrRole):
		remedy = "it is no coordinator of this mesh: use the addresses of coordinators' APIs in " + config
	case errors.As(err, &plain):
		remedy = "something else listens there: use the addresses of coordinators' APIs in " + config
	case strings.Contains(causes, "not accept this certificate"):
		remedy = "make a certificate of that mesh with `weft ca issue NAME --role operator`, and name it in " + config
	case errors.Is(err, syscall.ECONNREFUSED):
		remedy = "is weftd running there? the addresses are those in " + config
	default:
		remedy = "are the addresses in " + config + " right, and is the network up?"
	}
	return fmt.Sprintf("weft: %s%v\n  %s\n%s", during, api.ErrUnreachable, strings.ReplaceAll(causes, "; ", "\n  "), remedy)
}

// namely says which command shows the workflows when there is none of a name.
func namely(err error, workflow string) error {
	if errors.Is(err, &api.Error{Code: api.CodeNotFound}) {
		return fmt.Errorf("there is no workflow %q: `weft workflow list` shows those there are", workflow)
	}
	return err
}
