package api

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"log/slog"
	"regexp"
)

// ErrSecret reports a text that is no token.
var ErrSecret = errors.New("not a token: it looks like weft_ID_SECRET, as `weft token create` prints it")

// Secret is a token as its bearer has it: weft_ID_SECRET, in hexadecimal. The
// ID is public, and the prefix is there for those who look for secrets in
// places where they should not be. It is printed and logged without its secret.
type Secret struct {
	ID  string
	key [32]byte
}

var secretForm = regexp.MustCompile(`^weft_([0-9a-f]{16})_([0-9a-f]{64})$`)

// secretInside also finds a secret that is cut short.
var secretInside = regexp.MustCompile(`weft_([0-9a-f]{16})_[0-9a-f]+`)

// Mask leaves the secrets of tokens out of a text.
func Mask(text string) string { return secretInside.ReplaceAllString(text, "weft_${1}_…") }

// NewSecret draws a token.
func NewSecret() Secret {
	var (
		s  Secret
		id [8]byte
	)
	_, _ = rand.Read(id[:]) // never fails
	_, _ = rand.Read(s.key[:])
	s.ID = hex.EncodeToString(id[:])
	return s
}

// ParseSecret is the inverse of Reveal. Its error does not repeat the text.
func ParseSecret(text string) (Secret, error) {
	m := secretForm.FindStringSubmatch(text)
	if m == nil {
		return Secret{}, ErrSecret
	}
	s := Secret{ID: m[1]}
	_, err := hex.Decode(s.key[:], []byte(m[2]))
	return s, err
}

// Reveal is the token whole.
func (s Secret) Reveal() string { return "weft_" + s.ID + "_" + hex.EncodeToString(s.key[:]) }

// String is the token without its secret.
func (s Secret) String() string { return "weft_" + s.ID + "_…" }

// GoString implements [fmt.GoStringer]; it tells no more than String.
func (s Secret) GoString() string { return s.String() }

// LogValue implements [slog.LogValuer]; it tells no more than String.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Hash is what is kept of the secret.
func (s Secret) Hash() []byte {
	h := sha256.Sum256(s.key[:])
	return h[:]
}

// Matches reports whether a hash is of this secret, in a time that does not
// tell how much of it is.
func (s Secret) Matches(hash []byte) bool { return subtle.ConstantTimeCompare(s.Hash(), hash) == 1 }
