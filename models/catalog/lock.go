package catalog

import (
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/internal/yamlfile"
)

// LockFile is the name of the lock in a model directory.
const LockFile = "models.lock"

// Lock says what the files were whose digests the catalogue does not know, when
// they were first there: they are trusted once, and held to it from then on.
// The key is a file's name.
type Lock map[string]Pin

// Pin is what a file was.
type Pin struct {
	Size   int64
	SHA256 string // hexadecimal
	From   string // where it came from, for people
}

const lockKind = "ModelLock"

type lockDocument struct {
	APIVersion string     `yaml:"apiVersion,required"`
	Kind       string     `yaml:"kind,required"`
	Files      []lockFile `yaml:"files"`
}

type lockFile struct {
	Name   string `yaml:"name,required"`
	Size   int64  `yaml:"size,required"`
	SHA256 string `yaml:"sha256,required"`
	From   string `yaml:"from"`
}

// ParseLock reads a lock. The error is yamlfile.Problems for mistakes in it.
func ParseLock(file string, data []byte) (Lock, error) {
	var in lockDocument
	doc, err := yamlfile.Decode(file, data, &in)
	if err != nil {
		return nil, err
	}
	var problems yamlfile.Problems
	bad := func(field, format string, args ...any) {
		problems = append(problems, doc.Problem(field, format, args...))
	}
	if in.APIVersion != apiVersion {
		bad("apiVersion", "unknown version %q; use %q", in.APIVersion, apiVersion)
	}
	if in.Kind != lockKind {
		bad("kind", "unknown kind %q; use %q", in.Kind, lockKind)
	}
	l := Lock{}
	for i, f := range in.Files {
		at := yamlfile.Item("files", i)
		_, twice := l[f.Name]
		switch {
		case !fs.ValidPath(f.Name) || f.Name == ".":
			bad(yamlfile.Key(at, "name"), "%q is no path below the model directory", f.Name)
		case twice:
			bad(yamlfile.Key(at, "name"), "%q is locked twice; keep one", f.Name)
		case f.Size < 0:
			bad(yamlfile.Key(at, "size"), "a size can't be negative")
		case !isDigest(f.SHA256):
			bad(yamlfile.Key(at, "sha256"), "%q is no SHA-256 digest; it has 64 hexadecimal digits", f.SHA256)
		}
		l[f.Name] = Pin{f.Size, strings.ToLower(f.SHA256), f.From}
	}
	return l, problems.Err()
}

// Encode is the inverse of ParseLock.
func (l Lock) Encode() []byte {
	b := []byte("# Written by Weft: what files were, whose digests its catalogue does not know, when\n" +
		"# they were first here. A file that has changed since is not used. To trust another,\n" +
		"# take its entry out.\n")
	b = fmt.Appendf(b, "apiVersion: %s\nkind: %s\nfiles:", apiVersion, lockKind)
	if len(l) == 0 {
		return append(b, " []\n"...)
	}
	b = append(b, '\n')
	for _, name := range slices.Sorted(maps.Keys(l)) {
		p := l[name]
		b = fmt.Appendf(b, "  - name: %s\n    size: %d\n    sha256: %s\n", strconv.Quote(name), p.Size, strconv.Quote(p.SHA256))
		if p.From != "" {
			b = fmt.Appendf(b, "    from: %s\n", strconv.Quote(p.From))
		}
	}
	return b
}

// Pinned is the catalogue with the sizes and digests that the lock knows and it
// does not.
func (c *Catalog) Pinned(l Lock) *Catalog {
	out := &Catalog{make(map[string]*Model, len(c.models)), c.classes}
	for name, m := range c.models {
		pinned := *m
		pinned.Files = slices.Clone(m.Files)
		for i := range pinned.Files {
			f := &pinned.Files[i]
			p, ok := l[f.Name]
			if ok && f.SHA256 == "" && (f.Size == 0 || f.Size == p.Size) {
				f.SHA256, f.Size = p.SHA256, p.Size
			}
		}
		out.models[name] = &pinned
	}
	return out
}

func isDigest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32
}
