// Package agent turns assignments into running stages and reports on them.
//
// An [Agent] watches what the coordinator wants of its node, starts and stops
// sources and stages to match, tells running ones where their frames go now,
// and reports once a second. It knows neither OpenCV nor Raft: stages and
// sources come from a [Workshop], the coordinator is behind [Control].
//
// Only cmd/weftd imports agent. The data-plane laws (bounded queues, every
// frame accounted for) are kept by package pipeline.
//
// # What runs
//
// Each placement assigned to the node is run by one instance, which owns its
// goroutines. It goes on while it is asked for the same work; other offers and
// reservations do not disturb it. One that replaces another of the same
// placement waits until that has ended, so no placement ever runs twice on a
// node. Nothing waits for an instance but its replacement: a model that takes
// a minute to load holds up nobody else.
//
// What cannot be made, since a camera is unplugged or a model's file is
// missing, is tried again, at first after a second, and says why meanwhile.
// Frames that arrive before a stage is ready are dropped as no_route. They are
// not kept for it: loading takes longer than a frame is of use.
//
// # Without a coordinator
//
// When no coordinator can be reached, whatever runs goes on running. What the
// agent was told last is in its [Journal], so that it also goes on after a
// restart: a coordinator is asked first, and when none has said anything newer
// for [Config.Grace], what the journal says is resumed. The grace is for a node
// whose peers are only slow to be found: what was moved meanwhile is not
// started here. So it is for one that coordinators do not know yet, or any more:
// they answer, and are waited for up to a minute. Answers older than the journal are taken for those of a
// coordinator that lags, and disregarded for a minute, as those older than what
// runs are.
//
// Once a coordinator answers, what is still wanted goes on with the same
// instances and what was moved stops at once. Until then a node that is cut off
// and restarted may run what runs elsewhere, too: between a camera that is not
// watched and one that is watched twice, the second is chosen.
//
// A journal that cannot be read or written stops nothing: the agent warns, and
// needs a coordinator to know what to run.
//
// # How it stops
//
// When a workflow is stopped, every node hears of it at about the same time,
// with frames on their way between them. So a source stops capturing at once
// and waits for its frames to be accounted for; a stage goes on until no frame
// has come for as long as one is of use, which is the workflow's deadline. Both
// give up after [Config].Drain: frames that then are still unaccounted for are
// dropped as shutdown. A stage that still works on some, or sends them, has until
// they are of no more use, if that is longer. A stage that has moved to another
// node also waits that long for frames, so that it outlasts whatever may still
// send it some; where frames have no deadline that is Drain. An agent that shuts
// down takes no longer than Drain.
//
// A report says which assignments the agent follows. When a stage moves off a
// node that is drained, its old instance is told to end only when every agent
// that could send it frames has said that it sends them elsewhere.
//
// The last words of what has ended stay in the report until a coordinator has
// taken it.
package agent
