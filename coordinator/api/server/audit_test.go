package server

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator"
	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/coordinator/state"
	"github.com/weft-mesh/weft/internal/pki"
)

// records reads an audit file of a server.
func records(t *testing.T, s *Server, name string) []record {
	t.Helper()
	path := filepath.Join(s.cfg.AuditDir, name)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("%s has mode %v", path, info.Mode())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []record
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		var r record
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.DisallowUnknownFields()
		if err := d.Decode(&r); err != nil {
			t.Errorf("%s: %q: %v", name, lines.Text(), err)
		}
		out = append(out, r)
	}
	return out
}

// TestWritesAreRecorded, before and after, and nothing else is.
func TestWritesAreRecorded(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	start := time.Now()
	bearer := f.token("ci", state.ScopeSubmit, time.Time{})
	f.run()
	ada, c, edge := f.caller(pki.Operator, "ada"), stranger(t, f.ca, f.server), f.caller(pki.Agent, "edge-1")
	reports := []string{"Content-Type", "application/json"}

	answers := []answer{
		ada.do("POST", "/v1/workflows?file=x.yaml", people),
		c.do("DELETE", "/v1/workflows/people", "", bearer...),
		ada.do("POST", "/v1/tokens", `{"name":"cd","scope":"read","lifetime_s":60}`, reports...),
	}
	f.submit = func() error { return fmt.Errorf("%w: workflow \"x\"", coordinator.ErrNotFound) }
	answers = append(answers, ada.do("DELETE", "/v1/workflows/x", ""))
	f.submit = func() error { return nil }
	for _, unrecorded := range []answer{
		ada.do("GET", "/v1/workflows", ""), ada.do("POST", "/v1/plan", people), ada.do("GET", "/v1/tokens", ""),
		edge.do("POST", "/v1/nodes/edge-1/report", reportOf(t, "edge-1"), reports...),
	} {
		if unrecorded.status/100 != 2 || unrecorded.header.Get(requestIDHeader) != "" {
			t.Errorf("%d %v", unrecorded.status, unrecorded.header)
		}
	}
	secret := decode[api.NewToken](t, answers[2]).Secret

	refusals := []answer{
		edge.do("POST", "/v1/workflows", people),
		c.do("POST", "/v1/tokens", `{"name":"me","scope":"admin","lifetime_s":0}`, append(reports, bearer...)...),
		c.do("DELETE", "/v1/tokens/ci", ""),
	}
	f.stop() // the last answers are written

	id := f.Snapshot().Tokens()[0].ID
	want := []record{
		{Caller: "spiffe://test/operator/ada", Method: "POST", Path: "/v1/workflows", Scope: submit, Subject: "people", Status: 201},
		{Caller: "token:ci:" + id, Method: "DELETE", Path: "/v1/workflows/people", Scope: submit, Status: 204},
		{Caller: "spiffe://test/operator/ada", Method: "POST", Path: "/v1/tokens", Scope: admin, Subject: "cd", Status: 201},
		{Caller: "spiffe://test/operator/ada", Method: "DELETE", Path: "/v1/workflows/x", Scope: submit, Status: 404, Code: api.CodeNotFound},
	}
	got := records(t, f.server, auditFile)
	if len(got) != 2*len(want) {
		t.Fatalf("%d records: %+v", len(got), got)
	}
	for i, w := range want {
		before, after := got[2*i], got[2*i+1]
		w.RequestID, w.Node = answers[i].header.Get(requestIDHeader), "c1"
		check(t, before, record{Phase: phaseRequest, RequestID: w.RequestID, Node: w.Node, Caller: w.Caller, Method: w.Method, Path: w.Path, Scope: w.Scope}, start)
		w.Phase = phaseAnswer
		check(t, after, w, start)
		if after.DurationMS <= 0 || after.Time.Before(before.Time) {
			t.Errorf("answered %v after %v, in %v ms", after.Time, before.Time, after.DurationMS)
		}
	}
	refused := records(t, f.server, refusedFile)
	if len(refused) != len(refusals) {
		t.Fatalf("%d refusals: %+v", len(refused), refused)
	}
	for i, w := range []record{
		{Caller: "spiffe://test/agent/edge/edge-1", Method: "POST", Path: "/v1/workflows", Scope: submit, Status: 403, Code: api.CodeForbidden},
		{Caller: "token:ci:" + id, Method: "POST", Path: "/v1/tokens", Scope: admin, Status: 403, Code: api.CodeForbidden},
		{Method: "DELETE", Path: "/v1/tokens/ci", Scope: admin, Status: 401, Code: api.CodeUnauthorized},
	} {
		w.Phase, w.Node, w.RequestID = phaseRefused, "c1", refusals[i].header.Get(requestIDHeader)
		check(t, refused[i], w, start)
	}
	for _, name := range []string{auditFile, refusedFile} {
		b, err := os.ReadFile(filepath.Join(f.server.cfg.AuditDir, name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), secret[30:]) || strings.Contains(string(b), bearer[1][30:]) {
			t.Errorf("%s has a secret in it", name)
		}
	}
}

