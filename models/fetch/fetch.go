package fetch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/models/store"
)

// ErrNotFetched reports that no source had the file; its text says of each why.
var ErrNotFetched = errors.New("cannot get the file")

// Source is where a file may be had.
type Source struct {
	URL  string
	HTTP *http.Client // nil: the fetcher's
	Name string       // for people; empty: the URL
}

func (s *Source) String() string {
	if s.Name != "" {
		return s.Name
	}
	return s.URL
}

// Fetcher gets files. Zero fields but HTTP have defaults. It is safe for
// concurrent use.
type Fetcher struct {
	HTTP *http.Client // for sources that have none of their own
	// Attempts is how often a source is asked that brings nothing further; 3.
	Attempts int
	// A source that brings less than Least bytes within Stall is given up; 16
	// KiB in 30 s.
	Stall time.Duration
	Least int64
	Pause time.Duration // before the second attempt, then twice that; 1 s
	// Most bounds a file whose size the catalogue does not know, in bytes; 2 GiB.
	Most int64
	Log  *slog.Logger // nil: nothing is said of what is tried again
	// Progress, which may be nil, is told now and then how much of a file is
	// there, of how much; 0: that is not known.
	Progress func(f catalog.File, have, of int64)
}

// NewClient returns a client for the internet: it goes through the proxy of the
// environment, and answers have to begin within a minute.
func NewClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 15 * time.Second}).DialContext,
			ForceAttemptHTTP2:     true,
			TLSHandshakeTimeout:   15 * time.Second,
			ResponseHeaderTimeout: time.Minute,
			IdleConnTimeout:       time.Minute,
		},
		CheckRedirect: noDowngrade,
	}
}

// NewPeerClient returns a client for other nodes of the mesh, over what connects
// them. A node has a file or it does not: it leads nowhere else.
func NewPeerClient(t http.RoundTripper) *http.Client {
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// noDowngrade follows no redirection from a protected connection to a plain one.
func noDowngrade(r *http.Request, via []*http.Request) error {
	switch last := via[len(via)-1].URL; {
	case last.Scheme == "https" && r.URL.Scheme != "https":
		return fmt.Errorf("%s leads to %s, which is not protected", last.Redacted(), r.URL.Redacted())
	case len(via) >= 10:
		return errors.New("more than ten redirections")
	}
	return nil
}

// manyAttempts bounds how often a source is asked that brings a little each
// time.
const manyAttempts = 50

// progressed is how much an attempt has to bring so as not to count as failed.
const progressed = 256 << 10

// Fetch gets a file into the store from the first source that has it. The error
// is ErrNotFetched, with what each source said; store.ErrDiskFull,
// store.ErrInUse; or the context's.
func (f *Fetcher) Fetch(ctx context.Context, into *store.Store, file catalog.File, from []Source) (catalog.Pin, error) {
	part, err := into.Begin(file)
	if err != nil {
		return catalog.Pin{}, err
	}
	defer part.Close()
	var errs []error
	for i := range from {
		pin, err := f.from(ctx, part, file, &from[i])
		switch {
		case err == nil:
			return pin, nil
		case errors.Is(err, store.ErrDiskFull):
			return catalog.Pin{}, errors.Join(err, part.Drop()) // others need the room
		case ctx.Err() != nil:
			return catalog.Pin{}, fmt.Errorf("%s: %w", file.Name, context.Cause(ctx))
		}
		errs = append(errs, fmt.Errorf("%s: %w", &from[i], err))
	}
	if len(from) == 0 {
		errs = append(errs, errors.New("nobody is known who has it"))
	}
	return catalog.Pin{}, fmt.Errorf("%w %s: %w", ErrNotFetched, file.Name, errors.Join(errs...))
}

// from gets a file from one source, in as many attempts as it deserves.
func (f *Fetcher) from(ctx context.Context, part *store.Part, file catalog.File, s *Source) (catalog.Pin, error) {
	failed := 0
	for n := 1; ; n++ {
		before := part.Size()
		err := f.attempt(ctx, part, file, s)
		if err == nil {
			var pin catalog.Pin
			if pin, err = part.Commit(); err == nil {
				return pin, nil
			}
			if errors.Is(err, store.ErrDamaged) && before == 0 {
				return pin, err // all of it came from here
			}
		}
		if failed++; part.Size()-before >= progressed {
			failed = 0
		}
		var known *problem
		final := errors.As(err, &known) && known.final
		if final || errors.Is(err, store.ErrDiskFull) || ctx.Err() != nil || failed >= or(f.Attempts, 3) || n >= manyAttempts {
			return catalog.Pin{}, err
		}
		wait := min(or(f.Pause, time.Second)<<min(failed, 5), 30*time.Second)
		if known != nil && known.wait > 0 {
			wait = min(known.wait, time.Minute)
		}
		if f.Log != nil {
			f.Log.Info("trying again", "file", file.Name, "from", s.String(), "have", part.Size(), "err", err)
		}
		select {
		case <-ctx.Done():
			return catalog.Pin{}, context.Cause(ctx)
		case <-time.After(wait/2 + rand.N(wait/2+1)):
		}
	}
}

func or[T int | int64 | time.Duration](v, d T) T {
	if v == 0 {
		return d
	}
	return v
}
