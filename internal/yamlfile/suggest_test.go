package yamlfile

import "testing"

func TestSuggest(t *testing.T) {
	known := []string{"name", "resolutions", "models", "minAccuracy", "cpu"}
	for word, want := range map[string]string{
		"nmae": "name", "Name": "name", "resolution": "resolutions", "model": "models", "modles": "models",
		"minaccuracy": "minAccuracy", "min": "minAccuracy", "cp": "cpu", "cpus": "cpu",
		"x": "", "": "", "qq": "", "framerate": "", "deadline": "",
	} {
		if got, ok := Suggest(word, known); got != want || ok != (want != "") {
			t.Errorf("Suggest(%q) = %q, %v; want %q", word, got, ok, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"kitten", "sitting", 3}, {"abc", "xyz", 3}} {
		if got := distance(tt.a, tt.b, 10); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
		if got := distance(tt.b, tt.a, 10); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.b, tt.a, got, tt.want)
		}
	}
}
