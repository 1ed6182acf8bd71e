package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/tiering"
)

// TestMistakesInDocuments: what is wrong with a document is said with its line
// and column, alike with a mesh and without.
func TestMistakesInDocuments(t *testing.T) {
	m := startLive(t)
	t.Chdir(t.TempDir())
	for _, tc := range []struct{ name, from, to, want string }{
		{
			"unknown key", "type: deep-model", "type: deep-model\n      modells: [hog-people]",
			`people.yaml:14:7: spec.tasks[1].modells: unknown key "modells"; did you mean "models"?`,
		},
		{
			"cycle", "{from: detect, to: draw}", "{from: detect, to: draw}\n    - {from: draw, to: resize}",
			`people.yaml:21:7: spec.links[3]: the links make a cycle: resize → detect → draw → resize; remove one of them`,
		},
		{
			"resolution that no model offers", "[512, 768]", "[512, 768, 600]",
			`people.yaml:14:59: spec.tasks[1].models[0].resolutions[2]: hog-people does not offer 600; it offers 512, 640, 768 and 1024`,
		},
		{
			"unknown model", "hog-people", "hog-persons",
			`people.yaml:14:23: spec.tasks[1].models[0].name: unknown model "hog-persons"; use hog-people, `,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			write(t, "people.yaml", strings.Replace(people, tc.from, tc.to, 1))
			for _, command := range []string{"check", "submit", "plan"} {
				c := weft(t, m.config, "workflow", command, "people.yaml")
				code := exitFailure
				if command == "plan" {
					code = exitPlan
				}
				c.want(t, code, "")
				if line, _, _ := strings.Cut(c.err, "\n"); !strings.HasPrefix(line, tc.want) {
					t.Errorf("%s says\n%s\nwant\n%s", command, c.err, tc.want)
				}
				if c.out != "" {
					t.Errorf("%s prints %q", command, c.out)
				}
			}
		})
	}
	if ws := decode[[]api.Workflow](t, weft(t, m.config, "workflow", "list", "-o", "json")); len(ws) != 0 {
		t.Errorf("a wrong document left %+v", ws)
	}
}

// TestAWorkflowThatDoesNotFit: which tier is short of what, and by how much.
func TestAWorkflowThatDoesNotFit(t *testing.T) {
	m := startLive(t)
	for _, tc := range []struct{ name, from, to, want string }{
		{
			"more than all tiers have", "{cpu: 1, memory: 512MiB}", "{cpu: 30, memory: 100GiB}",
			`weft: workflow people refused: HI detect@768, draw do not fit, even at half of what is asked for
  cloud is short of 52 cores (needs 60, has 8 free)
  cloud is short of 184 GiB memory (needs 200 GiB, has 16 GiB free)
  fog is short of 56 cores (needs 60, has 4 free)
  fog is short of 192 GiB memory (needs 200 GiB, has 8 GiB free)
`,
		},
		{
			"a model that no node has", "hog-people, resolutions: [512, 768]", "yolox-nano, resolutions: [416]",
			"",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			doc := strings.Replace(people, tc.from, tc.to, 1)
			if tc.want == "" {
				doc = strings.NewReplacer(", resolution: 768", "", ", resolution: 512", "").Replace(doc)
				tc.want = "weft: workflow people refused: LI detect@416 does not fit, even at half of what is asked for\n" +
					"  no fog node has model yolox-nano\n  no cloud node has model yolox-nano\n"
			}
			for command, code := range map[string]int{"plan": exitPlan, "submit": exitFailure} {
				c := weftWith(t, t.Context(), m.config, doc, "workflow", command, "-").want(t, code, "")
				if c.err != tc.want || c.out != "" {
					t.Errorf("%s says\n%s%s\nwant\n%s", command, c.out, c.err, tc.want)
				}
			}
		})
	}
	for _, n := range decode[[]api.Node](t, weft(t, m.config, "nodes", "-o", "json")) {
		if !n.Reserved.IsZero() {
			t.Errorf("a refused workflow has %v reserved on %s", n.Reserved, n.ID)
		}
	}
}

