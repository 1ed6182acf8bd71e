package library

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/models/fetch"
	"github.com/weft-mesh/weft/models/store"
	"github.com/weft-mesh/weft/tiering"
)

// ErrRoom reports that a model would leave too little of the disk.
var ErrRoom = errors.New("too little room on the disk")

// errUnwanted ends the fetching of a model.
var errUnwanted = errors.New("it is not wanted any more")

// errAnother reports a model that is another one here.
var errAnother = errors.New("this node's catalogue has another model of that name: give one of the two another name")

// Config is a library's settings. Zero fields but Store and Log have defaults.
type Config struct {
	Store *store.Store
	Fetch *fetch.Fetcher
	// Sources are the nodes that may have a model: where each hands out the file
	// with a digest. nil: none.
	Sources func(model, digest string) []fetch.Source
	// Tell says to others which models can be used here, after each look; those
	// that the node is to have come first. They hear of the first told, and the
	// error says why not of the rest. nil: nobody is told.
	Tell func(names []string) (told int, err error)
	// Room is how many bytes of the disk are unused; nil: enough.
	Room func(context.Context) (int64, error)
	Keep int64         // bytes of the disk that models leave alone; 256 MiB
	Scan time.Duration // between looks at the directory; 10 s
	// Again is how long after a failure a model is tried again at first; then it
	// is twice as long each time, up to 30 times that; 2 s.
	Again time.Duration
	Log   *slog.Logger
}

// Library is a node's models. Run keeps them; all else is safe to call at any
// time.
type Library struct {
	cfg  Config
	kick chan struct{} // there is something new to do

	looking sync.Mutex      // held while the directory is looked at
	said    map[string]bool // what was complained of then

	mu     sync.Mutex
	known  *catalog.Catalog
	names  []string                 // of the models that can be used, sorted
	told   []string                 // of what others were told, sorted
	untold error                    // why they could not be told of more
	want   map[string]catalog.Model // by name
	trials map[string]trial         // by name of the model
	coming string                   // the model that is being fetched; empty: none
	giveUp context.CancelCauseFunc  // has it given up
}

// trial is how often a model could not be got, why, and when it is tried again.
type trial struct {
	failed int
	why    error
	next   time.Time
}

// New looks at the directory. The error is of its lock file.
func New(cfg Config) (*Library, error) {
	if cfg.Keep == 0 {
		cfg.Keep = 256 << 20
	}
	if cfg.Scan == 0 {
		cfg.Scan = 10 * time.Second
	}
	if cfg.Again == 0 {
		cfg.Again = 2 * time.Second
	}
	l := &Library{cfg: cfg, kick: make(chan struct{}, 1), want: map[string]catalog.Model{}, trials: map[string]trial{}, said: map[string]bool{}}
	if err := l.scan(); err != nil {
		return nil, err
	}
	l.told = l.names // by whoever announces the node
	return l, nil
}

// Models are the names of the models that can be used now, sorted.
func (l *Library) Models() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.names)
}

// Catalogue is what is known of models now, with the digests that are known.
func (l *Library) Catalogue() *catalog.Catalog {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known
}

// Blob opens the file of the catalogue that has the digest; store.ErrMissing if
// it is not here.
func (l *Library) Blob(digest string) (io.ReadSeekCloser, int64, error) {
	return l.cfg.Store.Blob(l.Catalogue(), digest)
}

// Want says which models the node is to have, all of them.
func (l *Library) Want(models []catalog.Model) {
	l.mu.Lock()
	want := make(map[string]catalog.Model, len(models))
	for _, m := range models {
		want[m.Name] = m
	}
	news := !reflect.DeepEqual(want, l.want)
	l.want = want
	if _, ok := want[l.coming]; !ok && l.coming != "" {
		l.giveUp(errUnwanted)
	}
	l.mu.Unlock()
	if news {
		select {
		case l.kick <- struct{}{}:
		default:
		}
	}
}

