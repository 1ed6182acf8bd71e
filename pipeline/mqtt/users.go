package mqtt

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/password"
)

// User is a camera or another client that has a password in place of a
// certificate of the mesh.
type User struct {
	Name string
	Hash string // of the password, as package password makes it
	// Publish and Subscribe are filters of the topics that it may publish to and
	// read.
	Publish, Subscribe []string
}

var userName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)

// UserProblem is a mistake in one of several users.
type UserProblem struct {
	User  int    // its index
	Field string // name, passwordHash, publish[2]
	Err   error
}

func (p *UserProblem) Error() string { return fmt.Sprintf("users[%d].%s: %v", p.User, p.Field, p.Err) }
func (p *UserProblem) Unwrap() error { return p.Err }

// CheckUsers lists what is wrong with users.
func CheckUsers(users []User) []*UserProblem {
	var out []*UserProblem
	seen := map[string]bool{}
	for i, u := range users {
		bad := func(field string, err error) {
			out = append(out, &UserProblem{i, field, fmt.Errorf("%w: %w", ErrConfig, err)})
		}
		switch {
		case !userName.MatchString(u.Name):
			bad("name", fmt.Errorf("%q is not a name: use 1 to 63 letters, digits, and . _ - between them", u.Name))
		case seen[u.Name]:
			bad("name", fmt.Errorf("%s is there twice", u.Name))
		}
		seen[u.Name] = true
		if err := password.CheckHash(u.Hash); err != nil {
			bad("passwordHash", err)
		}
		if len(u.Publish)+len(u.Subscribe) == 0 {
			bad("publish", errors.New("it may do nothing: list topics in `publish` or `subscribe`"))
		}
		for j, f := range u.Publish {
			if err := checkUserFilter(f, isCamera); err != nil {
				bad(fmt.Sprintf("publish[%d]", j), err)
			}
		}
		for j, f := range u.Subscribe {
			if err := checkUserFilter(f, func(levels []string) bool { return isCamera(levels) || isResults(levels) }); err != nil {
				bad(fmt.Sprintf("subscribe[%d]", j), err)
			}
		}
	}
	return out
}

// checkUserFilter says why no user may be given a filter: what is the mesh's
// own needs a certificate.
func checkUserFilter(filter string, within func([]string) bool) error {
	levels := strings.Split(filter, "/")
	switch err := checkFilter(filter); {
	case err != nil:
		return err
	case len(filter) > maxTopic || len(levels) > maxLevels:
		return fmt.Errorf("%.80q is longer than %d bytes or %d levels", filter, maxTopic, maxLevels)
	case !within(levels):
		return fmt.Errorf("%.80q: users publish and read what is neither under weft/ nor begins with $ or a wildcard, and may read weft/v1/detections/… and weft/v1/pictures/…; the rest needs a certificate", filter)
	}
	return nil
}

// Users are those who log in at the embedded broker with a password.
type Users struct {
	book  *password.Book
	write map[string][]string
	read  map[string][]string
}

// NewUsers checks the users. Errors are ErrConfig.
func NewUsers(users []User) (*Users, error) {
	var errs []error
	for _, p := range CheckUsers(users) {
		errs = append(errs, p)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	u := &Users{write: map[string][]string{}, read: map[string][]string{}}
	hashes := map[string]string{}
	for _, one := range users {
		hashes[one.Name] = one.Hash
		u.write[one.Name], u.read[one.Name] = slices.Clone(one.Publish), slices.Clone(one.Subscribe)
	}
	var err error
	if u.book, err = password.NewBook(hashes); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return u, nil
}

// Login reports whether the password is the user's. It is slow on purpose.
func (u *Users) Login(name string, secret []byte) bool { return u.book.Check(name, secret) }

// Allowed is the access list for users, as the function Allowed is for holders
// of certificates.
func (u *Users) Allowed(name, topic string, write bool) bool {
	if len(topic) > maxTopic {
		return false
	}
	filters := u.write[name]
	if !write {
		filters = u.read[name]
		var ok bool
		if topic, ok = unshared(topic); !ok {
			return false
		}
	}
	if checkFilter(topic) != nil || strings.Count(topic, "/") >= maxLevels || write && strings.ContainsAny(topic, "+#") {
		return false
	}
	levels := strings.Split(topic, "/")
	return slices.ContainsFunc(filters, func(f string) bool { return covers(strings.Split(f, "/"), levels) })
}

// covers reports whether a filter matches every topic that another one does. A
// topic is a filter that matches itself. The filter begins with no wildcard.
func covers(filter, other []string) bool {
	for i, want := range filter {
		switch {
		case want == "#":
			return true
		case i == len(other) || other[i] == "#":
			return false
		case want != "+" && want != other[i]:
			return false
		}
	}
	// a/# matches a, too.
	return len(filter) == len(other)
}
