package password

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// cheap is a cost for tests, which need not be slow.
const cheap = bcrypt.MinCost

func hashed(t *testing.T, password string, cost int) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func TestBook(t *testing.T) {
	long := strings.Repeat("x", MaxLength)
	b, err := newBook(map[string]string{"gate": hashed(t, "correct horse", cheap), "yard": hashed(t, long, cheap)}, cheap)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, password string
		want           bool
	}{
		{"gate", "correct horse", true}, {"yard", long, true},
		{"gate", "correct horsf", false}, {"gate", "", false}, {"gate", long, false},
		{"yard", long[1:], false}, {"yard", long + "y", false}, // of which bcrypt would see the first 72 bytes
		{"nobody", "correct horse", false}, {"nobody", "", false}, {"", "", false}, {"Gate", "correct horse", false},
	} {
		if got := b.Check(c.name, []byte(c.password)); got != c.want {
			t.Errorf("%q, %q: %v", c.name, c.password, got)
		}
	}
	cost, err := bcrypt.Cost([]byte(b.nobody))
	if err != nil || cost != cheap {
		t.Errorf("nobody is checked at cost %d (%v), others at %d", cost, err, cheap)
	}
}

func TestHash(t *testing.T) {
	if h, err := Hash([]byte("correct horse")); err != nil || CheckHash(h) != nil {
		t.Errorf("%q, %v, %v", h, err, CheckHash(h))
	}
	h, err := hash([]byte("correct horse"), cheap)
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBook(map[string]string{"gate": h}, cheap)
	if err != nil || !b.Check("gate", []byte("correct horse")) || b.Check("gate", []byte("correct horses")) {
		t.Errorf("its own hash: %v", err)
	}
	for _, bad := range []string{"", "short", strings.Repeat("x", MaxLength+1)} {
		if h, err := Hash([]byte(bad)); !errors.Is(err, ErrPassword) || h != "" {
			t.Errorf("%d bytes: %q, %v", len(bad), h, err)
		}
	}
}

func TestHashesThatAreNone(t *testing.T) {
	good := hashed(t, "correct horse", minCost)
	for hash, want := range map[string]string{
		"":                                       "want bcrypt's $2a$…",
		"correct horse":                          "want bcrypt's $2a$…",
		"$argon2id$v=19$m":                       "want bcrypt's $2a$…",
		good[:40]:                                "want bcrypt's $2a$…",
		good + "x":                               "61 characters, want 60",
		hashed(t, "correct horse", minCost-1):    "of cost 9, want 10 to 14",
		strings.Replace(good, "$10$", "$15$", 1): "of cost 15",
	} {
		if err := CheckHash(hash); !errors.Is(err, ErrHash) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", hash, err)
		}
		if _, err := NewBook(map[string]string{"gate": hash}); !errors.Is(err, ErrHash) || !strings.Contains(err.Error(), "gate") {
			t.Errorf("a book with %q: %v", hash, err)
		}
	}
	if _, err := NewBook(map[string]string{"gate": good, "yard": hashed(t, "correct horse", minCost+1)}); !errors.Is(err, ErrHash) || !strings.Contains(err.Error(), "which users there are") {
		t.Errorf("two costs: %v", err)
	}
}
