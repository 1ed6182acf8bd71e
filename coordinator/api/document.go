package api

import (
	_ "embed"
	"slices"
)

//go:embed openapi.yaml
var document []byte

// Document is the OpenAPI document of the API (YAML).
func Document() []byte { return slices.Clone(document) }
