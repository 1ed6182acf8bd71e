package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// ErrStreamEnded reports that the coordinator that sent the events stops.
var ErrStreamEnded = errors.New("the coordinator ended the stream of events")

// maxEventLine bounds a line of the event stream, in bytes.
const maxEventLine = 1 << 20

// Events hands each event of an index above after to handle until ctx ends,
// handle fails, or the coordinator that sends them goes (ErrStreamEnded if it
// said so). To go on from there, pass the index of the last event.
func (c *Client) Events(ctx context.Context, after uint64, handle func(Event) error) error {
	what := call{
		method: http.MethodGet, path: "/v1/events",
		query: url.Values{"after": {strconv.FormatUint(after, 10)}}, repeatable: true,
	}
	return c.ask(ctx, what, func(resp *http.Response) error {
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, maxEventLine)
		for lines.Scan() {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue // the index and the type are in the data too
			}
			var e Event
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				return fmt.Errorf("event %.80q of %s: %w", data, resp.Request.URL.Host, err)
			}
			if err := handle(e); err != nil {
				return err
			}
		}
		if err := lines.Err(); err != nil {
			return fmt.Errorf("events of %s: %w", resp.Request.URL.Host, err)
		}
		return ErrStreamEnded
	})
}
