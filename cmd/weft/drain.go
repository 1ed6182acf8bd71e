package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/tiering"
)

func nodeCommand(env *environment) *cobra.Command {
	return group("node", "Take a node out of use for a while, and back", drainCommand(env))
}

func drainCommand(env *environment) *cobra.Command {
	var (
		off  bool
		wait time.Duration
	)
	c := &cobra.Command{
		Use: "drain NODE", Short: "Move a node's tasks away, and keep new ones off it", Args: exactly(1),
		Long: `Move a node's tasks to other nodes, and keep new ones off it until
--off. A task moves while it runs: its new instance is up, and gets the frames,
before the old one ends, so none is lost. Sources that are attached to the node
stay: their cameras are there.

A drained node may still hold frames: what has moved goes on there for as long
as the workflow's deadline lets a frame be of use (2 s where it has none), and
weft does not wait for that. Stop the node's weftd after that time: a weftd
that is stopped gives its frames 2 s at most.

weft waits until everything that can move has moved. What no other node has
room for stays, and moves when there is room; weft ends with exit code 3 if
something is left when the time is over. The drain goes on in any case. With
--off the node takes tasks again, and what has not moved yet stays.`,
		ValidArgsFunction: nodeNames(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			if wait < 0 {
				return wrongUsage("--wait %v: give a time of 0 or more", wait)
			}
			client, _, err := env.connect()
			if err != nil {
				return err
			}
			defer client.Close()
			d := &drain{client: client, node: args[0], out: newProgress(cmd.ErrOrStderr())}
			n, err := d.ask(cmd.Context(), !off)
			if err == nil && !off && wait > 0 {
				n, err = d.wait(cmd.Context(), n, wait)
			}
			d.out.end()
			if err != nil && !errors.As(err, new(leftError)) {
				return err
			}
			return errors.Join(err, env.print(cmd.OutOrStdout(), n, func(p *page) { showDrain(p, n) }))
		},
	}
	c.Flags().BoolVar(&off, "off", false, "end the drain: the node takes tasks again")
	c.Flags().DurationVar(&wait, "wait", time.Minute, "how long to wait until what can move has moved; 0 does not wait")
	return c
}

// drain is one call of `weft node drain`.
type drain struct {
	client *api.Client
	node   string
	out    *progress
}

// ask has the node drain, or take tasks again.
func (d *drain) ask(ctx context.Context, on bool) (api.Node, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	n, err := d.client.Drain(ctx, d.node, on)
	if errors.Is(err, &api.Error{Code: api.CodeNotFound}) {
		return n, fmt.Errorf("there is no node %q: `weft nodes` shows those there are", d.node)
	}
	return n, err
}

// drainEvery is how often is looked how a drain goes on.
const drainEvery = 500 * time.Millisecond

// wait looks on until nothing is left that can move. The last that it saw is
// with the error, too.
func (d *drain) wait(ctx context.Context, n api.Node, limit time.Duration) (api.Node, error) {
	over := time.NewTimer(limit)
	defer over.Stop()
	tick := time.NewTicker(drainEvery)
	defer tick.Stop()
	for said, known := "", false; ; {
		left := movable(n)
		if len(left) == 0 || n.Status != tiering.NodeAlive {
			return n, nil
		}
		if line := fmt.Sprintf("%s is draining: %s left", d.node, count(len(left), "task")); line != said {
			said = line
			d.out.say(line)
		}
		select {
		case <-tick.C:
		case <-over.C:
			return n, leftError{d.node, limit, left}
		case <-ctx.Done():
			return n, ctx.Err()
		}
		now, err := d.look(ctx)
		switch {
		case err == nil && now.Draining:
			n, known = now, true
		case err == nil && known:
			return now, fmt.Errorf("somebody has ended the drain of %s meanwhile", d.node)
		case errors.As(err, new(*api.Error)) && !passes(err):
			return n, err
		}
		// A coordinator that does not answer now, or is busy, may do so the next
		// time, and one that lags is yet to hear of the drain.
	}
}

// passes reports whether the same question may be answered the next time.
func passes(err error) bool {
	var e *api.Error
	return errors.As(err, &e) && slices.Contains([]api.Code{api.CodeNoLeader, api.CodeNotAvailable, api.CodeTooMany, api.CodeInternal}, e.Code)
}

// look returns the node as it is now.
func (d *drain) look(ctx context.Context) (api.Node, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	nodes, err := d.client.Nodes(ctx)
	if err != nil {
		return api.Node{}, err
	}
	i := slices.IndexFunc(nodes, func(n api.Node) bool { return n.ID == d.node })
	if i < 0 {
		return api.Node{}, fmt.Errorf("node %s is gone", d.node)
	}
	return nodes[i], nil
}

// movable is what is left on a node and could be elsewhere.
func movable(n api.Node) []api.Left {
	return slices.DeleteFunc(slices.Clone(n.Left), func(l api.Left) bool { return l.Attached })
}

// leftError says what is still on a node when the time to wait is over.
type leftError struct {
	node string
	wait time.Duration
	left []api.Left
}

func (e leftError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is not drained after %v: %s left", e.node, e.wait, count(len(e.left), "task"))
	for _, l := range e.left {
		b.WriteString("\n  " + clean(reasonOf(l)))
	}
	fmt.Fprintf(&b, "\nthe drain goes on; `weft node drain %[1]s` waits again, `weft node drain %[1]s --off` ends it", e.node)
	return b.String()
}

// reasonOf says why something is left on a draining node.
func reasonOf(l api.Left) string {
	switch {
	case l.To != "":
		return fmt.Sprintf("%s moves to %s: %s", l.Placement, l.To, l.Reason)
	case l.Reason == "":
		return l.Placement
	}
	return l.Placement + ": " + l.Reason
}

func showDrain(p *page, n api.Node) {
	var attached []string
	for _, l := range n.Left {
		if l.Attached {
			attached = append(attached, sourceOf(l.Placement))
		}
	}
	left := len(movable(n))
	switch {
	case !n.Draining && n.Status != tiering.NodeAlive:
		p.linef("%s takes tasks again when it is back: it is %s now", n.ID, n.Status)
	case !n.Draining:
		p.linef("%s takes tasks again; what has moved stays where it is", n.ID)
	case n.Status != tiering.NodeAlive:
		p.linef("%s is %s: what it ran is moved as far as there is room, drain or not; it gets nothing when it is back, until `weft node drain %s --off`", n.ID, n.Status, n.ID)
	case left == 0:
		p.linef("%s is drained: no task is left that could run elsewhere", n.ID)
	default:
		p.linef("%s is draining: %s left", n.ID, count(left, "task"))
	}
	if n.Draining && len(attached) > 0 {
		stay, are := "stay", "are"
		if len(attached) == 1 {
			stay, are = "stays", "is"
		}
		p.linef("%s %s on %s: %s %s attached to it", count(len(attached), "source"), stay, n.ID, strings.Join(attached, ", "), are)
	}
}

// sourceOf is the name of a source in the ID of its placement.
func sourceOf(placement string) string {
	_, name, _ := strings.Cut(placement, "/")
	name, _, _ = strings.Cut(name, "#")
	return clean(name)
}

// nodeNames makes the shell offer the nodes of the mesh.
func nodeNames(env *environment) cobra.CompletionFunc {
	return offer(env, func(ctx context.Context, c *api.Client) (names []cobra.Completion) {
		nodes, _ := c.Nodes(ctx) // without an answer there is nothing to offer
		for _, n := range nodes {
			names = append(names, cobra.CompletionWithDesc(n.ID, condition(n)))
		}
		return names
	})
}
