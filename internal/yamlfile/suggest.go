package yamlfile

import (
	"fmt"
	"strings"
)

// Suggest returns the known word that the given one is most likely a
// misspelling of.
func Suggest(word string, known []string) (string, bool) {
	best, least := "", min(max(len(word)/3, 1), len(word)-1)+1
	for _, k := range known {
		if strings.EqualFold(k, word) {
			return k, true
		}
		if d := distance(strings.ToLower(word), strings.ToLower(k), least); d < least {
			best, least = k, d
		}
	}
	if best == "" { // an unfinished word
		for _, k := range known {
			if len(word) >= 3 && (strings.HasPrefix(k, word) || strings.HasPrefix(word, k) && len(k) >= 3) {
				return k, true
			}
		}
	}
	return best, best != ""
}

// DidYouMean returns `; did you mean "resolutions"?` or nothing, to follow a
// message about an unknown word.
func DidYouMean(word string, known []string) string {
	if s, ok := Suggest(word, known); ok {
		return fmt.Sprintf("; did you mean %q?", s)
	}
	return ""
}

// distance is the number of insertions, deletions, replacements and swaps of
// neighbours that turn a into b (optimal string alignment); limit or more are
// not told apart.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := func() []int { return make([]int, len(b)+1) }
	before, above, here := row(), row(), row()
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		here[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			here[j] = min(above[j]+1, here[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				here[j] = min(here[j], before[j-2]+1)
			}
		}
		before, above, here = above, here, before
	}
	return above[len(b)]
}
