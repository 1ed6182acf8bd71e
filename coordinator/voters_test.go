package coordinator

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/tiering"
)

// The moment of these tests: the leader c1 began an hour ago.
var nowadays = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// electorateOf reads coordinators, one a word: NAME, then v for a voter, n for
// one without a vote, - for one that Raft does not know; then a for alive, f
// for failed, l for left, x for one that is no coordinator any more, - for one
// that gossip does not list; then how it answers: ! steadily for an hour, + for
// five seconds, . not for half a minute, and nothing for never. NAME@OTHER has
// the address of OTHER.
func electorateOf(expect int, words string) *electorate {
	e := &electorate{
		self: "c1", addr: "c1", expect: expect, contacts: map[raft.ServerID]contact{}, began: nowadays.Add(-time.Hour), gap: 3 * time.Second,
		Voters: Voters{Stable: defaultStable, Dead: defaultDead},
	}
	for _, w := range strings.Fields(words) {
		name, flags, _ := strings.Cut(w, ":")
		id, addr, moved := strings.Cut(name, "@")
		if !moved {
			addr = id
		} else if raft.ServerID(id) == e.self {
			e.addr = raft.ServerAddress(addr)
		}
		switch flags[0] {
		case 'v':
			e.servers = append(e.servers, raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(id), Address: raft.ServerAddress(id)})
		case 'n':
			e.servers = append(e.servers, raft.Server{Suffrage: raft.Nonvoter, ID: raft.ServerID(id), Address: raft.ServerAddress(id)})
		}
		n := tiering.Node{ID: id, Addresses: tiering.Addresses{Raft: addr}}
		switch flags[1] {
		case 'a':
			e.members = append(e.members, tiering.Member{Node: n, Status: tiering.NodeAlive})
		case 'f':
			e.members = append(e.members, tiering.Member{Node: n, Status: tiering.NodeFailed})
		case 'l':
			e.members = append(e.members, tiering.Member{Node: n, Status: tiering.NodeLeft})
		case 'x':
			n.Addresses.Raft = ""
			e.members = append(e.members, tiering.Member{Node: n, Status: tiering.NodeAlive})
		}
		switch flags[2:] {
		case "!":
			e.contacts[raft.ServerID(id)] = contact{last: nowadays, since: nowadays.Add(-time.Hour)}
		case "+":
			e.contacts[raft.ServerID(id)] = contact{last: nowadays, since: nowadays.Add(-5 * time.Second)}
		case ".":
			e.contacts[raft.ServerID(id)] = contact{last: nowadays.Add(-30 * time.Second), since: nowadays.Add(-time.Hour)}
		}
	}
	return e
}

var verbs = map[action]string{admit: "admit", promote: "promote", move: "move", demote: "demote", remove: "remove", report: "report"}

func words(changes []change) string {
	var out []string
	for _, c := range changes {
		out = append(out, fmt.Sprintf("%s %s", verbs[c.action], c.server.ID))
	}
	return strings.Join(out, ", ")
}

