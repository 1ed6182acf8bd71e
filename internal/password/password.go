package password

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/bcrypt"
)

// The bounds of a password, in bytes: bcrypt looks at no more of it.
const (
	MinLength = 8
	MaxLength = 72
)

// The bounds of a hash's cost, and the one of new hashes: some 0.2 s on a
// laptop, 1 s on a Raspberry Pi. Lower ones are too fast for who guesses,
// higher ones too slow for who knows.
const (
	minCost     = 10
	maxCost     = 14
	defaultCost = 12
)

var (
	// ErrPassword reports a password that is none to use.
	ErrPassword = errors.New("unfit password")
	// ErrHash reports what is no hash of a password.
	ErrHash = errors.New("not a password's hash")
)

// Hash is what to keep of a password.
func Hash(password []byte) (string, error) { return hash(password, defaultCost) }

func hash(password []byte, cost int) (string, error) {
	switch n := len(password); {
	case n < MinLength:
		return "", fmt.Errorf("%w: %d bytes are soon guessed: use %d or more", ErrPassword, n, MinLength)
	case n > MaxLength:
		return "", fmt.Errorf("%w: of %d bytes the last would not count: use %d at most", ErrPassword, n, MaxLength)
	}
	h, err := bcrypt.GenerateFromPassword(password, cost)
	return string(h), err
}

// CheckHash says what is wrong with a hash.
func CheckHash(hash string) error {
	_, err := costOf(hash, minCost)
	return err
}

func costOf(hash string, least int) (int, error) {
	cost, err := bcrypt.Cost([]byte(hash))
	if err == nil && len(hash) != 60 {
		err = fmt.Errorf("%d characters, want 60", len(hash))
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: want bcrypt's $2a$…, as `weft mqtt-password` prints it: %w", ErrHash, err)
	case cost < least || cost > maxCost:
		return 0, fmt.Errorf("%w: of cost %d, want %d to %d: `weft mqtt-password` makes another", ErrHash, cost, least, maxCost)
	}
	return cost, nil
}

// Book holds the hash of each name's password.
type Book struct {
	hashes map[string]string
	nobody string // what those who are not in it are checked against
}

// NewBook checks the hashes. All must have one cost: the time that an answer
// takes would tell which names there are.
func NewBook(hashes map[string]string) (*Book, error) { return newBook(hashes, minCost) }

func newBook(hashes map[string]string, least int) (*Book, error) {
	b := &Book{hashes: map[string]string{}}
	common := 0
	for name, h := range hashes {
		cost, err := costOf(h, least)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		if common != 0 && common != cost {
			return nil, fmt.Errorf("%w: hashes of cost %d and %d would tell by the time of an answer which users there are: make all with one version of `weft mqtt-password`", ErrHash, common, cost)
		}
		common = cost
		b.hashes[name] = h
	}
	if common == 0 {
		common = least
	}
	// Nobody's password, in whatever hash it is.
	h, err := bcrypt.GenerateFromPassword(nil, common)
	b.nobody = string(h)
	return b, err
}

// Check reports whether the password is the name's. It takes as long, and a
// core, for a name that is not in the book.
func (b *Book) Check(name string, password []byte) bool {
	hash, known := b.hashes[name]
	if !known {
		hash = b.nobody
	}
	whole := len(password) <= MaxLength
	same := bcrypt.CompareHashAndPassword([]byte(hash), password[:min(len(password), MaxLength)]) == nil
	return known && whole && same
}
