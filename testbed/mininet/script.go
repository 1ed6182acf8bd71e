package mininet

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"math"
	"strconv"
	"text/template"
	"time"

	"github.com/weft-mesh/weft/testbed"
)

// ErrNotJoined reports two nodes of a scenario without a path between them.
var ErrNotJoined = errors.New("not joined")

const (
	maxRate      = 1e9   // bits a second: TCIntf.bwParamMax
	fastest      = 10e9  // bits a second that an unshaped link is taken to carry
	packet       = 12000 // bits of a full packet
	defaultQueue = 1000  // packets: a veth interface's own queue
	maxAttempts  = 20
)

//go:embed script.py.tmpl
var source string

// script is what the template is filled with. Texts are Python's expressions.
type script struct {
	Name        string
	CPUScale    string
	CPUOverhead string // cores
	Nodes       []host
	Links       []link
	MaxRate     int // Mbit/s
	Queue       int
	Timeout     int // seconds
	Attempts    int
}

type host struct{ Name, Tier, Cores, Address string }

type link struct{ A, B, Rate, Delay, Jitter, Loss, Limit, Note string }

// Script returns a Python program that starts Mininet with the scenario's nodes
// and, between any two, the path that joins them at the start.
func Script(s *testbed.Scenario) ([]byte, error) {
	text, err := template.New("script").Parse(source)
	if err != nil {
		return nil, err
	}
	in := script{
		Name: s.Name, CPUScale: number(s.CPUScale), CPUOverhead: number(float64(s.CPUOverhead) / 1000), MaxRate: maxRate / 1e6, Queue: defaultQueue, Timeout: 1, Attempts: 1,
	}
	for i, n := range s.Nodes {
		in.Nodes = append(in.Nodes, host{
			Name: strconv.QuoteToASCII(n.Name), Tier: strconv.QuoteToASCII(n.Tier.String()), Cores: number(float64(n.Cores) / 1000),
			Address: fmt.Sprintf(`"10.0.%d.%d"`, (i+1)/256, (i+1)%256),
		})
	}
	topology := testbed.NewTopology(s)
	for _, p := range topology.Pairs() {
		l, ok := topology.Link(p.A, p.B)
		if !ok {
			return nil, fmt.Errorf("%w: %s and %s", ErrNotJoined, p.A, p.B)
		}
		in.Links = append(in.Links, linkOf(p, l))
		in.Timeout = max(in.Timeout, 1+int(math.Ceil(roundTrip(l))))
		if l.Loss > 0 {
			in.Attempts = maxAttempts
		}
	}
	var out bytes.Buffer
	if err := text.Execute(&out, in); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// roundTrip is how long an answer to a ping takes at most, in seconds.
func roundTrip(l testbed.Link) float64 {
	const ping = 98 * 8 // bits
	oneWay := (l.Delay + l.Jitter).Seconds()
	if l.Rate > 0 {
		oneWay += ping / float64(l.Rate)
	}
	return 2 * oneWay
}

// linkOf puts a path in the terms of Mininet's TCLink.
func linkOf(p testbed.Pair, l testbed.Link) link {
	const none = "None"
	out := link{
		A: strconv.QuoteToASCII(p.A), B: strconv.QuoteToASCII(p.B),
		Rate: none, Delay: none, Jitter: none, Loss: none, Limit: none,
	}
	shaped := l.Rate > 0 && l.Rate <= maxRate
	switch {
	case shaped:
		out.Rate = number(float64(l.Rate) / 1e6)
	case l.Rate > maxRate:
		out.Note = testbed.FormatRate(l.Rate) + " left unshaped"
	}
	if l.Delay > 0 {
		out.Delay = microseconds(l.Delay)
		if l.Jitter > 0 {
			out.Jitter = microseconds(l.Jitter)
		}
	}
	if l.Loss > 0 {
		out.Loss = number(l.Loss * 100)
	}
	if netem := l.Delay > 0 || l.Loss > 0; netem || shaped && l.Queue != defaultQueue {
		rate := float64(fastest)
		if l.Rate > 0 {
			rate = float64(l.Rate)
		}
		underway := math.Ceil(rate * (l.Delay + l.Jitter).Seconds() / packet)
		out.Limit = strconv.Itoa(l.Queue + int(underway))
	}
	return out
}

// microseconds is a time as tc reads it: "500us".
func microseconds(d time.Duration) string {
	return strconv.QuoteToASCII(number(float64(d)/1e3) + "us")
}

// number is a Python number with nine digits after the point at most.
func number(x float64) string {
	return strconv.FormatFloat(math.Round(x*1e9)/1e9, 'f', -1, 64)
}
