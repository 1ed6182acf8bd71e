package state

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/tiering"
)

// Adaptation is what was decided last of the sources of a workflow.
type Adaptation struct {
	Workflow string `json:"workflow"`
	tiering.Adaptation
	Why   string    `json:"why"`   // for people
	Since time.Time `json:"since"` // of the decision
	// Memory is what the next decision goes on from. Its form is that of who
	// decides; to the state it is bytes.
	Memory      []byte `json:"memory"`
	ModifyIndex uint64 `json:"modify_index"`
}

// AdaptSources says at which quality the sources of a workflow are analysed
// from now on, and from which no frames are taken in. Version is that of the
// workflow that was decided about.
type AdaptSources struct {
	Workflow string `json:"workflow"`
	Version  uint64 `json:"version"`
	tiering.Adaptation
	Why    string    `json:"why"`
	Memory []byte    `json:"memory"`
	At     time.Time `json:"at"`
}

func (*AdaptSources) kind() kind { return kindAdaptSources }

// maxMemory bounds what an adaptation adds to the log, in bytes.
const maxMemory = 1 << 20

func (c *AdaptSources) apply(tx *change) error {
	tx.at = c.At
	w, ok := get[Workflow](tx.txn, tableWorkflows, c.Workflow)
	if !ok {
		return fmt.Errorf("%w: workflow %q", ErrNotFound, c.Workflow)
	}
	if w.Status == Stopped {
		return fmt.Errorf("%w: workflow %s is stopped", ErrConflict, w.Name)
	}
	if w.Version != c.Version {
		return fmt.Errorf("%w: workflow %s is at version %d, the decision is about version %d", ErrConflict, w.Name, w.Version, c.Version)
	}
	if err := c.check(w.Spec); err != nil {
		return err
	}
	old, ok := get[Adaptation](tx.txn, tableAdaptations, w.Name)
	if !ok {
		old = &Adaptation{}
	}
	if !maps.Equal(old.Qualities, c.Qualities) || !maps.Equal(old.Held, c.Held) {
		tx.assignments = true
	}
	tx.insert(tableAdaptations, &Adaptation{
		Workflow: w.Name, Adaptation: c.Adaptation, Why: c.Why, Since: c.At, Memory: c.Memory, ModifyIndex: tx.index,
	})
	c.tell(tx, w.Spec, &old.Adaptation)
	return nil
}

func (c *AdaptSources) check(w *tiering.Workflow) error {
	if len(c.Memory) > maxMemory {
		return fmt.Errorf("%w: the memory of a decision has %d bytes; at most %d", ErrInvalid, len(c.Memory), maxMemory)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Qualities)) {
		q := c.Qualities[name]
		if _, ok := w.Source(name); !ok {
			return fmt.Errorf("%w: workflow %s has no source %q", ErrInvalid, w.Name, name)
		}
		if !offers(w, q) || q.Every < 1 {
			return fmt.Errorf("%w: source %s: workflow %s does not offer quality %s", ErrInvalid, name, w.Name, q)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Held)) {
		if _, ok := w.Source(name); !ok {
			return fmt.Errorf("%w: workflow %s has no source %q", ErrInvalid, w.Name, name)
		}
		if c.Held[name] == "" {
			return fmt.Errorf("%w: source %s is held without a reason", ErrInvalid, name)
		}
	}
	return nil
}

// tell makes events of what is new. That sources take turns is not.
func (c *AdaptSources) tell(tx *change, w *tiering.Workflow, old *tiering.Adaptation) {
	for i := range w.Sources {
		name := w.Sources[i].Name
		was, is := old.Held[name], c.Held[name]
		switch {
		case was == "" && is != "":
			tx.event(SourceHeld, w.Name, "source %s of workflow %s is held: %s", name, w.Name, is)
		case was != "" && is == "":
			tx.event(SourceAdmitted, w.Name, "source %s of workflow %s is admitted", name, w.Name)
		}
	}
	if now := shares(w, &c.Adaptation); now != shares(w, old) {
		tx.event(QualityChanged, w.Name, "workflow %s has %s: %s", w.Name, cmp.Or(now, "no source admitted"), c.Why)
	}
}

// shares says how many sources have which quality: "18 × street@512, 1 ×
// street@416".
func shares(w *tiering.Workflow, a *tiering.Adaptation) string {
	n := map[tiering.Quality]int{}
	for i := range w.Sources {
		s := &w.Sources[i]
		q, ok := a.Qualities[s.Name]
		if !ok {
			q = tiering.Quality{Resolution: s.Resolution, Every: 1}
		}
		if a.Held[s.Name] == "" {
			n[q]++
		}
	}
	var out []string
	for _, q := range slices.SortedFunc(maps.Keys(n), func(a, b tiering.Quality) int {
		return cmp.Or(cmp.Compare(b.Resolution, a.Resolution), cmp.Compare(a.Every, b.Every), cmp.Compare(a.Model, b.Model))
	}) {
		out = append(out, fmt.Sprintf("%d × %s", n[q], q))
	}
	return strings.Join(out, ", ")
}

// readapt keeps of what was decided of a workflow what its new version still
// has: sources that go on are not disturbed by those that come.
func (c *change) readapt(w *tiering.Workflow) {
	old, ok := get[Adaptation](c.txn, tableAdaptations, w.Name)
	if !ok {
		return
	}
	next := *old
	next.Qualities, next.Held, next.ModifyIndex = map[string]tiering.Quality{}, map[string]string{}, c.index
	for name, q := range old.Qualities {
		if _, ok := w.Source(name); ok && offers(w, q) {
			next.Qualities[name] = q
		}
	}
	for name, why := range old.Held {
		if _, ok := w.Source(name); ok {
			next.Held[name] = why
		}
	}
	c.insert(tableAdaptations, &next)
}

// forget drops what was decided of a workflow that has stopped.
func (c *change) forget(workflow string) {
	if old, ok := get[Adaptation](c.txn, tableAdaptations, workflow); ok {
		c.remove(tableAdaptations, old)
	}
}

func offers(w *tiering.Workflow, q tiering.Quality) bool {
	return slices.ContainsFunc(w.Tasks, func(t tiering.Task) bool {
		return t.Model != nil && t.Model.Resolution == q.Resolution && (q.Model == "" || t.Model.Name == q.Model)
	})
}

// Adaptation returns what was decided last of a workflow's sources; false:
// nothing yet, they have what their document says.
func (s *Snapshot) Adaptation(workflow string) (*Adaptation, bool) {
	return get[Adaptation](s.txn(), tableAdaptations, workflow)
}

// Adaptations returns what was decided of each workflow, by name.
func (s *Snapshot) Adaptations() []*Adaptation {
	return list[Adaptation](s.txn(), tableAdaptations, byID)
}
