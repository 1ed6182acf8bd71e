package main

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/agent/gossip"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/tiering"
)

func TestGossipKeys(t *testing.T) {
	if gossipKeySize != gossip.KeySize {
		t.Fatalf("keys of %d bytes; gossip wants %d", gossipKeySize, gossip.KeySize)
	}
	keys := map[string]bool{}
	for _, c := range []called{weft(t, "", "keygen"), weft(t, "", "keygen")} {
		key, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(c.want(t, exitOK, "").out, "\n"))
		if err != nil || len(key) != gossip.KeySize || keys[string(key)] {
			t.Errorf("key %q: %v", c.out, err)
		}
		keys[string(key)] = true
	}
	key, err := base64.StdEncoding.DecodeString(decode[map[string]string](t, weft(t, "", "keygen", "-o", "json"))["key"])
	if err != nil || len(key) != gossip.KeySize {
		t.Errorf("key %v: %v", key, err)
	}
}

func TestTheAuthority(t *testing.T) {
	t.Chdir(t.TempDir())
	tenYears := time.Now().UTC().Add(authorityDays * day).Format(time.DateOnly)
	c := weft(t, "", "ca", "init", "--mesh", "farm").want(t, exitOK, "")
	if !strings.Contains(c.out, "authority of mesh farm, valid until "+tenYears) ||
		!strings.Contains(c.out, filepath.Join("ca", "ca.key")+" is to be kept safe") {
		t.Errorf("it says %s", c.out)
	}
	if c := weft(t, "", "ca", "issue", "edge-1", "--tier", "edge").want(t, exitOK, ""); !strings.Contains(c.out, "to agent edge-1 of mesh farm, valid until ") {
		t.Errorf("it says %s", c.out)
	}
	made := decode[keyFiles](t, weft(t, "", "ca", "issue", "ada", "--role", "operator", "--out", "ada", "--days", "7", "-o", "json").want(t, exitOK, ""))
	if made.Subject != "spiffe://farm/operator/ada" || time.Until(made.Expires) > 7*day || time.Until(made.Expires) < 7*day-time.Hour {
		t.Errorf("issued %+v", made)
	}
	id, err := pki.LoadIdentity(made.CA, made.Certificate, made.Key)
	if err != nil || id.Subject.Role != pki.Operator {
		t.Errorf("%+v: %v", id, err)
	}
	other := decode[keyFiles](t, weft(t, "", "ca", "init", "--mesh", "other", "--dir", "other", "-o", "json").want(t, exitOK, ""))
	if other.CA != filepath.Join("other", "ca.crt") || other.Subject != "other" {
		t.Errorf("made %+v", other)
	}
	weft(t, "", "ca", "issue", "edge-9", "--tier", "edge", "--dir", "other", "--out", "ada").want(t, exitFailure, "is the certificate of another CA: save spiffe://other/agent/edge/edge-9 elsewhere")
}

// TestKeysAreNeverOverwritten: what is there stays, and nothing is added to a
// half of it.
func TestKeysAreNeverOverwritten(t *testing.T) {
	t.Chdir(t.TempDir())
	weft(t, "", "ca", "init", "--mesh", "farm").want(t, exitOK, "")
	weft(t, "", "ca", "issue", "edge-1", "--tier", "edge").want(t, exitOK, "")
	files := func() map[string]string {
		all := map[string]string{}
		entries, err := os.ReadDir("ca")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() {
				continue // the register of what was issued
			}
			all[e.Name()] = read(t, filepath.Join("ca", e.Name()))
		}
		return all
	}
	before := files()
	refuse := func(want string, args ...string) {
		t.Helper()
		recorded := len(registered(t))
		if c := weft(t, "", args...); c.code == exitOK || !strings.Contains(c.err, want) || c.out != "" {
			t.Errorf("%v: exit code %d, %s%s; want %s", args, c.code, c.out, c.err, want)
		}
		after := files()
		for name, content := range before {
			if after[name] != content {
				t.Errorf("%v has changed %s", args, name)
			}
		}
		if len(after) != len(before) {
			t.Errorf("%v leaves %d files, before %d", args, len(after), len(before))
		}
		if n := len(registered(t)); n != recorded {
			t.Errorf("%v leaves %d certificates on the register, before %d", args, n, recorded)
		}
	}
	key, crt := filepath.Join("ca", "edge-1.key"), filepath.Join("ca", "edge-1.crt")
	refuse("weft: "+filepath.Join("ca", "ca.key")+": file already exists: an authority is never overwritten; use another directory with --dir\n", "ca", "init", "--mesh", "farm")
	refuse("weft: "+key+": file already exists: keys are never overwritten; move the old ones away, or write to another directory with --out\n", "ca", "issue", "edge-1", "--tier", "edge")
	refuse(`a node cannot be called "ca": the authority's files have that name`, "ca", "issue", "ca", "--tier", "fog")

	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	before = files()
	refuse(crt+": file already exists: keys are never overwritten", "ca", "issue", "edge-1", "--tier", "edge")
	if err := os.Remove(filepath.Join("ca", "ca.crt")); err != nil {
		t.Fatal(err)
	}
	before = files()
	refuse(filepath.Join("ca", "ca.key")+": file already exists", "ca", "init", "--mesh", "farm")
}