func TestUnknownWorkflows(t *testing.T) {
	m := startLive(t)
	out := filepath.Join(t.TempDir(), "out")
	const want = "weft: there is no workflow \"ghost\": `weft workflow list` shows those there are\n"
	for _, args := range [][]string{{"status", "ghost"}, {"stop", "ghost"}, {"record", "ghost", "--out", out}} {
		c := weft(t, m.config, append([]string{"workflow"}, args...)...).want(t, exitFailure, want)
		if c.out != "" {
			t.Errorf("%v prints %q", args, c.out)
		}
	}
	if _, err := os.Stat(out); !os.IsNotExist(err) {
		t.Errorf("a recording of nothing left %s: %v", out, err)
	}
}

func TestMistakesOnTheCommandLine(t *testing.T) {
	dir := t.TempDir()
	document := write(t, filepath.Join(dir, "people.yaml"), people)
	long := write(t, filepath.Join(dir, "long.yaml"), strings.Repeat("#", maxDocument+1))
	for _, tc := range []struct {
		args string
		code int
		want string
	}{
		{"nods", exitUsage, "weft: weft has no command \"nods\"; did you mean nodes or node?; see `weft --help`"},
		{"workflow chek", exitUsage, "did you mean check?; see `weft workflow --help`"},
		{"workflow 12345678", exitUsage, "weft workflow has no command \"12345678\"; see"},
		{"nodes extra", exitUsage, "weft: usage: weft nodes"},
		{"nodes --colour", exitUsage, "weft: unknown flag: --colour; see `weft nodes --help`"},
		{"nodes -o yaml", exitUsage, `weft: invalid argument "yaml" for "-o, --output" flag: use text or json; see`},
		{"version -o yaml", exitUsage, "use text or json"},
		{"workflow submit -o yaml " + document, exitUsage, "use text or json"},
		{"workflow status", exitUsage, "weft: usage: weft workflow status NAME"},
		{"workflow record people --for 0s", exitUsage, "weft: --for and --frames must be above 0"},
		{"workflow record people --frames 0", exitUsage, "weft: --for and --frames must be above 0"},
		{"workflow plan", exitPlan, "weft: usage: weft workflow plan FILE"},
		{"workflow plan a b", exitPlan, "weft: usage: weft workflow plan FILE"},
		{"workflow plan --colour x", exitPlan, "unknown flag"},
		{"workflow plan -o yaml " + document, exitPlan, "use text or json"},
		{"workflow plan " + document, exitPlan, "no configuration at"},
		{"workflow plan " + filepath.Join(dir, "none.yaml"), exitPlan, "none.yaml: no such file"},
		{"workflow submit " + filepath.Join(dir, "none.yaml"), exitFailure, "none.yaml: no such file"},
		{"workflow submit " + dir, exitFailure, "is a directory"},
		{"workflow check " + long, exitFailure, "long.yaml: too large for a workflow document: at most 1 MiB"},
		{"workflow check " + document + " --catalogue none", exitFailure, "open none: no such file"},
		{"keygen x", exitUsage, "weft: usage: weft keygen"},
		{"ca init", exitUsage, "weft: --mesh NAME is needed"},
		{"ca init --mesh Farm/1 --dir " + dir, exitUsage, `mesh name "Farm/1": use 1 to 63 lower-case letters`},
		{"ca init --mesh farm --days 0 --dir " + dir, exitUsage, "weft: --days 0: use 1 to 36500"},
		{"ca issue a --role king", exitUsage, `role "king": use agent, coordinator or operator`},
		{"ca issue a --tier fog --dir " + filepath.Join(dir, "none"), exitFailure, "no such file or directory): --dir says where it is, `weft ca init --mesh NAME` makes one"},
	} {
		config := filepath.Join(dir, "nowhere.yaml")
		c := weft(t, config, strings.Fields(tc.args)...)
		if c.code != tc.code || !strings.Contains(c.err, tc.want) || strings.Count(c.err, "\n") != 1 || c.out != "" {
			t.Errorf("weft %s: exit code %d, %q, %q; want %d, %q", tc.args, c.code, c.out, c.err, tc.code, tc.want)
		}
	}
}

func TestMistakesInTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	ca := pkitest.CA(t)
	for _, id := range []*pki.Identity{pkitest.Issue(t, ca, pki.Operator, "ada"), pkitest.Issue(t, ca, pki.Operator, "bob")} {
		if err := id.Save(dir); err != nil {
			t.Fatal(err)
		}
	}
	expired, err := ca.Issue(pki.Subject{Role: pki.Operator, Name: "eve"}, nil, time.Now().Add(-48*time.Hour), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := expired.Save(dir); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "garbage.crt"), "garbage")
	for _, tc := range []struct{ name, config, want string }{
		{"unknown key", "adresses: [a:1]\nca: ca.crt\ncert: ada.crt\nkey: ada.key\n", `c.yaml:1:1: adresses: unknown key "adresses"; did you mean "addresses"?`},
		{"missing key", "addresses: [a:1]\nca: ca.crt\ncert: ada.crt\n", `c.yaml:1:1: key: missing key "key": give the file of the certificate`},
		{"no address", "addresses: []\nca: ca.crt\ncert: ada.crt\nkey: ada.key\n", "c.yaml:1:1: addresses: give one HOST:PORT at least, of a coordinator's API"},
		{"no port", "addresses: [\"a:1\", b]\nca: ca.crt\ncert: ada.crt\nkey: ada.key\n", `c.yaml:1:20: addresses[1]: "b" is not an address: use HOST:PORT of a coordinator's API`},
		{"no such file", "addresses: [a:1]\nca: ca.crt\ncert: ada.crt\nkey: none.key\n", "c.yaml names: open " + filepath.Join(dir, "none.key") + ": no such file"},
		{"another's key", "addresses: [a:1]\nca: ca.crt\ncert: ada.crt\nkey: bob.key\n", "bob.key is not the key of " + filepath.Join(dir, "ada.crt")},
		{"no certificate", "addresses: [a:1]\nca: ca.crt\ncert: garbage.crt\nkey: ada.key\n", "garbage.crt: want a CERTIFICATE block"},
		{"expired", "addresses: [a:1]\nca: ca.crt\ncert: eve.crt\nkey: eve.key\n", "eve.crt expired on " + time.Now().Add(-24*time.Hour).UTC().Format(time.DateOnly) + ": make a new one with `weft ca renew eve`"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			config := write(t, filepath.Join(dir, "c.yaml"), tc.config)
			weft(t, config, "nodes").want(t, exitUsage, tc.want)
		})
	}
	weft(t, filepath.Join(dir, "none.yaml"), "nodes").want(t, exitUsage,
		"weft: no configuration at "+filepath.Join(dir, "none.yaml")+": give --config FILE or set WEFT_CONFIG (`weftd dev` prints what to set)\n")
	t.Setenv("WEFT_CONFIG", filepath.Join(dir, "elsewhere.yaml"))
	weft(t, "", "nodes").want(t, exitUsage, "elsewhere.yaml: give")
	t.Setenv("WEFT_CONFIG", "")
	t.Setenv("XDG_CONFIG_HOME", dir)
	weft(t, "", "nodes").want(t, exitUsage, filepath.Join(dir, "weft", "weft.yaml")+": give")
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("HOME", "")
	weft(t, "", "nodes").want(t, exitUsage, "weft: no configuration: give --config FILE or set WEFT_CONFIG: ")
}

