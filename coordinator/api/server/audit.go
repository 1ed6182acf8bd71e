package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/DeRuina/timberjack"
	"golang.org/x/time/rate"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/state"
)

// The records of writes, in Config.AuditDir. What was refused has a file of its
// own, so that nobody can push out what was done by asking for what may not be.
const (
	auditFile   = "audit.log"
	refusedFile = "refused.log"

	auditMB        = 10 // of one file
	auditBackups   = 49 // besides; with the rate of writes that is half a day of one caller that does nothing else
	refusedBackups = 9
	maxText        = 256 // bytes of what a caller names, as it is in the file

	refusedRate, refusedBurst = 5, 100 // recorded a second, and at once
)

// requestIDHeader names a write in its answer, and from the coordinator that
// was asked to the leader.
const requestIDHeader = "Weft-Request-Id"

// The phases of a write.
const (
	phaseRequest = "request" // let through, not carried out yet
	phaseAnswer  = "answer"
	phaseRefused = "refused"
)

// record is one line of the audit log.
type record struct {
	Time      time.Time   `json:"time"`
	Phase     string      `json:"phase"`
	RequestID string      `json:"request_id"`
	Node      string      `json:"node"`   // that recorded it
	Caller    string      `json:"caller"` // empty: could not say
	Via       string      `json:"via,omitempty"`
	Source    string      `json:"source"` // address
	Method    string      `json:"method"`
	Path      string      `json:"path"`
	Subject   string      `json:"subject,omitempty"` // what the body names
	Scope     state.Scope `json:"scope"`             // that is needed
	Status    int         `json:"status,omitempty"`  // none in an answer: it was broken off
	Code      api.Code    `json:"code,omitempty"`
	// DurationMS is from the request to the answer.
	DurationMS float64 `json:"duration_ms,omitempty"`
	// Omitted counts the refusals before this one that came too fast to record.
	Omitted int `json:"omitted,omitempty"`
}

// audit records every write on the coordinators that it passes through, before
// it is carried out and after. What cannot be recorded is refused: whoever can
// fill a disk must not be able to act unseen. The mesh itself runs on, since
// agents' reports and the leader's own decisions are no requests of anybody.
type audit struct {
	log     *slog.Logger
	done    *lines
	refused *lines

	mu      sync.Mutex
	rate    *rate.Limiter // of refusals
	omitted int
}

// newAudit makes sure that it can write.
func newAudit(dir string, log *slog.Logger) (*audit, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	for _, name := range []string{auditFile, refusedFile} {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return nil, fmt.Errorf("audit log: %w (writes are refused that cannot be recorded)", err)
		}
		if err := errors.Join(f.Chmod(0o600), f.Close()); err != nil {
			return nil, fmt.Errorf("audit log: %w", err)
		}
	}
	return &audit{
		log: log, done: newLines(filepath.Join(dir, auditFile), auditMB, auditBackups), refused: newLines(filepath.Join(dir, refusedFile), auditMB, refusedBackups),
		rate: rate.NewLimiter(refusedRate, refusedBurst),
	}, nil
}

func (a *audit) close() error { return errors.Join(a.done.close(), a.refused.close()) }

// begun records a write that is about to be carried out, or refuses it.
func (a *audit) begun(r record) error {
	r.Phase = phaseRequest
	if err := a.done.write(r); err != nil {
		a.log.Error("the audit log cannot be written: writes are refused until it can", "err", err)
		return unavailable("the audit log of %s cannot be written, and no write is carried out that is not recorded: is its disk full?", r.Node)
	}
	return nil
}

// ended records what became of a write.
func (a *audit) ended(r record) {
	r.Phase = phaseAnswer
	if err := a.done.write(r); err != nil {
		a.log.Error("the outcome of a write is not in the audit log", "err", err, "record", r)
	}
}

// turnedAway records an attempt, unless there are many of them.
func (a *audit) turnedAway(r record, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.rate.AllowN(now, 1) {
		a.omitted++
		return
	}
	r.Phase, r.Omitted = phaseRefused, a.omitted
	if err := a.refused.write(r); err != nil {
		a.log.Error("a refused write is not in the audit log", "err", err, "record", r)
		return
	}
	a.omitted = 0
}

