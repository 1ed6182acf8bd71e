package yamlfile_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/internal/yamlfile"
	"github.com/weft-mesh/weft/tiering"
)

// sample has a field of every kind that a document can set.
type sample struct {
	Name  string            `yaml:"name"`
	Items []item            `yaml:"items"`
	One   *item             `yaml:"one"`
	Tier  tiering.Tier      `yaml:"tier"`
	Wait  time.Duration     `yaml:"wait"`
	Small uint8             `yaml:"small"`
	Whole int64             `yaml:"whole"`
	Real  float64           `yaml:"real"`
	On    bool              `yaml:"on"`
	Words map[string]string `yaml:"words"`

	hidden int
}

type item struct {
	Name        string `yaml:"name,required,short"`
	Resolutions []int  `yaml:"resolutions"`
}

func TestDecodeFillsEveryKind(t *testing.T) {
	const text = `
name: "a name"
items:
  - name: first   # a comment
    resolutions: [1, -2, +3]
  - second
one: {name: only}
tier: fog
wait: 1m30s
small: 255
whole: -9223372036854775808
real: 1e3
on: true
words:
  a: b
  c.d: "12"
  e: |
    x
`
	got := sample{hidden: 7}
	if _, err := yamlfile.Decode("f.yaml", []byte(text), &got); err != nil {
		t.Fatal(err)
	}
	want := sample{
		Name:  "a name",
		Items: []item{{"first", []int{1, -2, 3}}, {Name: "second"}},
		One:   &item{Name: "only"},
		Tier:  tiering.Fog, Wait: 90 * time.Second, Small: 255, Whole: -1 << 63, Real: 1000, On: true,
		Words:  map[string]string{"a": "b", "c.d": "12", "e": "x\n"},
		hidden: 7,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDecodeKeepsDefaults(t *testing.T) {
	got := sample{Name: "default", Real: 0.5, One: &item{Name: "default", Resolutions: []int{1}}}
	if _, err := yamlfile.Decode("f.yaml", []byte("one:\n  name: mine\n"), &got); err != nil {
		t.Fatal(err)
	}
	want := sample{Name: "default", Real: 0.5, One: &item{Name: "mine", Resolutions: []int{1}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDecodeSaysWhatIsWrong(t *testing.T) {
	const keys = "known keys: name, items, one, tier, wait, small, whole, real, on, words"
	tests := []struct{ name, text, want string }{
		{"empty", "", "1:1: the document is empty"},
		{"only a comment", "# nothing\n", "1:1: the document is empty"},
		{"unknown key", "nmae: x\n", `1:1: nmae: unknown key "nmae"; did you mean "name"? ` + keys},
		{"unknown key unlike any", "name: x\nfrobnicate: 1\n", `2:1: frobnicate: unknown key "frobnicate"; ` + keys},
		{"unknown key after characters of several bytes", "words: {é: ü}\none: {name: 'äöü', resolution: 1}\n",
			`2:20: one.resolution: unknown key "resolution"; did you mean "resolutions"? known keys: name, resolutions`},
		{"unknown key after CRLF", "name: x\r\nb: y\r\n", `2:1: b: unknown key "b"; ` + keys},
		{"unknown key after a byte order mark", "\ufeffnam: x\n", `1:1: nam: unknown key "nam"; did you mean "name"? ` + keys},
		{"missing key", "items:\n  - {resolutions: [1]}\n", `2:5: items[0]: missing key "name"`},
		{"duplicate key", "name: x\non: true\n\"name\": y\n", `3:1: name: duplicate key "name": it is given on line 1 already; keep one`},
		{"duplicate key of a map", "words:\n  a: x\n  a: y\n", `3:3: words.a: duplicate key "a": it is given on line 2 already; keep one`},
		{"no value", "name:\nitems: # later\n", "1:1: name: has no value; give one or remove the key\n2:1: items: has no value; give one or remove the key"},
		{"null", "name: ~\n", "1:1: name: has no value; give one or remove the key"},
		{"no item", "items:\n  - a\n  -\n", "3:5: items[1]: has no value; give one or remove the key"},
		{"number for text", "name: 12\n", "1:7: name: want text; found the number 12; put it in quotes to make it text"},
		{"boolean for text", "name: true\n", "1:7: name: want text; found true; put it in quotes to make it text"},
		{"text for number", "whole: many\n", `1:8: whole: want a whole number; found the text "many"`},
		{"quoted number", "whole: '1'\n", `1:8: whole: want a whole number; found the text "1"`},
		{"fraction for whole number", "whole: 1.5\n", "1:8: whole: want a whole number; found the number 1.5"},
		{"number too large", "small: 256\n", "1:8: small: want a whole number from 0 to 255; found the number 256"},
		{"negative number", "small: -1\n", "1:8: small: want a whole number from 0 to 255; found the number -1"},
		{"hexadecimal", "small: 0x10\n", "1:8: small: want a whole number from 0 to 255; found the number 0x10"},
		{"infinity", "real: .inf\n", "1:7: real: want a number; found the number .inf"},
		{"not a number", "real: .nan\n", "1:7: real: want a number; found the number .nan"},
		{"boolean of YAML 1.1", "on: yes\n", `1:5: on: want true or false; found the text "yes"`},
		{"duration without unit", "wait: 10\n", "1:7: wait: want a duration such as 500ms, 10s or 1m30s; found the number 10"},
		{"text that a type refuses", "tier: mist\n", `1:7: tier: unknown tier "mist": use edge, fog or cloud`},
		{"list for mapping", "one: [a]\n", "1:6: one: want a mapping with the keys name, resolutions; found a list"},
		{"mapping for list", "items:\n  name: x\n", "2:3: items: want a list; found a mapping"},
		{"text for mapping", "words: x\n", `1:8: words: want a mapping; found the text "x"`},
		{"list for text", "name: [x]\n", "1:7: name: want text; found a list"},
		{"mapping for text type", "tier: {a: b}\n", "1:7: tier: want a single value; found a mapping"},
		{"text for the document", "hello\n", `1:1: want a mapping with the keys name, items, one, tier, wait, small, whole, real, on, words; found the text "hello"`},
		{"long text is cut", "whole: " + strings.Repeat("x", 60) + "\n", `1:8: whole: want a whole number; found the text "` + strings.Repeat("x", 40) + `…"`},
		{"several at once", "whole: x\nreal: y\nbogus: z\n",
			"1:8: whole: want a whole number; found the text \"x\"\n" +
				"2:7: real: want a number; found the text \"y\"\n" +
				"3:1: bogus: unknown key \"bogus\"; " + keys},
		{"second document", "name: x\n---\nname: y\n", "2:1: a second document starts here; keep one document in a file"},
		{"document after the end", "name: x\n...\nname: y\n", "3:1: a second document starts here; keep one document in a file"},
		{"anchor and alias", "name: &n x\nwords: {a: *n}\n",
			"1:7: anchors and aliases (&) are not read; write the value out where it is needed, or quote the text\n" +
				"2:12: anchors and aliases (*) are not read; write the value out where it is needed, or quote the text"},
		{"merge key", "one:\n  <<: {name: x}\n", "2:3: merge keys (<<) are not read; write the keys out"},
		{"tag", "name: !!str 5\n", "1:7: tags (!!str) are not read; remove it, or quote the text"},
		{"directive", "%YAML 1.1\nname: x\n", "1:1: directives (%) are not read; remove it, or quote the text"},
		{"complex key", "? name\n: x\n", "1:1: complex keys (?) are not read; write key: value"},
		{"list as key", "[a]: b\n", "1:4: not YAML: found an invalid key for this map; check the indentation, brackets and quotes around"},
		{"open bracket", "items: [a,\n", "1:8: not YAML: the [ is not closed"},
		{"open quote", "name: 'x\n", "1:7: not YAML: the quote that opens here is not closed"},
		{"tab", "\tname: x\n", "1:5: not YAML: a tab; indent with spaces"},
		{"indentation", "one:\n  name: x\n resolutions: [1]\n", "3:2: not YAML: this can't stand here; check the indentation, and that brackets and quotes are closed"},
		{"colon in text", "name: a: b\n", `1:7: not YAML: a "key: value" can't stand here; check the indentation, and quote text that contains ": "`},
		{"list item after a key", "name: - b\n", "1:7: not YAML: a list item can't stand here; start it on a line of its own, or quote the text"},
		{"reserved character", "name: @x\n", "1:7: not YAML: text can't start with this character; put it in quotes"},
		{"not UTF-8", "name: x\nwords: {a: \xff}\n", "2:12: not UTF-8 text (byte 0xff); save the file as UTF-8"},
		{"control character", "name: \x00\n", "1:7: control character U+0000; remove it"},
		{"deep brackets", "items: " + strings.Repeat("[", 100_000), "1:40: more than 32 lists or mappings within each other"},
		{"deep dashes", strings.Repeat("- ", 100_000), "1:65: more than 32 lists or mappings within each other"},
		{"too many keys", strings.Repeat("name: x\n", 30_000), "20001:5: more than 20000 keys"},
		{"too large", strings.Repeat("#", 1<<20+1), "1:1: the document has 1048577 bytes; at most 1048576 (1 MiB) are read"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc, err := yamlfile.Decode("f.yaml", []byte(tt.text), &sample{})
			var problems yamlfile.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("error %v, want problems", err)
			}
			if doc == nil {
				t.Error("no document along with the problems")
			}
			want := "f.yaml:" + strings.ReplaceAll(tt.want, "\n", "\nf.yaml:")
			if err.Error() != want {
				t.Errorf("got\n%v\nwant\n%v", err, want)
			}
		})
	}
}

func TestDecodeRefusesTypes(t *testing.T) {
	for _, into := range []any{
		sample{}, nil, (*sample)(nil), new(any), new(func()), new(map[int]string),
		&struct{ NoTag string }{},
		&struct {
			hidden string `yaml:"hidden"`
		}{},
	} {
		_, err := yamlfile.Decode("f.yaml", []byte("a: b\n"), into)
		var problems yamlfile.Problems
		if err == nil || errors.As(err, &problems) {
			t.Errorf("%T: error %v, want one about the type", into, err)
		}
	}
}

func TestManyProblemsAreCounted(t *testing.T) {
	_, err := yamlfile.Decode("f.yaml", []byte("items:\n"+strings.Repeat("  - {}\n", 150)), &sample{})
	var problems yamlfile.Problems
	if !errors.As(err, &problems) || len(problems) != 101 {
		t.Fatalf("%d problems, want 100 and the count of the rest", len(problems))
	}
	want := "f.yaml:102:5: 50 more problems from here on; correct the first ones and try again"
	if got := problems[100].Error(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDocumentFindsFields(t *testing.T) {
	const text = `# people
name: x
items:
  - name: a
    resolutions: [320,
      416]
  - {name: b}
words:
  a.b: c
  'd"]["e': f
`
	doc, err := yamlfile.Decode("f.yaml", []byte(text), &sample{})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		field string
		has   bool
		want  string
	}{
		{"", true, "2:1"},
		{"name", true, "2:7"},
		{"items", true, "3:1"},
		{"items[0]", true, "4:5"},
		{"items[0].name", true, "4:11"},
		{"items[0].resolutions", true, "5:5"},
		{"items[0].resolutions[1]", true, "6:7"},
		{"items[1]", true, "7:5"},
		{"items[1].name", true, "7:12"},
		{"items[1].resolutions", false, "7:5"},
		{"items[1].resolutions[3]", false, "7:5"},
		{"items[2].name", false, "3:1"},
		{`words["a.b"]`, true, "9:8"},
		{`words["a.c"].x`, false, "8:1"},
		{yamlfile.Key("words", `d"]["e`), true, "10:13"},
		{yamlfile.Key("words", `d"]["x`), false, "8:1"},
		{"absent", false, "2:1"},
	}
	for _, tt := range tests {
		if got := doc.Has(tt.field); got != tt.has {
			t.Errorf("Has(%q) = %v", tt.field, got)
		}
		p := doc.Problem(tt.field, "is %s", "wrong")
		if got := fmt.Sprintf("%d:%d", p.Line, p.Column); got != tt.want {
			t.Errorf("%q is at %s, want %s", tt.field, got, tt.want)
		}
		if p.File != "f.yaml" || p.Field != tt.field || p.Message != "is wrong" {
			t.Errorf("%q: got %+v", tt.field, p)
		}
	}
}

func TestProblemAsJSON(t *testing.T) {
	b, err := json.Marshal(yamlfile.Problem{File: "f", Line: 1, Column: 2, Field: "a.b", Message: "m"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(b), `{"file":"f","line":1,"column":2,"field":"a.b","message":"m"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// What goccy/go-yaml writes of any value is read back as that value.
func TestDecodeReadsWhatIsWritten(t *testing.T) {
	text := rapid.StringMatching(`[ -~äß→]{0,12}`)
	rapid.Check(t, func(t *rapid.T) {
		want := sample{
			Name: text.Draw(t, "name"),
			Items: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) item {
				return item{text.Draw(t, "item"), rapid.SliceOfN(rapid.Int(), 1, 3).Draw(t, "resolutions")}
			}), 1, 3).Draw(t, "items"),
			One:   &item{text.Draw(t, "one"), []int{1}},
			Tier:  rapid.SampledFrom(tiering.Tiers()).Draw(t, "tier"),
			Wait:  time.Duration(rapid.Int64().Draw(t, "wait")),
			Small: rapid.Uint8().Draw(t, "small"),
			Whole: rapid.Int64().Draw(t, "whole"),
			Real:  float64(rapid.IntRange(-1000, 1000).Draw(t, "real")) / 8,
			On:    rapid.Bool().Draw(t, "on"),
			Words: rapid.MapOfN(rapid.StringMatching(`[a-z][a-z.]{0,5}`), text, 1, 3).Draw(t, "words"),
		}
		b, err := yaml.MarshalWithOptions(want, yaml.JSON())
		if err != nil {
			t.Skip("not written", err)
		}
		var got sample
		if _, err := yamlfile.Decode("f.yaml", b, &got); err != nil {
			t.Fatalf("%v in\n%s", err, b)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v\nfrom\n%s", got, want, b)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		"name: x\nitems: [{name: a, resolutions: [1, 2]}, b]\n", "one:\n  name: |\n    x\nwords: {a.b: \"c\"}\n",
		"a: &x y\nb: *x\n", "? a\n: b\n", "--- !!map\n", "items:\n- name: x\n  y: [\n", "wait: 1s\nreal: .inf\ntier: fog\n",
		"{a: {b: [c, {d: e}]}}", "name: 'it''s' # c\n\t\n...\n", "name: >-\n  a\n\n  b\non: true\n", "\ufeff\"\\x41\": 1\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v sample
		doc, err := yamlfile.Decode("f.yaml", data, &v)
		if doc == nil {
			t.Fatal("no document")
		}
		if err == nil {
			return
		}
		var problems yamlfile.Problems
		if !errors.As(err, &problems) || len(problems) == 0 {
			t.Fatalf("error %v, want problems", err)
		}
		lines := strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + 1
		for _, p := range problems {
			if p.Line < 1 || p.Line > lines || p.Column < 1 || p.Message == "" {
				t.Fatalf("%d lines, problem %+v", lines, p)
			}
		}
	})
}