// TestNoCoordinatorAnswers: which were asked, why each did not answer, and what
// to do.
func TestNoCoordinatorAnswers(t *testing.T) {
	ca := pkitest.CA(t)
	ada := pkitest.Issue(t, ca, pki.Operator, "ada")
	closed := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}()
	serve := func(id *pki.Identity, roles ...pki.Role) string {
		s := httptest.NewUnstartedServer(http.NotFoundHandler())
		s.TLS = id.ServerTLS(roles...)
		s.Config.ErrorLog = quiet()
		s.StartTLS()
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	expired, err := ca.Issue(pki.Subject{Role: pki.Coordinator, Tier: tiering.Cloud, Name: "old"}, nil, time.Now().Add(-48*time.Hour), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, address, why, remedy string
	}{
		{"refused", closed, "connection refused", "is weftd running there? the addresses are those in CONFIG"},
		{
			"another CA", serve(pkitest.Issue(t, pkitest.CA(t), pki.Coordinator, "c"), pki.Operator), "certificate signed by unknown authority",
			"that mesh has another CA: use its ca.crt, and a certificate that it issued, in CONFIG",
		},
		{
			"expired", serve(expired, pki.Operator), "certificate has expired",
			"either the coordinator's certificate has expired, which `weft ca renew NAME` renews, or this machine's clock is wrong",
		},
		{
			"no coordinator", serve(pkitest.Issue(t, ca, pki.Agent, "a"), pki.Operator), "it is no coordinator of this mesh",
			"it is no coordinator of this mesh: use the addresses of coordinators' APIs in CONFIG",
		},
		{"no TLS", plain.Listener.Addr().String(), "", "something else listens there: use the addresses of coordinators' APIs in CONFIG"},
		{
			"not for operators", serve(pkitest.Issue(t, ca, pki.Coordinator, "c"), pki.Coordinator), "not accept this certificate",
			"make a certificate of that mesh with `weft ca issue NAME --role operator`, and name it in CONFIG",
		},
		{"unknown host", "weft.invalid:7949", "", "are the addresses in CONFIG right, and is the network up?"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			config := configure(t, ada, tc.address)
			c := weft(t, config, "nodes", "-o", "json").want(t, exitFailure, "")
			lines := strings.Split(c.err, "\n")
			if len(lines) != 4 || lines[0] != "weft: no coordinator answers" ||
				!strings.HasPrefix(lines[1], "  "+tc.address+": ") || !strings.Contains(lines[1], tc.why) ||
				lines[2] != strings.Replace(tc.remedy, "CONFIG", config, 1) {
				t.Errorf("it says\n%s\nwant\n%s: …%s…\n%s", c.err, tc.address, tc.why, tc.remedy)
			}
			if c.out != "" {
				t.Errorf("it prints %q", c.out)
			}
		})
	}
	// Each that was asked has a line.
	config := configure(t, ada, closed, "weft.invalid:7949")
	if c := weft(t, config, "nodes"); strings.Count(c.err, "\n  ") != 2 {
		t.Errorf("it says\n%s", c.err)
	}
}

func TestWhatAnAgentMayNot(t *testing.T) {
	m := startLive(t)
	config := configure(t, pkitest.Issue(t, m.ca, pki.Agent, "edge-1"), m.address)
	weft(t, config, "nodes").want(t, exitFailure, "use an operator's certificate")
	weft(t, config, "mesh").want(t, exitOK, "")
}

func TestInterrupted(t *testing.T) {
	fake := startFake(t)
	held := make(chan struct{})
	fake.handle("GET /v1/nodes", func(_ http.ResponseWriter, r *http.Request) {
		close(held)
		<-r.Context().Done()
	})
	fake.handle("POST /v1/workflows", func(_ http.ResponseWriter, r *http.Request) {
		close(held)
		<-r.Context().Done()
	})
	for _, tc := range []struct {
		want string
		args []string
	}{
		{"weft: interrupted\n", []string{"nodes"}},
		{"it may or may not have been carried out\n`weft workflow list` shows whether it was\n", []string{"workflow", "submit", "-"}},
	} {
		held = make(chan struct{})
		ctx, cancel := contextUntil(t, held)
		weftWith(t, ctx, fake.config, people, tc.args...).want(t, exitFailure, tc.want)
		cancel()
	}
}