// lines is a file of JSON lines that is bounded by rotation.
type lines struct {
	mu   sync.Mutex
	file io.WriteCloser
	torn bool // the last line is not whole
}

// newLines returns a file of at most mb, and as many old ones.
func newLines(path string, mb, backups int) *lines {
	return &lines{file: &timberjack.Logger{Filename: path, MaxSize: mb, MaxBackups: backups, FileMode: 0o600}}
}

func (l *lines) write(r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.torn {
		b = append([]byte{'\n'}, b...)
	}
	n, err := l.file.Write(append(b, '\n'))
	if n > 0 {
		l.torn = err != nil
	}
	return err
}

func (l *lines) close() error { return l.file.Close() }

// recorded serves a write and records it.
func (s *Server) recorded(w http.ResponseWriter, r *http.Request, rt *route) {
	begin := time.Now()
	rec := &record{
		Time: begin.UTC(), Node: s.cfg.Node, Source: r.RemoteAddr,
		Method: r.Method, Path: bounded(r.URL.Path), Scope: rt.scope,
	}
	out := &recorder{ResponseWriter: w}
	r = r.WithContext(context.WithValue(r.Context(), recordKey{}, rec))
	let := false
	defer func() { // also if what sends the leader's answer on breaks off
		rec.Status, rec.Code = out.status, out.code
		now := time.Now()
		rec.Time, rec.DurationMS = now.UTC(), float64(now.Sub(begin).Microseconds())/1000
		if let {
			s.audit.ended(*rec)
		} else {
			s.audit.turnedAway(*rec, now)
		}
	}()
	var who caller
	err := s.serve(out, r, rt, func(c caller) error {
		who = c
		if err := s.audit.begun(rec.by(who, out, r)); err != nil {
			return err
		}
		let = true
		return nil
	})
	if err == nil {
		return
	}
	if !let {
		who, _ = s.authenticate(r, begin)
		rec.by(who, out, r)
	}
	s.fail(out, r, err)
}

// by fills in who asks. Another coordinator has named the request already, and
// says where it came from.
func (rec *record) by(who caller, w http.ResponseWriter, r *http.Request) record {
	rec.Caller, rec.Via = who.name, who.via
	if who.via != "" {
		rec.RequestID, rec.Source = r.Header.Get(requestIDHeader), r.Header.Get("X-Forwarded-For")
	}
	if rec.RequestID == "" {
		var id [8]byte
		_, _ = rand.Read(id[:]) // never fails
		rec.RequestID = hex.EncodeToString(id[:])
	}
	if who.via == "" {
		w.Header().Set(requestIDHeader, rec.RequestID)
	}
	return *rec
}

type recordKey struct{}

// recordOf is the record of a write under way.
func recordOf(r *http.Request) *record {
	if rec, ok := r.Context().Value(recordKey{}).(*record); ok {
		return rec
	}
	return &record{}
}

// about says in the record what a body names.
func about(r *http.Request, subject string) {
	recordOf(r).Subject = bounded(subject)
}

// bounded is a text that a caller chose, fit for a record: without secrets, and
// cut where it would take more than maxText in JSON.
func bounded(text string) string {
	text = api.Mask(text)
	room := maxText
	for i, r := range text {
		if room -= jsonLen(r); room < 0 {
			return text[:i]
		}
	}
	return text
}

// jsonLen is the most bytes that a rune takes in JSON as Go writes it.
func jsonLen(r rune) int {
	switch {
	case r == '"' || r == '\\':
		return 2
	case r < ' ' || strings.ContainsRune("<>&\u2028\u2029\ufffd\u007f", r):
		return len(`\u0000`)
	}
	return utf8.RuneLen(r)
}

// recorder notes what is answered in the end.
type recorder struct {
	http.ResponseWriter
	status int
	code   api.Code
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= http.StatusOK {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap is for [http.ResponseController].
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
