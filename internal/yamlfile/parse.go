package yamlfile

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// MaxSize is the largest file that is read, in bytes.
	MaxSize = 1 << 20

	// maxDepth bounds lists and mappings within each other, so that the
	// parser's recursion is bounded whatever the file says.
	maxDepth = 32

	// maxKeys bounds the keys of all mappings together; the parser's time grows
	// with the square of the keys of one.
	maxKeys = 20_000
)

// Decode reads the YAML document data into what into points at: structs with
// `yaml:"key"` tags, slices, maps with string keys, pointers, texts, numbers,
// booleans, [time.Duration] ("1m30s") and anything that is an
// encoding.TextUnmarshaler. What the document does not mention keeps its value,
// so defaults are set before.
//
// Two tag options exist: `yaml:"name,required"` makes a missing key a problem,
// and with `yaml:"name,short"` a single value in place of the mapping stands
// for a mapping with that key only.
//
// A user's mistakes come back as [Problems], along with the Document as far as
// it could be read; any other error is about the type of into.
func Decode(file string, data []byte, into any) (*Document, error) {
	target, err := targetOf(into)
	if err != nil {
		return nil, err
	}
	doc := &Document{file: file, at: map[string]position{}}
	root, problems := parse(doc, data)
	if len(problems) > 0 {
		return doc, problems.Err()
	}
	d := decoder{doc: doc}
	d.index(root, "", place(root))
	d.decode(root, "", target)
	return doc, d.problems.Err()
}

// parse returns the document's root node, or what is wrong with its syntax.
func parse(doc *Document, data []byte) (ast.Node, Problems) {
	if p, ok := unreadable(doc, data); ok {
		return nil, Problems{p}
	}
	// A byte order mark is no part of the text.
	tokens := lexer.Tokenize(strings.TrimPrefix(string(data), "\ufeff"))
	if problems := refuse(doc, tokens); len(problems) > 0 {
		return nil, problems
	}
	// Duplicate keys are found in index, all of them at once.
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, Problems{syntaxProblem(doc, err)}
	}
	for _, d := range file.Docs {
		if d.Body != nil {
			return d.Body, nil
		}
	}
	return nil, Problems{doc.Problem("", "the document is empty")}
}

// unreadable says why data can't be a document at all.
func unreadable(doc *Document, data []byte) (Problem, bool) {
	if len(data) > MaxSize {
		return doc.Problem("", "the document has %d bytes; at most %d (1 MiB) are read", len(data), MaxSize), true
	}
	line, column := 1, 1
	for rest := data; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		if r == utf8.RuneError && n <= 1 {
			return at(doc, position{line, column}, "not UTF-8 text (byte 0x%02x); save the file as UTF-8", rest[0]), true
		}
		if r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f {
			return at(doc, position{line, column}, "control character %U; remove it", r), true
		}
		if rest = rest[n:]; r == '\n' {
			line, column = line+1, 1
		} else {
			column++
		}
	}
	return Problem{}, false
}

// refuse finds what this package does not read of YAML, and depth that the
// parser had better not see.
func refuse(doc *Document, tokens token.Tokens) Problems {
	var (
		problems Problems
		flow     int // open [ and {
		entries  int // dashes in a row on one line
		keys     int
		started  bool // the document
		ended    bool // by ...
	)
	add := func(t *token.Token, format string, args ...any) {
		problems = append(problems, at(doc, placeOf(t), format, args...))
	}
	for i, t := range tokens {
		if t.Type == token.SequenceEntryType {
			if i > 0 && tokens[i-1].Type == token.SequenceEntryType && tokens[i-1].Position.Line == t.Position.Line {
				entries++
			} else {
				entries = 1
			}
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.MappingValueType:
			keys++
		case token.AnchorType, token.AliasType:
			add(t, "anchors and aliases (%s) are not read; write the value out where it is needed, or quote the text", t.Value)
		case token.TagType:
			add(t, "tags (%s) are not read; remove it, or quote the text", t.Value)
		case token.MergeKeyType:
			add(t, "merge keys (<<) are not read; write the keys out")
		case token.MappingKeyType:
			add(t, "complex keys (?) are not read; write key: value")
		case token.DirectiveType:
			add(t, "directives (%%) are not read; remove it, or quote the text")
		}
		if t.Type == token.DocumentHeaderType && started || ended && t.Type != token.CommentType {
			add(t, "a second document starts here; keep one document in a file")
			return problems
		}
		ended = t.Type == token.DocumentEndType || ended
		if flow > maxDepth || entries > maxDepth {
			add(t, "more than %d lists or mappings within each other", maxDepth)
			return problems
		}
		if keys > maxKeys {
			add(t, "more than %d keys", maxKeys)
			return problems
		}
		started = started || t.Type != token.CommentType
	}
	return problems
}

// remedies say in other words what some of the parser's messages mean.
var remedies = []struct{ message, remedy string }{
	{"mapping value is not allowed", `a "key: value" can't stand here; check the indentation, and quote text that contains ": "`},
	{"value is not allowed", "this can't stand here; check the indentation, and that brackets and quotes are closed"},
	{"tab character", "a tab; indent with spaces"},
	{"could not find end character", "the quote that opens here is not closed"},
	{"sequence end token ']' not found", "the [ is not closed"},
	{"is a reserved character", "text can't start with this character; put it in quotes"},
	{"block sequence entries are not allowed", "a list item can't stand here; start it on a line of its own, or quote the text"},
	{"non-map value is specified", "this is no key of the mapping above; check the indentation"},
}

// syntaxProblem makes a problem of the parser's error.
func syntaxProblem(doc *Document, err error) Problem {
	var e yaml.Error
	if !errors.As(err, &e) || e.GetToken() == nil {
		return doc.Problem("", "not YAML: %v", err)
	}
	where := placeOf(e.GetToken())
	for _, r := range remedies {
		if strings.Contains(e.GetMessage(), r.message) {
			return at(doc, where, "not YAML: %s", r.remedy)
		}
	}
	return at(doc, where, "not YAML: %s; check the indentation, brackets and quotes around", e.GetMessage())
}

// at returns a problem with the text at a position, of no field.
func at(doc *Document, where position, format string, args ...any) Problem {
	return Problem{File: doc.file, Line: where.line, Column: where.column, Message: fmt.Sprintf(format, args...)}
}

func placeOf(t *token.Token) position { return position{t.Position.Line, t.Position.Column} }

// place is where a node starts.
func place(n ast.Node) position {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return place(m.Values[0]) // its token is that of the first colon
	}
	if v, ok := n.(*ast.MappingValueNode); ok {
		return placeOf(v.Key.GetToken())
	}
	return placeOf(n.GetToken())
}