func TestVoters(t *testing.T) {
	for _, tc := range []struct {
		name   string
		expect int
		mesh   string
		want   string
	}{
		{"all is well", 3, "c1:va c2:va! c3:va!", ""},
		{"a newcomer", 3, "c1:va c2:va! c3:va! c4:-a", "admit c4"},
		{"it has just come", 3, "c1:va c2:va! c3:va! c4:na+", ""},
		{"it does not answer", 3, "c1:va c2:va! c3:va! c4:na", ""},
		{"it answered and went silent", 3, "c1:va c2:va! c3:va! c4:na.", ""},
		{"it has proved itself", 3, "c1:va c2:va! c3:va! c4:na!", "promote c4"},
		{"it failed in time", 3, "c1:va c2:va! c3:va! c4:nf!", ""},
		{"an agent is none", 3, "c1:va c2:va! c3:va! f1:-x", ""},
		{"alone", 1, "c1:va", ""},

		{"a voter failed a while ago", 3, "c1:va c2:va! c3:vf. c4:va!", ""},
		{"long ago", 3, "c1:va c2:va! c3:vf c4:va!", "remove c3"},
		{"and is forgotten", 3, "c1:va c2:va! c3:v- c4:va!", "remove c3"},
		{"but is needed to be three", 3, "c1:va c2:va! c3:vf", ""},
		{"until its replacement votes", 3, "c1:va c2:va! c3:vf c4:na!", "promote c4"},
		{"gossip takes it for dead, Raft hears it", 3, "c1:va c2:va! c3:vf! c4:va!", ""},
		{"its node lives, it does not", 3, "c1:va c2:va! c3:va c4:va!", "demote c3"},
		{"and has lost its vote", 3, "c1:va c2:va! c3:na c4:va!", ""},
		{"two of five at once", 1, "c1:va c2:va! c3:va! c4:vf c5:vf", "remove c4, remove c5"},
		{"never more than a minority", 1, "c1:va c2:va! c3:vf c4:vf c5:vf", "remove c3, remove c4"},
		{"never half", 1, "c1:va c2:vf", ""},
		{"one without a vote is gone for good", 3, "c1:va c2:va! c3:va! c4:nf", "remove c4"},
		{"with one voter, too", 1, "c1:va c4:nf c5:nl", "remove c5, remove c4"},

		{"one left", 3, "c1:va c2:va! c3:va! c4:vl!", "remove c4"},
		{"and is needed to be three again", 3, "c1:va c2:va! c3:vl!", ""},
		{"of two, one is enough", 1, "c1:va c2:vl!", "remove c2"},
		{"one is an agent now", 3, "c1:va c2:va! c3:va! c4:vx!", "remove c4"},
		{"one left and one is dead, of four", 3, "c1:va c2:va! c3:vl! c4:vf", "remove c3"},

		{"another address", 3, "c1:va c2@c9:va. c3:va!", "move c2"},
		{"without a vote", 3, "c1:va c2:va! c3:va! c4@c9:na.", "move c4"},
		{"the leader itself", 3, "c1@c9:va c2:va! c3:va!", "move c1"},
		{"two machines of one name", 3, "c1:va c2@c9:va! c3:va!", "report c2"},
		{"two at one address", 3, "c1:va c2:va! c3:va! c4@c2:-a", "report c4"},
		{"the leader's address", 3, "c1:va c2:va! c3:va! c4@c1:-a", "report c4"},
		{"the leader at the address of a dead one", 3, "c1@c4:va c2:va! c3:va! c4:v-", "remove c4, move c1"},
		{"the leader at the address of one that moved", 3, "c1@c4:va c2:va! c3:va! c4@c9:va.", "move c4, move c1"},
		{"and still answers there", 3, "c1@c4:va c2:va! c3:va! c4@c9:va!", "report c4, report c1"},
		{"one after the other", 3, "c1:va c2@c3:va. c3@c4:va. c4@c9:va. c5:va! c6:va!", "move c4, move c3, move c2"},
		{"two that swapped addresses", 3, "c1:va c2@c3:va. c3@c2:va. c4:va! c5:va!", "remove c3, move c2, admit c3"},
		{"one of them without a vote", 3, "c1:va c2@c3:na. c3@c2:va. c4:va! c5:va!", "remove c2, move c3, admit c2"},
		{"the leader and another", 3, "c1@c2:va c2@c1:va. c3:va!", "remove c2, move c1, admit c2"},
		{"and there are only the two", 1, "c1@c2:va c2@c1:va.", "report c1, report c2"},
		{"three in a circle, and one behind", 3, "c1:va c2@c3:va. c3@c4:va. c4@c2:va. c5:va! c6:va! c7:va! c8@c2:-a", "remove c4, move c3, move c2, admit c4, report c8"},
		{"two newcomers at one address", 3, "c1:va c2:va! c3:va! c4@c9:-a c5@c9:-a", "admit c4, report c5"},
		{"another name at the address of a dead one", 3, "c1:va c2:va! c3:vf. c4@c3:-a", "remove c3, admit c4"},
	} {
		if got := words(electorateOf(tc.expect, tc.mesh).changes(nowadays)); got != tc.want {
			t.Errorf("%s: %s\n     got %q\n    want %q", tc.name, tc.mesh, got, tc.want)
		}
	}
}

// A leader that has just begun has heard nobody yet: nobody is dead to it.
func TestANewLeaderWaitsBeforeItTakesVotes(t *testing.T) {
	e := electorateOf(1, "c1:va c2:va! c3:vf c4:na!")
	e.began = nowadays.Add(-5 * time.Second)
	if got := words(e.changes(nowadays)); got != "" {
		t.Errorf("after 5 s: %s", got)
	}
	// But it does so in the end: the timers of its predecessor begin anew.
	later := nowadays.Add(defaultDead)
	e.contacts["c2"] = contact{last: later, since: nowadays}
	e.contacts["c4"] = contact{last: later, since: nowadays}
	if got := words(e.changes(later)); got != "promote c4, remove c3" {
		t.Errorf("after %v: %s", defaultDead, got)
	}
}

