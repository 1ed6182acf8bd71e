package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/internal/pki"
)

// picture is an annotated frame that a recording keeps.
type picture struct {
	Source string `json:"source"`
	Seq    uint64 `json:"seq"`
	File   string `json:"file"` // in the recording's directory, slash-separated

	url string
	age time.Duration // when it was listed, on the clock of the node that has it
}

// listed is a picture as a node's gallery lists it.
type listed struct {
	Source string    `json:"source"`
	Seq    uint64    `json:"seq"`
	File   string    `json:"file"`
	Time   time.Time `json:"time"`
}

// galleries are the pictures of one workflow on the nodes of a mesh.
type galleries struct {
	web      *http.Client
	workflow string
	since    time.Time       // older pictures are of earlier runs
	names    map[string]bool // given to pictures
	warn     func(error)
}

const (
	pictureTimeout = 30 * time.Second
	maxPicture     = 32 << 20 // bytes of one answer of a node
)

// errGone reports a picture that has been replaced by a newer one.
var errGone = errors.New("no such picture any more")

// newWeb returns a client of what nodes serve.
func newWeb(id *pki.Identity) *http.Client {
	return &http.Client{
		Timeout: pictureTimeout, Transport: &http.Transport{TLSClientConfig: id.ClientTLS(pki.Agent)},
		// Nodes redirect nobody.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// checkWeb says why a URL that a node gossips is not one to ask for pictures.
// Plain HTTP is what weftd speaks on loopback, and nowhere else.
func checkWeb(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return err
	}
	if u.Scheme == "https" || u.Scheme == "http" && net.ParseIP(u.Hostname()).IsLoopback() {
		return nil
	}
	return fmt.Errorf("its address %s is neither https:// nor on loopback", u.Redacted())
}

// list returns the recent pictures of one node, none if it does not answer.
func (g *galleries) list(ctx context.Context, n api.Node) []picture {
	if err := checkWeb(n.Addresses.HTTP); err != nil {
		g.warn(fmt.Errorf("no pictures from %s: %w", n.ID, err))
		return nil
	}
	base := n.Addresses.HTTP + "/v1/pictures/" + url.PathEscape(g.workflow)
	body, header, err := g.get(ctx, base)
	var (
		all []listed
		now time.Time // on the node's clock: ours may differ
	)
	if err == nil {
		err = json.Unmarshal(body, &all)
	}
	if err == nil {
		now, err = http.ParseTime(header.Get("Date"))
	}
	if err != nil {
		g.warn(fmt.Errorf("no pictures from %s: %w", n.ID, err))
		return nil
	}
	recent := time.Since(g.since)
	var out []picture
	for _, x := range all {
		// A source that was started again may give a number a second time.
		name := fmt.Sprintf("%s-%06d.jpg", filepath.Base(x.Source), x.Seq)
		age := now.Sub(x.Time)
		if age > recent || g.names[name] {
			continue
		}
		g.names[name] = true
		out = append(out, picture{
			Source: x.Source, Seq: x.Seq, File: path.Join(framesDir, name), age: age,
			url: base + "/" + url.PathEscape(x.Source) + "/" + url.PathEscape(x.File),
		})
	}
	return out
}

// choose takes n of the pictures, as many of each source as there are and
// spread evenly over the time, and returns them a source at a time: the first
// of each, the second of each, and so on.
func choose(all []picture, n int) []picture {
	bySource := map[string][]picture{}
	for _, p := range all {
		bySource[p.Source] = append(bySource[p.Source], p)
	}
	var sources []string
	for s, list := range bySource {
		slices.SortStableFunc(list, func(a, b picture) int { return cmp.Compare(b.age, a.age) })
		sources = append(sources, s)
	}
	slices.Sort(sources)
	take := map[string]int{}
	for left, gave := n, true; left > 0 && gave; {
		gave = false
		for _, s := range sources {
			if left > 0 && take[s] < len(bySource[s]) {
				take[s], left, gave = take[s]+1, left-1, true
			}
		}
	}
	var out []picture
	for _, s := range sources {
		bySource[s] = spread(bySource[s], take[s])
	}
	for i, gave := 0, true; gave; i++ {
		gave = false
		for _, s := range sources {
			if i < len(bySource[s]) {
				out, gave = append(out, bySource[s][i]), true
			}
		}
	}
	return out
}

// spread picks n of a list at even distances.
func spread[T any](list []T, n int) []T {
	if len(list) <= n {
		return list
	}
	out := make([]T, n)
	for i := range out {
		out[i] = list[i*len(list)/n]
	}
	return out
}

// save writes pictures to the directory and returns those that it got.
func (g *galleries) save(ctx context.Context, chosen []picture, dir string) []picture {
	var out []picture
	for _, p := range chosen {
		body, _, err := g.get(ctx, p.url)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.FromSlash(p.File)), body, 0o644)
		}
		switch {
		case err == nil:
			out = append(out, p)
		case !errors.Is(err, errGone):
			g.warn(err)
			return out // the next would fail as well
		}
	}
	return out
}

func (g *galleries) get(ctx context.Context, from string) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, nil, err
	}
	resp, err := g.web.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, nil, errGone
	default:
		return nil, nil, fmt.Errorf("%s: %s", from, resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPicture+1))
	if err == nil && len(body) > maxPicture {
		err = fmt.Errorf("%s: larger than %d MiB", from, maxPicture>>20)
	}
	return body, resp.Header, err
}