// Lacking says of the models that the node is to have and could not get, or not
// tell others of, why, by name.
func (l *Library) Lacking() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]string, len(l.trials))
	for name := range l.want {
		why := l.untold
		if !slices.Contains(l.names, name) {
			why = l.trials[name].why
		} else if slices.Contains(l.told, name) {
			continue
		}
		if why != nil {
			out[name] = strings.ReplaceAll(why.Error(), "\n", "; ") // one for each source
		}
	}
	return out
}

// Run watches the directory and gets what is wanted, until ctx ends.
func (l *Library) Run(ctx context.Context) error {
	var watching sync.WaitGroup // what comes over the mesh may take its time
	watching.Go(func() { l.watch(ctx) })
	defer watching.Wait()
	for {
		wait := l.get(ctx, time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-l.kick:
			l.looking.Lock()
			l.tell() // others may need to hear of another model now
			l.looking.Unlock()
		case <-time.After(wait):
		}
	}
}

func (l *Library) watch(ctx context.Context) {
	tick := time.NewTicker(l.cfg.Scan)
	defer tick.Stop()
	for {
		_ = l.look() // it has complained
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look looks at the directory, and tells others what is new there.
func (l *Library) look() error {
	l.looking.Lock()
	defer l.looking.Unlock()
	if err := l.scan(); err != nil {
		l.complain(err)
		return err
	}
	l.tell()
	return nil
}

// scan looks at the directory.
func (l *Library) scan() error {
	known, left, err := l.cfg.Store.Catalogue()
	if err != nil {
		return err
	}
	names, damaged := l.cfg.Store.Available(known)
	if again, _, err := l.cfg.Store.Catalogue(); err == nil {
		known = again // what was pinned just now
	}
	l.mu.Lock()
	l.known, l.names = known, names
	l.mu.Unlock()
	l.complain(slices.Concat(left, damaged)...)
	return nil
}

// complain says what is wrong, once.
func (l *Library) complain(errs ...error) {
	for _, err := range errs {
		if text := err.Error(); !l.said[text] {
			if len(l.said) > 1000 {
				clear(l.said)
			}
			l.said[text] = true
			l.cfg.Log.Warn("a model is not offered", "directory", l.cfg.Store.Path(), "err", err)
		}
	}
}

// tell says what can be used.
func (l *Library) tell() {
	if l.cfg.Tell == nil {
		return
	}
	l.mu.Lock()
	names := slices.Clone(l.names)
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(l.rank(a), l.rank(b)) })
	l.mu.Unlock()
	n, err := l.cfg.Tell(names)
	if err != nil {
		err = fmt.Errorf("others cannot be told of all models that are here: %w", err)
		l.complain(err)
	}
	told := slices.Sorted(slices.Values(names[:n]))
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(told, l.told) {
		l.cfg.Log.Info("models", "here", told)
	}
	l.untold, l.told = err, told
}

// rank is how much others need to hear of a model; l.mu is held.
func (l *Library) rank(model string) int {
	if _, ok := l.want[model]; ok {
		return 0
	}
	return 1
}

// Known are the names of models that this node has heard of.
func (l *Library) Known() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := slices.Collect(maps.Keys(l.want))
	for _, m := range l.known.Models() {
		out = append(out, m.Name)
	}
	return out
}

// get gets what is wanted and not here, as far as it is due, and says when to
// look again.
func (l *Library) get(ctx context.Context, now time.Time) time.Duration {
	wait := l.cfg.Scan
	for _, m := range l.missing() {
		t := l.tried(m.Name)
		if now.Before(t.next) {
			wait = min(wait, t.next.Sub(now))
			continue
		}
		err := l.bring(ctx, m)
		switch {
		case ctx.Err() != nil:
			return 0
		case err == nil:
			l.cfg.Log.Info("model got", "model", m.Name, "bytes", m.Size())
			continue
		case errors.Is(err, errUnwanted):
			continue
		}
		again := l.cfg.Again << min(t.failed, 4)
		if t.failed > 4 {
			again = 30 * l.cfg.Again
		}
		again = again/2 + rand.N(again/2)
		l.mu.Lock()
		l.trials[m.Name] = trial{t.failed + 1, err, time.Now().Add(again)}
		l.mu.Unlock()
		wait = min(wait, again)
		l.cfg.Log.Warn("a model that this node is to have cannot be got, will try again", "model", m.Name, "in", again.Round(time.Millisecond), "err", err)
	}
	return wait
}

