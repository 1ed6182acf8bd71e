package workflow

import (
	_ "embed"
	"slices"
)

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of the workflow document, for
// editors. It knows the form; what depends on the catalogue or on several
// fields at once is checked by Parse only.
func Schema() []byte { return slices.Clone(schema) }
