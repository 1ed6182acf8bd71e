package study

import (
	_ "embed"
	"slices"
)

//go:embed study.schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of the study document, for
// editors. It knows the form; what depends on several fields at once or on the
// scenarios is checked by Parse only.
func Schema() []byte { return slices.Clone(schema) }