// check compares a record but for its time, duration and port.
func check(t *testing.T, got, want record, start time.Time) {
	t.Helper()
	if got.Time.Before(start) || got.Time.After(time.Now()) || !strings.HasPrefix(got.Source, "127.0.0.1") || want.RequestID == "" {
		t.Errorf("at %v from %q: %+v", got.Time, got.Source, got)
	}
	got.Time, got.Source, got.DurationMS = time.Time{}, "", 0
	if got != want {
		t.Errorf("recorded\n%+v, want\n%+v", got, want)
	}
}

// TestForwardedWritesAreRecordedOnBoth, under one name.
func TestForwardedWritesAreRecordedOnBoth(t *testing.T) {
	t.Parallel()
	m := newMesh(t, "c1", "c2", "c3")
	follower := m.follower()
	ada := m.caller(pki.Operator, "ada", follower)
	a := ada.settled("POST", "/v1/workflows", people, requestIDHeader, "made-up")
	if a.status != http.StatusCreated {
		t.Fatalf("submit: %d %s", a.status, a.body)
	}
	ids := a.header.Values(requestIDHeader)
	if len(ids) != 1 || ids[0] == "made-up" {
		t.Fatalf("request IDs %v", ids)
	}
	var on []string
	for _, n := range m.nodes {
		wait(t, "the answers are recorded", func() bool { return len(records(t, n.server, auditFile))%2 == 0 })
		for _, r := range records(t, n.server, auditFile) {
			if r.RequestID != ids[0] || r.Phase != phaseAnswer {
				continue
			}
			on = append(on, n.name)
			if r.Caller != "spiffe://test/operator/ada" || r.Status != 201 || !strings.HasPrefix(r.Source, "127.0.0.1") {
				t.Errorf("%s recorded %+v", n.name, r)
			}
			if forwardedHere := r.Via != ""; forwardedHere != (r.Subject == "people") || (r.Via != "" && r.Via != follower.name) {
				t.Errorf("%s recorded %+v", n.name, r)
			}
		}
	}
	// An election between may have made the follower the leader.
	if len(on) == 0 || len(on) > 2 {
		t.Errorf("recorded on %v", on)
	}
}