// registered are the files of the register of ca.
func registered(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("ca", "issued", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestRevocationsAtOnce are all kept.
func TestRevocationsAtOnce(t *testing.T) {
	t.Chdir(t.TempDir())
	weft(t, "", "ca", "init", "--mesh", "farm").want(t, exitOK, "")
	const nodes = 8
	ends := make(chan called, nodes)
	for _, command := range [][]string{{"issue", "--tier", "edge"}, {"revoke"}} {
		for i := range nodes {
			go func() {
				ends <- weft(t, "", append([]string{"ca", command[0], "edge-" + strconv.Itoa(i)}, command[1:]...)...)
			}()
		}
		for range nodes {
			(<-ends).want(t, exitOK, "")
		}
	}
	for _, l := range decode[[]issuedTo](t, weft(t, "", "ca", "list", "-o", "json")) {
		if l.Status != "revoked" {
			t.Errorf("%s is %s", l.Name, l.Status)
		}
	}
}

// TestATornRegister keeps nobody from revoking what can be read.
func TestATornRegister(t *testing.T) {
	t.Chdir(t.TempDir())
	weft(t, "", "ca", "init", "--mesh", "farm").want(t, exitOK, "")
	weft(t, "", "ca", "issue", "edge-1", "--tier", "edge").want(t, exitOK, "")
	torn := filepath.Join("ca", "issued", "edge-2-1.crt")
	write(t, torn, "")
	for _, args := range [][]string{{"list"}, {"revoke", "edge-1"}} {
		weft(t, "", append([]string{"ca"}, args...)...).want(t, exitOK, "weft: left out: not a PEM file of the expected kind: "+torn)
	}
	if l := decode[[]issuedTo](t, weft(t, "", "ca", "list", "-o", "json")); len(l) != 1 || l[0].Status != "revoked" {
		t.Errorf("%+v", l)
	}
}

func TestTiersInCertificates(t *testing.T) {
	t.Chdir(t.TempDir())
	weft(t, "", "ca", "init", "--mesh", "farm").want(t, exitOK, "")
	for args, want := range map[string]string{
		"edge-1":                                "--tier edge|fog|cloud is needed: a machine's certificate says its tier, as `node.tier` of its configuration does",
		"c --role coordinator":                  "--tier edge|fog|cloud is needed",
		"edge-1 --tier sky":                     `--tier: `,
		"ada --role operator --tier fog":        "an operator has no tier",
		"edge-1 --role coordinator --tier edge": `"edge-1" is at the edge, where no node coordinates: make another node the coordinator, or give this one tier fog`,
	} {
		weft(t, "", append([]string{"ca", "issue"}, strings.Fields(args)...)...).want(t, exitUsage, want)
	}
	made := decode[keyFiles](t, weft(t, "", "ca", "issue", "c", "--role", "coordinator", "--tier", "cloud", "-o", "json"))
	if made.Subject != "spiffe://farm/coordinator/cloud/c" {
		t.Errorf("issued %+v", made)
	}
}

// TestTheLifeOfAnAuthority renews, lists, replaces and revokes.
func TestTheLifeOfAnAuthority(t *testing.T) {
	t.Chdir(t.TempDir())
	weft(t, "", "ca", "init", "--mesh", "farm").want(t, exitOK, "")
	weft(t, "", "ca", "issue", "edge-1", "--tier", "edge", "--days", "20", "--host", "edge.example").want(t, exitOK, "")
	weft(t, "", "ca", "issue", "fog-1", "--tier", "fog").want(t, exitOK, "")
	weft(t, "", "ca", "issue", "ada", "--role", "operator", "--out", "ada").want(t, exitOK, "")
	at := func(n string) string { return filepath.Join("ca", n) }
	load := func(name string) *pki.Identity {
		t.Helper()
		id, err := pki.LoadIdentity(at("ca.crt"), at(name+".crt"), at(name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	status := func() map[string]string {
		t.Helper()
		out := map[string]string{}
		for _, l := range decode[[]issuedTo](t, weft(t, "", "ca", "list", "-o", "json")) {
			out[l.Name] += l.Status + " "
		}
		return out
	}
	want := func(edge, fog, ada string) {
		t.Helper()
		if s := status(); len(s) != 3 || s["edge-1"] != edge || s["fog-1"] != fog || s["ada"] != ada {
			t.Errorf("%v; want %q, %q, %q", s, edge, fog, ada)
		}
	}
	want("expiring ", "valid ", "valid ")
	if c := weft(t, "", "ca", "list").want(t, exitOK, "edge-1 expires in 19 days: `weft ca renew edge-1`\n"); !strings.Contains(c.out, "authority of mesh farm, expires in 36") || !strings.Contains(c.out, "fog-1   agent     fog ") {
		t.Errorf("it lists\n%s", c.out)
	}
	if c := weft(t, "", "ca", "list", "--within", "30d"); c.code != exitExpiring || !strings.Contains(c.out, "edge-1") || strings.Contains(c.out, "fog-1") {
		t.Errorf("exit code %d: %s", c.code, c.out)
	}

	before := map[string]*pki.Identity{"edge-1": load("edge-1"), "fog-1": load("fog-1")}
	weft(t, "", "ca", "renew", "--all", "--within", "30d").want(t, exitOK, "")
	if id := load("edge-1"); id.Certificate().Equal(before["edge-1"].Certificate()) || !strings.Contains(strings.Join(id.Certificate().DNSNames, " "), "edge.example") {
		t.Errorf("edge-1 has %v", id.Certificate().DNSNames)
	}
	if !load("fog-1").Certificate().Equal(before["fog-1"].Certificate()) {
		t.Error("fog-1 was renewed, which has a year")
	}
	weft(t, "", "ca", "renew", "fog-1", "--days", "100").want(t, exitOK, "")
	if left := time.Until(load("fog-1").Expires()); left > 100*day || left < 99*day {
		t.Errorf("fog-1 has %s", left)
	}
	want("expiring replaced ", "valid replaced ", "valid ")
	if c := weft(t, "", "ca", "list", "--within", "10d").want(t, exitOK, ""); strings.Contains(c.out, "edge-1") {
		t.Errorf("it lists %s", c.out)
	}

	weft(t, "", "ca", "revoke", "edge-1").want(t, exitOK, "")
	want("revoked revoked ", "valid replaced ", "valid ")
	if _, err := pki.LoadIdentity(at("ca.crt"), at("edge-1.crt"), at("edge-1.key")); !errors.Is(err, pki.ErrRevoked) {
		t.Error(err)
	}
	weft(t, "", "ca", "revoke", "edge-1").want(t, exitFailure, "edge-1 has no certificate that could be revoked")
	weft(t, "", "ca", "renew", "edge-1").want(t, exitFailure, "edge-1 is revoked: remove "+at("edge-1.crt")+" and its key, then `weft ca issue edge-1`")

	weft(t, "", "ca", "renew", "--authority").want(t, exitOK, "")
	want("revoked revoked ", "authority-replaced replaced ", "authority-replaced ")
	load("fog-1") // both are trusted
	weft(t, "", "ca", "retire").want(t, exitFailure, "the authority before issued what ada (operator), fog-1 still have: `weft ca renew --all` first")
	weft(t, "", "ca", "renew", "--all").want(t, exitOK, "")
	weft(t, "", "ca", "renew", "--all", "--out", "ada").want(t, exitOK, "")
	want("revoked revoked ", "valid replaced replaced ", "valid replaced ")
	weft(t, "", "ca", "retire").want(t, exitOK, "")
	load("fog-1")
	if ca, err := pki.LoadCA("ca"); err != nil || len(ca.Certificates()) != 1 {
		t.Error(err)
	}
	if id, err := pki.LoadIdentity(filepath.Join("ada", "ca.crt"), filepath.Join("ada", "ada.crt"), filepath.Join("ada", "ada.key")); err != nil || id.Subject.Name != "ada" {
		t.Error(err)
	}
}

// TestWhichCertificateIsInUse: the one made last, of a node and of an operator
// of the same name each.
func TestWhichCertificateIsInUse(t *testing.T) {
	ca, now := pkitest.CA(t), time.Now()
	node, operator := pki.Subject{Role: pki.Agent, Tier: tiering.Fog, Name: "ada"}, pki.Subject{Role: pki.Operator, Name: "ada"}
	coordinator := node
	coordinator.Role = pki.Coordinator
	var certs []*x509.Certificate
	for _, c := range []struct {
		pki.Subject
		issued, valid time.Duration
	}{{node, -2 * time.Minute, 50 * time.Minute}, {coordinator, -time.Minute, 20 * time.Minute}, {operator, -3 * time.Minute, 10 * time.Minute}} {
		id, err := ca.Issue(c.Subject, nil, now.Add(c.issued), c.valid)
		if err != nil {
			t.Fatal(err)
		}
		certs = append(certs, id.Certificate())
	}
	for _, l := range list(ca, certs, now) {
		want := "expiring"
		if l.Role == pki.Agent {
			want = "replaced"
		}
		if l.Status != want {
			t.Errorf("%s is %s; want %s", l.Subject, l.Status, want)
		}
	}
}

// TestANodeAndAnOperatorOfOneName are not mistaken for each other.
func TestANodeAndAnOperatorOfOneName(t *testing.T) {
	t.Chdir(t.TempDir())
	ca := func(args string) called { return weft(t, "", append([]string{"ca"}, strings.Fields(args)...)...) }
	for _, args := range []string{"init --mesh farm", "issue ada --role coordinator --tier fog", "issue ada --role operator --out ops", "renew --authority", "renew ada"} {
		ca(args).want(t, exitOK, "")
	}
	ca("retire").want(t, exitFailure, "the authority before issued what ada (operator) still have")
	ca("renew ada --out ops").want(t, exitOK, "")
	ca("retire").want(t, exitOK, "")

	ca("revoke ada").want(t, exitFailure, "ada is a node and an operator (spiffe://farm/coordinator/fog/ada, spiffe://farm/operator/ada): --role coordinator or --role operator says which")
	ca("revoke ada --role king").want(t, exitUsage, `role "king"`)
	if c := ca("revoke ada --role operator").want(t, exitOK, ""); strings.Count(c.out, "revoked spiffe://farm/operator/ada, ") != 2 || strings.Contains(c.out, "coordinator") {
		t.Errorf("it says %s", c.out)
	}
	ca("revoke ada --role operator").want(t, exitFailure, "ada has no certificate of an operator that could be revoked: `weft ca list` shows who has")
	// Of a node all are meant, whichever of its roles they say.
	ca("issue ada --tier fog --out again").want(t, exitOK, "")
	if c := ca("revoke ada --role agent").want(t, exitOK, ""); !strings.Contains(c.out, "revoked spiffe://farm/coordinator/fog/ada, ") || !strings.Contains(c.out, "revoked spiffe://farm/agent/fog/ada, ") {
		t.Errorf("it says %s", c.out)
	}
	ca("revoke ada").want(t, exitFailure, "ada has no certificate that could be revoked")
}

func TestWhatCannotBeRenewed(t *testing.T) {
	t.Chdir(t.TempDir())
	weft(t, "", "ca", "list").want(t, exitFailure, "no authority in ca (")
	weft(t, "", "ca", "init", "--mesh", "farm").want(t, exitOK, "")
	for args, want := range map[string]string{
		"renew":                                    "say what to renew: NAME…, --all, or --authority",
		"renew edge-1 --all":                       "say what to renew",
		"renew edge-1 --within 3d":                 "--within goes with --all",
		"renew --all --within soon":                `"soon" is no time: use days, as in 30d`,
		"renew --all --tier fog":                   "--tier is for one NAME",
		"renew edge-1 --days 0":                    "--days 0: use 1 to",
		"renew --authority --out x":                "--tier and --out are of nodes",
		"renew --authority --tier fog":             "--tier and --out are of nodes",
		"issue edge-1 --tier edge --host fog:7949": `host "fog:7949": use a DNS name or an IP address, without port or scheme`,
		"renew edge-1 --tier sky":                  "--tier: ",
		"revoke":                                   "usage: weft ca revoke NAME…",
	} {
		weft(t, "", append([]string{"ca"}, strings.Fields(args)...)...).want(t, exitUsage, want)
	}
	weft(t, "", "ca", "renew", "edge-1").want(t, exitFailure, "no certificate of edge-1 in ca: --out says where it is, `weft ca issue edge-1` makes one")
	if c := weft(t, "", "ca", "renew", "--all").want(t, exitOK, ""); c.out != "nothing to renew\n" {
		t.Errorf("it says %s", c.out)
	}
	if err := os.Chmod(filepath.Join("ca", "ca.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	weft(t, "", "ca", "issue", "a", "--tier", "fog").want(t, exitFailure, "has mode 0644: chmod 600 "+filepath.Join("ca", "ca.key"))
}

// TestCopiesAreNotRenewed: what lies beside NAME.crt gives nobody back a role
// that it had.
func TestCopiesAreNotRenewed(t *testing.T) {
	t.Chdir(t.TempDir())
	at := func(n string) string { return filepath.Join("ca", n) }
	weft(t, "", "ca", "init", "--mesh", "farm").want(t, exitOK, "")
	weft(t, "", "ca", "issue", "fog-1", "--role", "coordinator", "--tier", "fog").want(t, exitOK, "")
	if err := errors.Join(os.Rename(at("fog-1.crt"), at("fog-1-old.crt")), os.Remove(at("fog-1.key"))); err != nil {
		t.Fatal(err)
	}
	weft(t, "", "ca", "issue", "fog-1", "--tier", "fog").want(t, exitOK, "")
	for _, args := range [][]string{{"fog-1"}, {"--all"}} {
		weft(t, "", append([]string{"ca", "renew"}, args...)...).want(t, exitOK, "")
		if id, err := pki.LoadIdentity(at("ca.crt"), at("fog-1.crt"), at("fog-1.key")); err != nil || id.Subject.Role != pki.Agent {
			t.Fatalf("renewed to %s, %v", id.Subject, err)
		}
	}
	weft(t, "", "ca", "renew", "fog-1-old").want(t, exitFailure, at("fog-1-old.crt")+" is the certificate of spiffe://farm/coordinator/fog/fog-1: what is to be renewed?")

	// One that somebody else has signed, as openssl does.
	forger, err := pki.NewCA("farm", time.Now(), day)
	if err != nil {
		t.Fatal(err)
	}
	forged := t.TempDir()
	if err := pkitest.Issue(t, forger, pki.Operator, "edge-9").Save(forged); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("node", 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join("node", "edge-9.crt"), read(t, filepath.Join(forged, "edge-9.crt")))
	for _, args := range [][]string{{"edge-9"}, {"--all"}} {
		weft(t, "", append([]string{"ca", "renew", "--out", "node"}, args...)...).want(t, exitFailure,
			filepath.Join("node", "edge-9.crt")+": issued by none of the authorities: a certificate of spiffe://farm/operator/edge-9 with the serial number ")
	}
	if _, err := os.Stat(filepath.Join("node", "edge-9.key")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it has a key: %v", err)
	}
}

func TestAnExpiredAuthority(t *testing.T) {
	dir := t.TempDir()
	ca, err := pki.NewCA("farm", time.Now().Add(-48*time.Hour), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.Save(dir); err != nil {
		t.Fatal(err)
	}
	weft(t, "", "ca", "issue", "edge-1", "--tier", "edge", "--dir", dir).want(t, exitFailure, "expired on "+time.Now().UTC().Add(-24*time.Hour).Format(time.DateOnly))
	write(t, filepath.Join(dir, "ca.key"), "garbage")
	weft(t, "", "ca", "issue", "edge-1", "--tier", "edge", "--dir", dir).want(t, exitFailure, "ca.key: want a PRIVATE KEY block")
}
