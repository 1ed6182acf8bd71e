package mqtt

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/pipeline/mqtt/broker"
)

// Links with certificates of the mesh connect; who trusts another authority,
// or has no certificate, does not, and is told why.
func TestMutualTLS(t *testing.T) {
	ca, other := pkitest.CA(t), pkitest.CA(t)
	server := identity(t, ca, "fog-1")
	dir := t.TempDir()
	if err := server.Save(dir); err != nil {
		t.Fatal(err)
	}
	for _, b := range []struct {
		name  string
		start func(*testing.T) string
		says  string // to a client without a certificate, for certain
	}{
		{"embedded", func(t *testing.T) string {
			b, _ := startBroker(t, broker.Config{TLS: server.ServerTLS(pki.Agent)})
			return b.Addr()
		}, "certificate required"},
		{"mosquitto", func(t *testing.T) string {
			return startMosquitto(t, "require_certificate true", "cafile "+dir+"/ca.crt",
				"certfile "+dir+"/fog-1.crt", "keyfile "+dir+"/fog-1.key")
		}, ""}, // it may close the connection before its reason is read
	} {
		t.Run(b.name, func(t *testing.T) {
			url := "tls://" + b.start(t)
			outcome := make(chan pipeline.Outcome, 1)
			l, _ := startLink(t, Config{Broker: url, Node: "edge-1", TLS: identity(t, ca, "edge-1").ClientTLS(pki.Agent)}, ignore)
			f := newFrame(1, time.Minute)
			f.OnSettle(func(o pipeline.Outcome) { outcome <- o })
			if err := l.Send(t.Context(), "edge-1", "detect", f); err != nil {
				t.Fatal(err)
			}
			if o := <-outcome; !o.Delivered() {
				t.Errorf("settled as %+v", o)
			}

			anonymous := identity(t, ca, "edge-2").ClientTLS(pki.Agent)
			anonymous.GetClientCertificate = nil
			for who, c := range map[string]struct {
				conf *tls.Config
				want string
			}{
				"a client that trusts another CA": {identity(t, other, "edge-1").ClientTLS(pki.Agent), "certificate signed by unknown authority"},
				"a client without a certificate":  {anonymous, b.says},
			} {
				refused, err := New(Config{Broker: url, Node: "edge-2", TLS: c.conf, Log: slog.New(slog.DiscardHandler)}, ignore)
				if err != nil {
					t.Fatal(err)
				}
				stop := run(t, refused.Run)
				eventually(t, who+" to be refused", func() bool {
					err := refused.Send(t.Context(), "edge-1", "detect", newFrame(1, time.Minute))
					return err != nil && strings.Contains(err.Error(), c.want) && strings.Contains(err.Error(), url) &&
						!errors.Is(err, errStarting)
				})
				stop()
				if s := refused.Stats(); s.Sessions != 0 {
					t.Errorf("%s had %d sessions", who, s.Sessions)
				}
			}
		})
	}
}

// The access list that the package's documentation gives for mosquitto lets
// links work, and nobody publish as another.
func TestMosquittoAccessList(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for line := range strings.Lines(string(doc)) {
		if rule, ok := strings.CutPrefix(line, "//\t"); ok && (strings.HasPrefix(rule, "pattern ") || strings.HasPrefix(rule, "topic ")) {
			list = append(list, rule)
		}
	}
	if len(list) != 6 {
		t.Fatalf("the documentation has %d rules", len(list))
	}
	ca, dir := pkitest.CA(t), t.TempDir()
	if err := identity(t, ca, "fog-1").Save(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/acl", []byte(strings.Join(list, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	url := "tls://" + startMosquitto(t, "require_certificate true", "use_identity_as_username true", "acl_file "+dir+"/acl",
		"cafile "+dir+"/ca.crt", "certfile "+dir+"/fog-1.crt", "keyfile "+dir+"/fog-1.key")
	creds := func(name string) *tls.Config { return identity(t, ca, name).ClientTLS(pki.Agent) }
	got := make(chan *pipeline.Frame, 10)
	far, _ := startLink(t, Config{Broker: url, Node: "fog-1", TLS: creds("fog-1")}, pipeline.ReceiverFunc(func(_ string, f *pipeline.Frame) {
		got <- f
		f.Settle(pipeline.Outcome{})
	}))
	thief := client(t, url, creds("edge-2"))
	done(t, thief.Publish(framesTopic("fog-1", party{"edge-1", "R"}), 0, false, "no frame"))
	done(t, thief.Publish(framesTopic("fog-1", party{"edge-2", "R"}), 0, false, "no frame"))
	eventually(t, "what it says as itself to arrive", func() bool { return far.Stats().Malformed > 0 })
	if n := far.Stats().Malformed; n != 1 {
		t.Errorf("%d messages arrive, want one", n)
	}
	l, _ := startLink(t, Config{Broker: url, Node: "edge-1", TLS: creds("edge-1")}, ignore)
	outcome := make(chan pipeline.Outcome, 1)
	f := newFrame(1, time.Minute)
	f.OnSettle(func(o pipeline.Outcome) { outcome <- o })
	if err := l.Send(t.Context(), "fog-1", "detect", f); err != nil {
		t.Fatal(err)
	}
	if o := <-outcome; !o.Delivered() || len(got) != 1 {
		t.Errorf("settled as %+v", o)
	}
}
