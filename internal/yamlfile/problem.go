package yamlfile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in a file.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`   // from 1
	Column  int    `json:"column"` // from 1, in characters
	Field   string `json:"field"`  // spec.tasks[1].models[0].name; empty: the whole document
	Message string `json:"message"`
}

// Error returns "file:line:column: field: message".
func (p Problem) Error() string {
	if p.Field == "" {
		return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s: %s", p.File, p.Line, p.Column, p.Field, p.Message)
}

// Problems are the mistakes in a file, in the order of its lines. As an error
// it is never empty; use [Problems.Err].
type Problems []Problem

// Error returns one problem a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// maxProblems is how many problems an error holds; nobody reads more at once.
const maxProblems = 100

// Err returns the problems as an error, sorted by position, or nil when there
// are none. Of very many, the first are kept and the rest is counted.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	sorted := slices.Clone(ps)
	slices.SortStableFunc(sorted, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if more := len(sorted) - maxProblems; more > 0 {
		rest := sorted[maxProblems]
		rest.Field, rest.Message = "", fmt.Sprintf("%d more problems from here on; correct the first ones and try again", more)
		sorted = append(sorted[:maxProblems:maxProblems], rest)
	}
	return sorted
}
