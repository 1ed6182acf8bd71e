package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
)

// TestTokens makes a token, uses it in place of a certificate and revokes it.
func TestTokens(t *testing.T) {
	m := startLive(t)
	dir := t.TempDir()
	if err := pkitest.Issue(t, m.ca, pki.Operator, "any").Save(dir); err != nil {
		t.Fatal(err)
	}
	head := fmt.Sprintf("addresses: [%s]\nca: ca.crt\n", m.address)

	c := weft(t, m.config, "token", "create", "board").want(t, exitOK, "weft: this is token board with scope read; it expires on ")
	text := strings.TrimSuffix(c.out, "\n")
	if _, err := api.ParseSecret(text); err != nil {
		t.Fatalf("%q: %v", c.out, err)
	}
	inFile := write(t, filepath.Join(dir, "file.yaml"), head+"tokenFile: board\n")
	write(t, filepath.Join(dir, "board"), text+"\n")
	inline := write(t, filepath.Join(dir, "inline.yaml"), head+"token: "+text+"\n")
	for _, config := range []string{inFile, inline} {
		if nodes := decode[[]api.Node](t, weft(t, config, "nodes", "-o", "json").want(t, exitOK, "")); len(nodes) != 5 {
			t.Errorf("%d nodes", len(nodes))
		}
		weft(t, config, "workflow", "stop", "people").want(t, exitFailure, "has the scope read, and this needs submit: `weft token create NAME --scope submit` makes a token that may")
	}
	weft(t, inFile, "workflow", "record", "people", "--out", filepath.Join(dir, "out")).want(t, exitUsage, "name cert and key in weft's configuration")

	made := decode[api.NewToken](t, weft(t, m.config, "token", "create", "ci", "--scope", "submit", "--expires", "720h", "-o", "json").want(t, exitOK, ""))
	if made.Token.Scope != "submit" || made.Token.Expires.Sub(made.Token.Created) != 720*time.Hour {
		t.Errorf("made %+v", made)
	}
	weft(t, m.config, "token", "create", "ci").want(t, exitFailure, "there is a token ci: revoke it first, or use another name")
	weft(t, m.config, "token", "create", "CI").want(t, exitFailure, "use 1 to 63 lower-case letters, digits and hyphens")
	weft(t, m.config, "token", "create", "forever", "--expires", "0").want(t, exitOK, "it does not expire")
	list := weft(t, m.config, "token", "list").want(t, exitOK, "").out
	for _, want := range []string{"board", "ci", "submit", "in 29d", "in 89d", "never"} {
		if !strings.Contains(list, want) {
			t.Errorf("no %q in\n%s", want, list)
		}
	}
	if n := strings.Count(list, "spiffe://"); n != 3 {
		t.Errorf("%d of 3 tokens say who made them:\n%s", n, list)
	}
	if strings.Contains(list, text) || strings.Contains(list, made.Secret) {
		t.Errorf("secrets in\n%s", list)
	}
	weft(t, m.config, "token", "revoke", "board").want(t, exitOK, "")
	weft(t, m.config, "token", "revoke", "board").want(t, exitFailure, "there is no token \"board\": `weft token list` shows those there are")
	weft(t, inFile, "nodes").want(t, exitFailure, "it was revoked, or it is of another mesh; `weft token create` makes one")

	// What others can read is no secret.
	for _, file := range []string{inline, filepath.Join(dir, "board")} {
		if err := os.Chmod(file, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for config, file := range map[string]string{inline: inline, inFile: filepath.Join(dir, "board")} {
		weft(t, config, "nodes").want(t, exitUsage, "secret that others can read: "+file+" has mode 0644: chmod 600 "+file)
	}
}

func TestMistakesWithTokens(t *testing.T) {
	dir := t.TempDir()
	id := pkitest.Issue(t, pkitest.CA(t), pki.Operator, "ada")
	if err := id.Save(dir); err != nil {
		t.Fatal(err)
	}
	token := api.NewSecret().Reveal()
	for name, tc := range map[string]struct{ text, want string }{
		"both":      {"cert: ada.crt\nkey: ada.key\ntoken: " + token, "a certificate and a token: give one of the two"},
		"two":       {"token: " + token + "\ntokenFile: t", "a token and a file of one: give one of the two"},
		"neither":   {"", `missing key "cert": give cert and key, of `},
		"no token":  {"token: hunter2", "weft.yaml:3:8: token: not a token: it looks like weft_ID_SECRET"},
		"no file":   {"tokenFile: nowhere", "nowhere: no such file"},
		"wrong CA":  {"token: " + token, "is not the certificate of a mesh CA"},
		"scope":     {"", ""},
		"revoke":    {"", ""},
		"create":    {"", ""},
		"lifetime":  {"", ""},
		"lifetime2": {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			args := []string{"nodes"}
			switch name {
			case "revoke", "create":
				args, tc.want = []string{"token", name, token}, "weft: "+api.Mask(token)+" is a token, not the name of one: `weft token list` shows the name of the one with ID "+token[5:21]
			case "scope":
				args, tc.want = []string{"token", "create", "x", "--scope", "root"}, `--scope "root": use read, submit or admin`
			case "lifetime":
				args, tc.want = []string{"token", "create", "x", "--expires", "-1s"}, "--expires -1s: use 1s or more, or 0 for a token that does not expire"
			case "lifetime2":
				args, tc.want = []string{"token", "create", "x", "--expires", "1ms"}, "--expires 1ms: use 1s or more"
			}
			ca := "ca.crt"
			if name == "wrong CA" {
				ca = "ada.crt"
			}
			file := write(t, filepath.Join(dir, "weft.yaml"), "addresses: [localhost:1]\nca: "+ca+"\n"+tc.text+"\n")
			c := weft(t, file, args...).want(t, exitUsage, tc.want)
			if strings.Contains(c.err, token[30:]) || strings.Contains(c.err, "hunter2") {
				t.Errorf("the token is in %s", c.err)
			}
		})
	}
}
