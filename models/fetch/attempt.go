package fetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/models/store"
	"github.com/weft-mesh/weft/tiering"
)

// The conditions that attempts report.
var (
	ErrStalled  = errors.New("it sends too slowly")
	ErrTooLarge = errors.New("it sends more than the file has")
	errShort    = errors.New("the connection broke off")
)

// problem is why a source did not serve.
type problem struct {
	error
	final bool          // it will not do better
	wait  time.Duration // before it is asked again, as it says
}

func (p *problem) Unwrap() error { return p.error }

func never(format string, args ...any) error {
	return &problem{error: fmt.Errorf(format, args...), final: true}
}

// attempt asks a source for what is missing of a file, once. An error of nil:
// all that it has is there.
func (f *Fetcher) attempt(ctx context.Context, part *store.Part, file catalog.File, s *Source) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if part.Size() > 0 && part.Size() == file.Size {
		return nil // it was whole, and only its name was missing
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
	if err != nil {
		return never("%w", err)
	}
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", "weft")
	if err := ask(req, part, file, s); err != nil {
		return err
	}
	client := s.HTTP
	if client == nil {
		client = f.HTTP
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	total, err := accept(resp, part, file, s)
	if err != nil {
		return err
	}
	most := file.Size
	if most == 0 {
		most = or(f.Most, 2<<30)
	}
	if total > most {
		return never("%w: %s, at most %s are taken", ErrTooLarge, tiering.FormatBytes(total), tiering.FormatBytes(most))
	}
	return f.take(ctx, cancel, resp, part, file, most, total)
}

// ask says in a request what is missing. With a digest it does not matter from
// whom the rest comes.
func ask(req *http.Request, part *store.Part, file catalog.File, s *Source) error {
	if part.Size() == 0 {
		return nil
	}
	url, validator := part.Origin()
	switch {
	case url == s.URL && validator != "":
		req.Header.Set("If-Range", validator)
	case file.SHA256 == "":
		return part.Restart("", "")
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-", part.Size()))
	return nil
}

// accept says whether an answer is (the rest of) the file, and how much the whole
// has; 0: that is not known.
func accept(resp *http.Response, part *store.Part, file catalog.File, s *Source) (total int64, err error) {
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind == "text/html" {
		return 0, never("it answers %s with a web page", resp.Status)
	}
	switch code := resp.StatusCode; {
	case code == http.StatusOK:
		if n := resp.ContentLength; file.Size != 0 && n >= 0 && n != file.Size {
			return 0, never("%w: it has %d bytes there and not %d", store.ErrDamaged, n, file.Size)
		}
		if file.SHA256 == "" && file.Size == 0 && resp.ContentLength < 0 && resp.ProtoMajor < 2 && len(resp.TransferEncoding) == 0 {
			return 0, never("it does not say how long the file is, so nobody could tell whether all of it came")
		}
		return cmp.Or(file.Size, max(resp.ContentLength, 0)), part.Restart(s.URL, validatorOf(resp.Header))
	case code == http.StatusPartialContent:
		first, whole, ok := contentRange(resp.Header.Get("Content-Range"))
		switch {
		case !ok || first != part.Size():
			return 0, errors.Join(fmt.Errorf("it sends another part than was asked for (%q)", resp.Header.Get("Content-Range")), part.Restart("", ""))
		case file.Size != 0 && whole >= 0 && whole != file.Size:
			return 0, never("%w: it has %d bytes there and not %d", store.ErrDamaged, whole, file.Size)
		case file.Size == 0 && file.SHA256 == "" && whole < 0:
			return 0, never("it does not say how long the file is (%q), so nobody could tell whether all of it came", resp.Header.Get("Content-Range"))
		}
		return cmp.Or(file.Size, max(whole, 0)), nil
	case code == http.StatusRequestedRangeNotSatisfiable:
		return 0, errors.Join(errors.New("it has less than was there before"), part.Restart("", ""))
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code >= 500:
		p := &problem{error: errors.New(resp.Status)}
		if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
			p.wait = time.Duration(min(n, 3600)) * time.Second
		}
		return 0, p
	}
	return 0, never("%s", resp.Status)
}

// validatorOf is what tells later whether a server still has the same: an ETag
// that stands for the bytes, or a date.
func validatorOf(h http.Header) string {
	if tag := h.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		return tag
	}
	return h.Get("Last-Modified")
}

// contentRange reads "bytes FIRST-LAST/TOTAL"; total is -1 for *.
func contentRange(v string) (first, total int64, ok bool) {
	v, ok = strings.CutPrefix(v, "bytes ")
	span, of, slash := strings.Cut(v, "/")
	from, to, dash := strings.Cut(span, "-")
	first, err1 := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	total = -1
	var err3 error
	if of != "*" {
		if total, err3 = strconv.ParseInt(of, 10, 64); total < 0 {
			return 0, 0, false
		}
	}
	ok = ok && slash && dash && errors.Join(err1, err2, err3) == nil && first >= 0 && last >= first && (total < 0 || last < total)
	return first, total, ok
}

// take reads an answer into the part, no more than most in all, and no longer
// than it comes fast enough.
func (f *Fetcher) take(ctx context.Context, cancel context.CancelCauseFunc, resp *http.Response, part *store.Part, file catalog.File, most, total int64) error {
	var came atomic.Int64
	stop := f.watch(&came, cancel)
	defer stop()
	buf := make([]byte, 128<<10)
	for told := time.Now(); ; {
		n, err := resp.Body.Read(buf)
		if part.Size()+int64(n) > most {
			return errors.Join(never("%w: at most %s are taken", ErrTooLarge, tiering.FormatBytes(most)), part.Restart("", ""))
		}
		if _, err := part.Write(buf[:n]); err != nil {
			return err
		}
		came.Add(int64(n))
		if f.Progress != nil && (time.Since(told) > 100*time.Millisecond || err != nil) {
			told = time.Now()
			f.Progress(file, part.Size(), total)
		}
		switch {
		case errors.Is(err, io.EOF):
			if total > 0 && part.Size() < total {
				return fmt.Errorf("%w after %d of %d bytes", errShort, part.Size(), total)
			}
			return nil
		case err != nil && errors.Is(context.Cause(ctx), ErrStalled):
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("%w after %d bytes: %w", errShort, part.Size(), err)
		}
	}
}

// watch cancels when too little has come for too long.
func (f *Fetcher) watch(came *atomic.Int64, cancel context.CancelCauseFunc) (stop func()) {
	every, least := or(f.Stall, 30*time.Second), or(f.Least, 16<<10)
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for before := int64(0); ; {
			select {
			case <-ended:
				return
			case <-tick.C:
			}
			now := came.Load()
			if now-before < least {
				cancel(fmt.Errorf("%w: %d bytes in %s", ErrStalled, now-before, every))
				return
			}
			before = now
		}
	}()
	return func() { close(ended); <-done }
}