// bring gets a model as long as it is wanted.
func (l *Library) bring(ctx context.Context, m catalog.Model) error {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	l.mu.Lock()
	if _, ok := l.want[m.Name]; !ok {
		giveUp(errUnwanted)
	}
	l.coming, l.giveUp = m.Name, giveUp
	l.mu.Unlock()
	err := l.fetch(ctx, m)
	l.mu.Lock()
	l.coming = ""
	l.mu.Unlock()
	if err != nil {
		return err
	}
	return l.look()
}

func (l *Library) tried(model string) trial {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.trials[model]
}

// missing are the wanted models that cannot be used, small ones first.
func (l *Library) missing() []catalog.Model {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []catalog.Model
	for name, m := range l.want {
		if !slices.Contains(l.names, name) {
			out = append(out, m)
		}
	}
	maps.DeleteFunc(l.trials, func(name string, _ trial) bool {
		_, ok := l.want[name]
		return !ok || slices.Contains(l.names, name)
	})
	slices.SortFunc(out, func(a, b catalog.Model) int {
		return cmp.Or(cmp.Compare(a.Size(), b.Size()), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// fetch gets the files of a model that are not here.
func (l *Library) fetch(ctx context.Context, m catalog.Model) error {
	s := l.cfg.Store
	own, known := l.Catalogue().Lookup(m.Name)
	switch {
	case known && !agree(own, &m):
		return errAnother
	case !known:
		if err := s.Fits(l.Catalogue(), m); err != nil {
			return err
		}
	}
	var files []catalog.File
	var size int64
	for _, f := range m.Files {
		if f.SHA256 == "" {
			return fmt.Errorf("%s: whoever wants it here does not know its digest", f.Name)
		}
		if s.Check(f) != nil {
			files, size = append(files, f), size+f.Size
		}
	}
	if l.cfg.Room != nil {
		switch room, err := l.cfg.Room(ctx); {
		case err != nil:
			return err
		case room < size+l.cfg.Keep:
			return fmt.Errorf("%w of %s: %s are unused, the model needs %s, and %s are left alone: make room",
				ErrRoom, s.Path(), tiering.FormatBytes(room), tiering.FormatBytes(size), tiering.FormatBytes(l.cfg.Keep))
		}
	}
	for _, f := range files {
		var from []fetch.Source
		if l.cfg.Sources != nil {
			from = l.cfg.Sources(m.Name, f.SHA256)
		}
		rand.Shuffle(len(from), func(i, j int) { from[i], from[j] = from[j], from[i] })
		if _, err := l.cfg.Fetch.Fetch(ctx, s, f, from); err != nil {
			return err
		}
	}
	if !known {
		return s.Install(m)
	}
	for i, f := range own.Files {
		if f.SHA256 == "" { // the mesh knows what it has to be
			if err := s.Pin(f.Name, catalog.Pin{Size: m.Files[i].Size, SHA256: m.Files[i].SHA256, From: "the mesh"}); err != nil {
				return err
			}
		}
	}
	return nil
}

// agree reports whether two entries are of the same files, as far as their
// sizes and digests are known.
func agree(a, b *catalog.Model) bool {
	return slices.EqualFunc(a.Files, b.Files, func(x, y catalog.File) bool {
		return x.Name == y.Name && x.Role == y.Role && (x.Size == 0 || x.Size == y.Size) && (x.SHA256 == "" || x.SHA256 == y.SHA256)
	})
}