// TestWhatCannotBeRecordedIsNotCarriedOut: /dev/full is a disk that is full.
func TestWhatCannotBeRecordedIsNotCarriedOut(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full")
	}
	f := newFake(t)
	var log bytes.Buffer
	f.server.audit.log = slog.New(slog.NewTextHandler(&log, nil))
	path := filepath.Join(f.server.cfg.AuditDir, auditFile)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	done := 0
	f.submit = func() error { done++; return nil }
	ada := f.caller(pki.Operator, "ada")
	for range 2 {
		e := ada.do("DELETE", "/v1/workflows/people", "").problem(t)
		if e.Code != api.CodeNotAvailable || e.Status != http.StatusServiceUnavailable ||
			e.Detail != "the audit log of c1 cannot be written, and no write is carried out that is not recorded: is its disk full?" {
			t.Errorf("%+v", e)
		}
	}
	if done != 0 {
		t.Error("it was carried out")
	}
	// What is no write goes on.
	if a := ada.do("GET", "/v1/workflows", ""); a.status != http.StatusOK {
		t.Errorf("%d", a.status)
	}
	edge := f.caller(pki.Agent, "edge-1")
	if a := edge.do("POST", "/v1/nodes/edge-1/report", reportOf(t, "edge-1"), "Content-Type", "application/json"); a.status != http.StatusNoContent || done != 1 {
		t.Errorf("%d, %d", a.status, done)
	}
	f.stop()
	if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "writes are refused until it can") {
		t.Errorf("logged %s", log.String())
	}
}

// TestAuditLogNeedsItsDirectory: that is found out at the start.
func TestAuditLogNeedsItsDirectory(t *testing.T) {
	f := newFake(t)
	cfg := (&mesh{T: t, ca: f.ca}).config("c2")
	cfg.AuditDir = filepath.Join(f.server.cfg.AuditDir, auditFile) // a file
	if _, err := New(cfg, f, &gossip{}); err == nil || !strings.HasPrefix(err.Error(), "audit log: ") {
		t.Errorf("got %v", err)
	}
	cfg.AuditDir = ""
	if _, err := New(cfg, f, &gossip{}); err == nil {
		t.Error("no error without a directory")
	}
}

