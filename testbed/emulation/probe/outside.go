package probe

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/weft-mesh/weft/testbed"
)

// ErrOutside reports links that are not as asked.
var ErrOutside = errors.New("links are not as asked")

// shown is how many lines an error has; a report has them all.
const shown = 40

// Failed returns nil where every check passed, else an ErrOutside that lists
// the figures of those that did not, a line each.
func Failed(checks []testbed.LinkCheck) error {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	n := 0
	for _, c := range checks {
		for _, v := range c.Verdicts {
			if v.OK {
				continue
			}
			if n++; n <= shown {
				fmt.Fprintf(w, "\n  %s → %s\t%s\tasked %s\tfound %s", c.From, c.To, v.What, v.Asked, v.Found)
			}
		}
	}
	if n == 0 {
		return nil
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if n > shown {
		fmt.Fprintf(&b, "\n  and %d more", n-shown)
	}
	return fmt.Errorf("%w:%s", ErrOutside, b.String())
}
