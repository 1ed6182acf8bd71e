package agent

import (
	"context"
	"log/slog"
	"reflect"
	"time"

	"github.com/weft-mesh/weft/tiering"
)

// Journal keeps what the node was last told to run, across runs of the agent.
type Journal interface {
	// Load returns what was saved last and its index; index 0: nothing. An
	// error says why what is there cannot be used, and what became of it.
	Load() ([]tiering.Assignment, uint64, error)
	// Save may take as long as the disk does. Load and Save are not called at
	// the same time.
	Save(as []tiering.Assignment, index uint64) error
}

// known is what a coordinator wanted of the node as of an index; index 0: none
// has said yet.
type known struct {
	assignments []tiering.Assignment
	index       uint64
}

// recall is what the run before was last told.
func (a *Agent) recall() known {
	if a.cfg.Journal == nil {
		return known{}
	}
	as, index, err := a.cfg.Journal.Load()
	if err != nil {
		a.cfg.Log.Warn("cannot use the journal of the last run: nothing runs here until a coordinator answers", "err", err)
		return known{}
	}
	return known{as, index}
}

// resume runs what the run before was last told to.
func (a *Agent) resume(life context.Context, last known) {
	a.cfg.Log.Warn("no coordinator says what to run: going on with what the last run was told",
		"instances", len(last.assignments), "index", last.index)
	a.match(life, last.assignments)
	a.follows.Store(last.index)
}

// saveAgain is the pause before a disk that took nothing is tried again.
const saveAgain = 30 * time.Second

// keeper writes the journal, so that nothing else waits for the disk.
type keeper struct {
	journal Journal // nil: there is none
	log     *slog.Logger
	news    chan known // the newest that was not looked at yet

	saved  known // is in the journal
	unkept known // could not be saved; index 0: everything could
}

func newKeeper(cfg Config, saved known) *keeper {
	return &keeper{journal: cfg.Journal, log: cfg.Log, news: make(chan known, 1), saved: saved}
}

// note asks for the journal to say this. It waits for nothing and is for one
// caller at a time.
func (k *keeper) note(now known) {
	select {
	case <-k.news: // out of date before it was saved
	default:
	}
	k.news <- now
}

// run saves what is noted, until ctx has ended and the last of it was tried.
func (k *keeper) run(ctx context.Context) {
	for {
		var again <-chan time.Time
		if k.unkept.index != 0 {
			again = time.After(saveAgain)
		}
		select {
		case now := <-k.news:
			k.save(now)
		case <-again:
			k.save(k.unkept)
		case <-ctx.Done():
			select {
			case now := <-k.news:
				k.save(now)
			default:
			}
			return
		}
	}
}

func (k *keeper) save(now known) {
	// Most news is of other nodes, and not worth the wear of an SD card. A lower
	// index is of a mesh that began anew: to keep the old one would make its
	// answers seem out of date after a restart.
	same := now.index >= k.saved.index && reflect.DeepEqual(now.assignments, k.saved.assignments)
	if k.journal == nil || same && k.saved.index != 0 && k.unkept.index == 0 {
		return
	}
	failed := k.unkept.index != 0
	if err := k.journal.Save(now.assignments, now.index); err != nil {
		if k.unkept = now; !failed {
			k.log.Warn("cannot write the journal, will try again: until then this node needs a coordinator after a restart", "err", err)
		}
		return
	}
	if k.saved, k.unkept = now, (known{}); failed {
		k.log.Info("the journal is written again")
	}
}
