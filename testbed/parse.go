package testbed

import (
	"errors"
	"fmt"
	"os"

	"github.com/weft-mesh/weft/internal/yamlfile"
)

// Load reads a scenario and the workflow document that it names.
func Load(path string) (*Scenario, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the scenario: %w", err)
	}
	return Parse(path, data, os.ReadFile)
}

// ParseCosts reads costs, in the form that a scenario has them under
// spec.costs. A user's mistakes come back as yamlfile.Problems.
func ParseCosts(file string, data []byte) (Costs, error) {
	var in costsForm
	doc, err := yamlfile.Decode(file, data, &in)
	if err != nil {
		return Costs{}, err
	}
	c := checker{Document: doc, file: file}
	out := c.costs("", &in)
	return out, c.problems.Err()
}

// Parse reads and checks a scenario and expands its counts. file is its name,
// for the messages; paths in the document are relative to file's directory, and
// read reads the workflow document. A user's mistakes come back as
// yamlfile.Problems, each with its place and remedy: first all those of syntax,
// keys and types, and once there are none, all those of meaning; those of the
// workflow document name that file.
func Parse(file string, data []byte, read func(path string) ([]byte, error)) (*Scenario, error) {
	var in document
	doc, err := yamlfile.Decode(file, data, &in)
	if err != nil {
		return nil, err
	}
	c := checker{Document: doc, file: file, in: &in, s: &Scenario{}}
	c.check()
	elsewhere := c.workflow(read)
	switch here := c.problems.Err(); {
	case here != nil && elsewhere != nil:
		return nil, errors.Join(here, elsewhere)
	case here != nil:
		return nil, here
	case elsewhere != nil:
		return nil, elsewhere
	}
	return c.s, nil
}