// Whatever the mesh looks like, what remains of the voters is enough.
func TestVotersAreNeverTooFew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var mesh []string
		for i := range rapid.IntRange(1, 7).Draw(t, "coordinators") {
			w := fmt.Sprintf("c%d:va!", i+1)
			if i > 0 {
				w = fmt.Sprintf("c%d:%s%s%s", i+1, rapid.SampledFrom([]string{"v", "v", "n", "-"}).Draw(t, "vote"),
					rapid.SampledFrom([]string{"a", "f", "l", "x", "-"}).Draw(t, "status"), rapid.SampledFrom([]string{"", "!", "+", "."}).Draw(t, "answers"))
			}
			mesh = append(mesh, w)
		}
		expect := rapid.SampledFrom([]int{0, 1, 3, 5}).Draw(t, "expect")
		e := electorateOf(expect, strings.Join(mesh, " "))
		votes := map[raft.ServerID]bool{}
		for _, s := range e.servers {
			votes[s.ID] = s.Suffrage == raft.Voter
		}
		count := func() (n int) {
			for _, v := range votes {
				if v {
					n++
				}
			}
			return n
		}
		before, silent := count(), 0
		for _, c := range e.changes(nowadays) {
			switch c.action {
			case promote:
				votes[c.server.ID] = true
			case demote, remove:
				_, heard := e.contacts[c.server.ID]
				left := slices.ContainsFunc(e.members, func(m tiering.Member) bool {
					return m.Node.ID == string(c.server.ID) && (m.Status == tiering.NodeLeft || m.Node.Addresses.Raft == "")
				})
				if votes[c.server.ID] && !left && !heard {
					silent++
				}
				delete(votes, c.server.ID)
			}
		}
		if !votes["c1"] {
			t.Fatal("the leader lost its vote")
		}
		if after := count(); after < before && after < max(expect, 1) {
			t.Fatalf("%d voters became %d, %d are expected", before, after, expect)
		}
		if silent*2 >= before && silent > 0 {
			t.Fatalf("%d of %d voters were taken out at once for being silent", silent, before)
		}
	})
}

// However addresses have changed, Raft takes every change: none of two servers
// at one address. And who has an address of its own gets it in one round, unless
// that would take out half of them.
func TestChangesOfAddressesAreTaken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const most = 6
		var mesh []string
		used := map[int]bool{}
		unique, fresh := true, true
		for i := range rapid.IntRange(2, most).Draw(t, "coordinators") {
			at := rapid.IntRange(1, most+2).Draw(t, "address")
			unique = unique && !used[at]
			used[at] = true
			vote := rapid.SampledFrom([]string{"v", "v", "n", "-"}).Draw(t, "vote")
			status := rapid.SampledFrom([]string{"a", "a", "a", "f", "-"}).Draw(t, "status")
			if i == 0 {
				vote, status = "v", "a"
			}
			fresh = fresh && vote == "v" && status == "a"
			mesh = append(mesh, fmt.Sprintf("c%d@c%d:%s%s.", i+1, at, vote, status))
		}
		e := electorateOf(1, strings.Join(mesh, " "))
		before := countVoters(e.servers)
		conf := map[raft.ServerID]raft.Server{}
		for _, s := range e.servers {
			conf[s.ID] = s
		}
		reports, removed := 0, 0
		for _, c := range e.changes(nowadays) {
			switch c.action {
			case remove:
				removed++
				delete(conf, c.server.ID)
			case admit, move:
				conf[c.server.ID] = c.server
			case report:
				reports++
			}
			if at := slices.Collect(maps.Values(conf)); c.action != report {
				for i, s := range at {
					if slices.ContainsFunc(at[:i], func(o raft.Server) bool { return o.Address == s.Address }) {
						t.Fatalf("%s: %v: two have one address: %v", mesh, c, at)
					}
				}
			}
		}
		if conf["c1"].Suffrage != raft.Voter || conf["c1"].ID == "" {
			t.Fatalf("%s: the leader has lost its vote", mesh)
		}
		if !unique || !fresh {
			return
		}
		after := countVoters(slices.Collect(maps.Values(conf)))
		if after*2 <= before {
			t.Fatalf("%s: %d of %d voters remain", mesh, after, before)
		}
		for _, m := range e.members {
			if reports == 0 && string(conf[raft.ServerID(m.Node.ID)].Address) != m.Node.Addresses.Raft {
				t.Fatalf("%s: %s is listed at %s", mesh, m.Node.ID, conf[raft.ServerID(m.Node.ID)].Address)
			}
		}
		if reports > 0 && removed < (before-1)/2 {
			t.Fatalf("%s: not all that have an address get it", mesh)
		}
	})
}

func TestContacts(t *testing.T) {
	c := newContacts(nil, time.Second, nil)
	at := func(s int) time.Time { return nowadays.Add(time.Duration(s) * time.Second / 2) }
	for _, tc := range []struct {
		now     int
		keepsUp bool
		since   int
	}{{0, true, 0}, {1, true, 0}, {2, true, 0}, {3, false, 3}, {4, true, 3}, {5, true, 3}, {9, true, 9}, {10, true, 9}} {
		c.note("c2", at(tc.now), tc.keepsUp)
		if got := c.all()["c2"]; !got.last.Equal(at(tc.now)) || !got.since.Equal(at(tc.since)) {
			t.Errorf("at %d: %+v, want to be steady since %d", tc.now, got, tc.since)
		}
	}
}
