package state

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func tokenOf(id, name string, scope Scope, expires, when int) *PutToken {
	c := &PutToken{ID: id, Name: name, Scope: scope, Hash: bytes.Repeat([]byte{7}, 32), At: at(when)}
	if expires > 0 {
		c.Expires = at(expires)
	}
	return c
}

func TestTokenLifeCycle(t *testing.T) {
	const a, b, c = "00000000000000aa", "00000000000000bb", "00000000000000cc"
	f := newFixture(t)
	short := tokenOf(c, "x", ScopeRead, 0, 1)
	short.Hash = short.Hash[:31]
	for i, step := range []struct {
		cmd    Command
		err    error
		events string
		tokens string // "name=id" of those there are then
	}{
		{tokenOf(a, "ci", ScopeSubmit, 0, 1), nil, "token-created", "ci=" + a},
		{tokenOf(b, "ci", ScopeRead, 0, 2), ErrConflict, "", "ci=" + a},
		{tokenOf(a, "cd", ScopeRead, 0, 3), ErrConflict, "", "ci=" + a}, // the ID is in use
		{tokenOf(b, "board", ScopeRead, 10, 4), nil, "token-created", "board=" + b + " ci=" + a},
		{tokenOf(c, "board", ScopeRead, 0, 9), ErrConflict, "", "board=" + b + " ci=" + a},
		{tokenOf(c, "board", ScopeRead, 0, 10), nil, "token-created", "board=" + c + " ci=" + a}, // expired, so it makes way
		{&DeleteToken{Name: "board", At: at(11)}, nil, "token-revoked", "ci=" + a},
		{&DeleteToken{Name: "board", At: at(12)}, ErrNotFound, "", "ci=" + a},
		{tokenOf(c, "Board", ScopeRead, 0, 13), ErrInvalid, "", "ci=" + a},
		{tokenOf(c, strings.Repeat("x", 64), ScopeRead, 0, 13), ErrInvalid, "", "ci=" + a},
		{tokenOf("00AA", "x", ScopeRead, 0, 13), ErrInvalid, "", "ci=" + a},
		{tokenOf(c, "x", "root", 0, 13), ErrInvalid, "", "ci=" + a},
		{tokenOf(c, "x", ScopeRead, 13, 13), ErrInvalid, "", "ci=" + a},
		{short, ErrInvalid, "", "ci=" + a},
	} {
		r := f.do(step.cmd)
		var have []string
		for _, tok := range f.Snapshot().Tokens() {
			have = append(have, tok.Name+"="+tok.ID)
		}
		if !errors.Is(r.Err, step.err) || types(r.Events) != step.events || strings.Join(have, " ") != step.tokens {
			t.Fatalf("step %d: %v, %s, tokens %v; want %v, %s, %s", i, r.Err, types(r.Events), have, step.err, step.events, step.tokens)
		}
	}
	made := tokenOf(b, "cd", ScopeAdmin, 0, 14)
	made.By = "token:ci:" + a
	f.must(made)
	if got, ok := f.Snapshot().Token(b); !ok || got.By != made.By {
		t.Errorf("found %+v, %v; want that %s made it", got, ok, made.By)
	}
	got, ok := f.Snapshot().Token(a)
	if !ok || got.Name != "ci" || got.Scope != ScopeSubmit || !got.Created.Equal(at(1)) || got.Expired(at(1e6)) || got.By != "" {
		t.Errorf("found %+v, %v", got, ok)
	}
	if _, ok := f.Snapshot().Token(c); ok {
		t.Error("a revoked token is found")
	}
}

func TestTokensExpire(t *testing.T) {
	tok := Token{Expires: at(10)}
	for when, want := range map[time.Time]bool{at(0): false, at(10).Add(-1): false, at(10): true, at(11): true} {
		if got := tok.Expired(when); got != want {
			t.Errorf("expired at %v: %v", when, got)
		}
	}
}

func TestTokensAreBounded(t *testing.T) {
	f := newFixture(t)
	for i := range maxTokens {
		f.must(tokenOf(fmt.Sprintf("%016x", i), fmt.Sprint("t", i), ScopeRead, 0, 1))
	}
	f.refused(tokenOf("ffffffffffffffff", "more", ScopeRead, 0, 2), ErrConflict)
	f.must(&DeleteToken{Name: "t7", At: at(3)})
	f.must(tokenOf("ffffffffffffffff", "more", ScopeRead, 0, 4))
}

func TestScopesIncludeTheLower(t *testing.T) {
	for i, s := range Scopes() {
		for j, o := range Scopes() {
			if got := s.Includes(o); got != (i >= j) {
				t.Errorf("%s includes %s: %v", s, o, got)
			}
		}
		if s.Includes("") || s.Includes("root") || Scope("").Includes(s) || Scope("root").Includes(s) {
			t.Errorf("%s and what is no scope", s)
		}
	}
}
