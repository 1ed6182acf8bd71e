package catalog

import (
	"fmt"
	"maps"
	"slices"

	"github.com/goccy/go-yaml"
)

// Encode writes models as a catalogue file, which Load reads.
func Encode(models ...Model) ([]byte, error) {
	known := Builtin().classes
	out := document{APIVersion: apiVersion, Kind: kind, ClassLists: map[string][]string{}}
	for _, m := range models {
		confidence, nms := m.Confidence, m.NMS
		e := modelEntry{
			Name: m.Name, Family: m.Family, Format: m.Format, Fit: m.Fit, Resolutions: m.Resolutions,
			Confidence: &confidence, NMS: &nms, Licence: m.Licence, Source: m.Source, Description: m.Description,
		}
		if in := m.Input; in != (Input{}) {
			e.Channels, e.DivideBy = &in.Channels, &in.DivideBy
		}
		for _, f := range m.Files {
			e.Files = append(e.Files, fileEntry(f))
		}
		for _, a := range m.Accuracy {
			e.Accuracy = append(e.Accuracy, figure(a))
		}
		for _, r := range m.Rates {
			e.Rates = append(e.Rates, rate(r))
		}
		e.Classes = m.Name
		for _, name := range slices.Sorted(maps.Keys(known)) {
			if slices.Equal(known[name], m.Classes) {
				e.Classes = name
			}
		}
		if _, ok := known[e.Classes]; !ok {
			out.ClassLists[e.Classes] = m.Classes
		}
		out.Models = append(out.Models, e)
	}
	b, err := yaml.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode a catalogue: %w", err)
	}
	return b, nil
}