// TestTheAuditLogIsBounded: old files go, and refusals neither fill the disk
// nor push out what was done.
func TestTheAuditLogIsBounded(t *testing.T) {
	dir := t.TempDir()
	a, err := newAudit(dir, quiet())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.begun(record{Caller: "first"}); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for range 10 * refusedBurst {
		a.turnedAway(record{Path: "/x"}, now)
	}
	a.turnedAway(record{Path: "/last"}, now.Add(time.Second))
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	s := &Server{cfg: Config{AuditDir: dir}}
	refused := records(t, s, refusedFile)
	if len(refused) != refusedBurst+1 || refused[refusedBurst].Omitted != 9*refusedBurst || refused[refusedBurst].Path != "/last" {
		t.Errorf("%d refusals, the last %+v", len(refused), refused[len(refused)-1])
	}
	if done := records(t, s, auditFile); len(done) != 1 || done[0].Caller != "first" {
		t.Errorf("recorded %+v", done)
	}

	dir = t.TempDir()
	l := newLines(filepath.Join(dir, auditFile), 1, 2)
	for range 20 {
		if err := l.write(record{Path: strings.Repeat("x", 1<<19)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, file := range files {
		info, err := file.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", file.Name(), info.Mode())
		}
		size += info.Size()
	}
	if most := int64(3 << 20); size > most || size < most/3 {
		t.Errorf("%d files with %d bytes", len(files), size)
	}
}

// TestATornLineSpoilsNoOther: the disk was full in the middle of it.
func TestATornLineSpoilsNoOther(t *testing.T) {
	disk := &smallDisk{room: 10}
	l := &lines{file: disk}
	if err := l.write(record{Path: "/torn"}); err == nil {
		t.Fatal("no error")
	}
	disk.room = 1 << 20
	for range 2 {
		if err := l.write(record{Path: "/whole"}); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.Split(strings.TrimSuffix(disk.String(), "\n"), "\n")
	if len(text) != 3 || !json.Valid([]byte(text[1])) || !json.Valid([]byte(text[2])) {
		t.Errorf("lines %q", text)
	}
}

type smallDisk struct {
	bytes.Buffer
	room int
}

func (d *smallDisk) Write(p []byte) (int, error) {
	if len(p) > d.room {
		n, _ := d.Buffer.Write(p[:d.room])
		d.room = 0
		return n, os.ErrInvalid
	}
	d.room -= len(p)
	return d.Buffer.Write(p)
}

func (d *smallDisk) Close() error { return nil }

// TestRequestsThatDoNothingPushOutNothing: a caller's writes have a rate of
// their own, and what it names is short in the record however it is written.
func TestRequestsThatDoNothingPushOutNothing(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.submit = func() error { return fmt.Errorf("%w: no", coordinator.ErrNotFound) }
	f.server.rates.writers = newBuckets(1, writeBurst) // slow enough for any machine to be faster
	f.run()
	c, ada := stranger(t, f.ca, f.server), f.caller(pki.Operator, "ada")
	bearer := f.token("ci", state.ScopeAdmin, time.Time{})
	path := "/v1/workflows/" + strings.Repeat("%01", 1000)
	let := 0
	for limited := false; !limited; let++ {
		switch a := c.send(mistaken(c.request("DELETE", path, "", bearer...))); {
		case a.status == http.StatusTooManyRequests && a.problem(t).Code == api.CodeTooMany && a.header.Get("Retry-After") != "":
			limited = true
		case a.status != http.StatusNotFound || let > 2*callerBurst:
			t.Fatalf("write %d: %d %s", let, a.status, a.body)
		}
	}
	if let <= writeBurst {
		t.Errorf("only %d writes at once", let)
	}
	if a := c.do("GET", "/v1/mesh", "", bearer...); a.status != http.StatusOK {
		t.Errorf("a read of that caller: %d %s", a.status, a.body)
	}
	if a := ada.do("DELETE", "/v1/workflows/people", ""); a.status != http.StatusNotFound {
		t.Errorf("a write of another: %d %s", a.status, a.body)
	}
	f.submit = func() error { return nil }
	long := ada.request("POST", "/v1/tokens", `{"name":"`+strings.Repeat(`\u0001`, 500)+`","scope":"read","lifetime_s":0}`, "Content-Type", "application/json")
	if a := ada.send(mistaken(long)); a.status != http.StatusCreated {
		t.Errorf("a long name: %d %s", a.status, a.body)
	}
	f.stop()
	b, err := os.ReadFile(filepath.Join(f.server.cfg.AuditDir, auditFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(b), "\n") {
		if len(line) > 1000 {
			t.Fatalf("a line of %d bytes: %s", len(line), line)
		}
	}
}

func TestTextInRecordsIsBounded(t *testing.T) {
	secret := api.NewSecret()
	for in, want := range map[string]string{
		"/v1/workflows/people":                                           "/v1/workflows/people",
		strings.Repeat("x", 300):                                         strings.Repeat("x", maxText),
		strings.Repeat("é", 300):                                         strings.Repeat("é", maxText/2),
		strings.Repeat("\x01", 300):                                      strings.Repeat("\x01", maxText/6),
		strings.Repeat("<\u2028", 300):                                   strings.Repeat("<\u2028", maxText/12),
		strings.Repeat(`"`, 300):                                         strings.Repeat(`"`, maxText/2),
		strings.Repeat("\xff", 300):                                      strings.Repeat("\xff", maxText/6),
		"/v1/tokens/" + secret.Reveal() + "/" + secret.Reveal():          "/v1/tokens/" + secret.String() + "/" + secret.String(),
		strings.Repeat("x", maxText-len("weft_")) + secret.Reveal()[:30]: strings.Repeat("x", maxText-len("weft_")) + "weft_",
	} {
		got := bounded(in)
		if got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
		if b, err := json.Marshal(got); err != nil || len(b)-2 > maxText {
			t.Errorf("%q has %d bytes in a record, %v", in, len(b)-2, err)
		}
	}
}

// TestSecretsByMistakeAreNotRecorded: a token where its name should be.
func TestSecretsByMistakeAreNotRecorded(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	var log bytes.Buffer
	f.server.cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	secret := strings.TrimPrefix(f.token("ci", state.ScopeSubmit, time.Time{})[1], "Bearer ")
	ada := f.caller(pki.Operator, "ada")
	ada.do("DELETE", "/v1/tokens/"+secret, "")
	ada.do("POST", "/v1/tokens", fmt.Sprintf(`{"name":%q,"scope":"read","lifetime_s":0}`, secret), "Content-Type", "application/json")
	f.submit = func() error { return errors.New("broken") }
	ada.do("DELETE", "/v1/tokens/"+secret, "") // is logged
	f.caller(pki.Agent, "edge-1").do("DELETE", "/v1/tokens/"+secret, "")
	f.stop()
	said := log.String()
	for _, name := range []string{auditFile, refusedFile} {
		b, err := os.ReadFile(filepath.Join(f.server.cfg.AuditDir, name))
		if err != nil {
			t.Fatal(err)
		}
		said += string(b)
	}
	parsed, err := api.ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(said, secret[30:]) || strings.Count(said, parsed.String()) < 7 {
		t.Errorf("said\n%s", said)
	}
}

// TestRefusalsNameTheToken, as far as it is known to be the bearer's.
func TestRefusalsNameTheToken(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.run()
	c := stranger(t, f.ca, f.server)
	good, old := f.token("good", state.ScopeAdmin, time.Time{}), f.token("old", state.ScopeAdmin, time.Now().Add(-time.Second))
	id := func(header []string) string { return header[1][len("Bearer weft_"):][:16] }
	forged := []string{"Authorization", "Bearer weft_" + id(good) + api.NewSecret().Reveal()[len("weft_")+16:]}
	unknown := []string{"Authorization", "Bearer " + api.NewSecret().Reveal()}
	var want []string
	for _, x := range []struct {
		header []string
		name   string
	}{
		{old, "token:old:" + id(old)}, {forged, "token:" + id(good) + " (claimed)"}, {unknown, "token:" + id(unknown) + " (claimed)"}, {nil, ""},
	} {
		if a := c.do("DELETE", "/v1/workflows/people", "", x.header...); a.status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", x.name, a.status, a.body)
		}
		want = append(want, x.name)
	}
	f.stop()
	var got []string
	for _, r := range records(t, f.server, refusedFile) {
		got = append(got, r.Caller)
	}
	if !slices.Equal(got, want) {
		t.Errorf("recorded %q, want %q", got, want)
	}
}

// TestTheOutcomeIsTheLastAnswer: a caller that has "100 Continue" sent first
// does not get that recorded in place of it.
func TestTheOutcomeIsTheLastAnswer(t *testing.T) {
	t.Parallel()
	m := newMesh(t, "c1", "c2", "c3")
	follower := m.follower()
	conf := m.issue(pki.Operator, "ada").ClientTLS(pki.Coordinator)
	conf.NextProtos = []string{"http/1.1"}
	conn, err := tls.Dial("tcp", follower.server.Addr(), conf)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "POST /v1/workflows HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: application/yaml\r\nContent-Length: %d\r\n\r\n%s", len(people), people); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	var resp *http.Response
	for resp == nil || resp.StatusCode/100 == 1 {
		if resp, err = http.ReadResponse(in, nil); err != nil {
			t.Fatal(err)
		}
	}
	defer resp.Body.Close()
	var answers []record
	wait(t, "the answer is recorded", func() bool {
		answers = slices.DeleteFunc(records(t, follower.server, auditFile), func(r record) bool { return r.Phase != phaseAnswer })
		return len(answers) > 0
	})
	if answers[0].Status != resp.StatusCode {
		t.Errorf("answered %d, recorded %+v", resp.StatusCode, answers[0])
	}
}
