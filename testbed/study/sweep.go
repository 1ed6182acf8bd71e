package study

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/testbed"
	"github.com/weft-mesh/weft/tiering"
)

// Sweep runs a scenario with one value of a parameter after the other.
type Sweep struct {
	Name, Title string
	File        string
	Scenario    *testbed.Scenario // its parameter is as the scenario's document has it
	Parameter   Parameter
	Between     testbed.Ends // of a rate: the tiers
	Values      []float64    // sources, bits a second (0: unshaped), F1, or F1 a second
}

// Parameter is what a sweep gives its values to.
type Parameter string

// The parameters.
const (
	Sources     Parameter = "sources"     // how many there are
	Rate        Parameter = "rate"        // of the links between two tiers
	MinAccuracy Parameter = "minAccuracy" // that the workflow asks for
	Theta       Parameter = "theta"       // what a second of latency is worth to it
)

// Parameters lists them.
func Parameters() []Parameter { return []Parameter{Sources, Rate, MinAccuracy, Theta} }

// At is the scenario with the i-th value.
func (s *Sweep) At(i int) (*testbed.Scenario, error) {
	v := s.Values[i]
	switch s.Parameter {
	case Sources:
		return s.Scenario.WithSources(int(v)), nil
	case Rate:
		return s.Scenario.WithRate(s.Between, int64(v))
	case MinAccuracy:
		return s.Scenario.Asking(v)
	case Theta:
		return s.Scenario.Trading(v)
	}
	return nil, fmt.Errorf("there is no parameter %q", s.Parameter)
}

// Label is the i-th value for people: "19 sources", "30 Mbit/s".
func (s *Sweep) Label(i int) string {
	v := s.Values[i]
	switch s.Parameter {
	case Sources:
		return fmt.Sprintf("%g", v)
	case Rate:
		return testbed.FormatRate(int64(v))
	}
	return fmt.Sprintf("%g", v)
}

func (c *checker) sweeps() {
	c.atMost("sweeps", "spec.sweeps", len(c.in.Sweeps), maxSweeps)
	for i := range c.in.Sweeps {
		in, field := &c.in.Sweeps[i], yamlfile.Item("spec.sweeps", i)
		c.name(field, in.Name)
		s := Sweep{Name: in.Name, Title: in.Title, File: c.path(in.Scenario), Parameter: in.Parameter}
		if s.Title == "" {
			s.Title = s.Name
		}
		known := slices.Contains(Parameters(), in.Parameter)
		if !known {
			c.unknown(field+".parameter", "parameter", string(in.Parameter), words(Parameters()))
		}
		between := c.between(field+".between", in, &s)
		values := c.values(field+".values", in, &s)
		s.Scenario = c.scenario(field+".scenario", in.Scenario)
		if s.Scenario != nil && known && between && values {
			for k := range s.Values {
				if _, err := s.At(k); err != nil {
					c.add(field+".scenario", "%v", err)
					break
				}
			}
		}
		c.s.Sweeps = append(c.s.Sweeps, s)
	}
}

// between reads the tiers whose link a sweep is about; false: they are wrong.
func (c *checker) between(field string, in *sweepForm, s *Sweep) bool {
	if in.Parameter != Rate {
		if len(in.Between) > 0 {
			c.add(field, "only a rate is between tiers; remove the key")
		}
		return len(in.Between) == 0
	}
	if len(in.Between) != 2 {
		c.add(field, "%d names; give the two tiers, such as [edge, fog]", len(in.Between))
		return false
	}
	var tiers [2]tiering.Tier
	for k, name := range in.Between {
		var err error
		if tiers[k], err = tiering.ParseTier(name); err != nil {
			c.add(yamlfile.Item(field, k), "%v", err)
			return false
		}
	}
	s.Between = testbed.Ends{A: testbed.End{Tier: tiers[0]}, B: testbed.End{Tier: tiers[1]}}
	return true
}

// values reads the values of a sweep; false: some are wrong.
func (c *checker) values(field string, in *sweepForm, s *Sweep) bool {
	before := len(c.problems)
	if len(in.Values) == 0 {
		c.add(field, "none; give those that the parameter is to have")
	}
	c.atMost("values", field, len(in.Values), maxValues)
	for i, text := range in.Values {
		v, want := in.Parameter.read(string(text))
		if want != "" {
			c.add(yamlfile.Item(field, i), "%q: want %s", text, want)
		} else if slices.Contains(s.Values, v) {
			c.add(yamlfile.Item(field, i), "%s is there already; keep one", text)
		}
		s.Values = append(s.Values, v)
	}
	return len(c.problems) == before
}

// read reads a value of the parameter, or says what is wanted instead.
func (p Parameter) read(text string) (v float64, want string) {
	switch p {
	case Sources:
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxSources {
			return 0, fmt.Sprintf("a number of sources from 1 to %d", maxSources)
		}
		return float64(n), ""
	case Rate:
		r, err := testbed.ParseRate(text)
		if err != nil {
			return 0, "a rate such as 500kbit, 30Mbit or 1Gbit, or unshaped"
		}
		return float64(r), ""
	case MinAccuracy:
		if x, ok := decimal(text); ok && x > 0 && x < 1 {
			return x, ""
		}
		return 0, "an accuracy (F1) above 0 and below 1"
	case Theta:
		if x, ok := decimal(text); ok && x > 0 && x <= 100 {
			return x, ""
		}
		return 0, "what a second of latency is worth, above 0 and at most 100"
	}
	return 0, "" // that there is no such parameter is said already
}
