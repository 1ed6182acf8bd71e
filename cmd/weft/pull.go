package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/models/fetch"
	"github.com/weft-mesh/weft/models/store"
	"github.com/weft-mesh/weft/tiering"
)

// pulled is what became of a model's file.
type pulled struct {
	Model  string `json:"model"`
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	// Fetched: it was not there before. Pinned: its digest was not known before,
	// and is held to from now on.
	Fetched bool `json:"fetched"`
	Pinned  bool `json:"pinned"`
}

func pullCommand(env *environment) *cobra.Command {
	var (
		l     library
		stall time.Duration
	)
	c := l.flags(&cobra.Command{
		Use: "pull NAME…", Short: "Get the files of models from the internet into the model directory",
		Long: `Get the files of models from the internet into the model directory, through the
proxy of the environment if there is one. What breaks off is gone on with by the
next pull. A file whose digest the catalogue does not know is trusted this once:
what it is now is kept in models.lock, and has to stay.`,
		ValidArgsFunction: offerModels(&l),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return wrongUsage("usage: %s; `weft models list` lists them", cmd.UseLine())
			}
			s, known, err := l.open(cmd)
			if err != nil {
				return err
			}
			models, err := lookup(known, args)
			if err != nil {
				return err
			}
			client := fetch.NewClient()
			defer client.CloseIdleConnections()
			show := newProgress(cmd.ErrOrStderr())
			f := &fetch.Fetcher{HTTP: client, Stall: stall, Log: slog.New(slog.DiscardHandler), Progress: rateOf(show)}
			files, errs := []pulled{}, []error(nil)
			for _, m := range models {
				if len(m.Files) == 0 {
					show.say(m.Name + " needs no files")
				}
				for _, file := range m.Files {
					one, err := pull(cmd, f, s, m, file)
					if err != nil {
						errs = append(errs, fmt.Errorf("model %s: %w", m.Name, remedy(err, s)))
						if errors.Is(err, store.ErrDiskFull) || cmd.Context().Err() != nil {
							break
						}
						continue
					}
					files = append(files, one)
					show.say(one.String())
				}
				if cmd.Context().Err() != nil {
					break
				}
			}
			return errors.Join(env.print(cmd.OutOrStdout(), files, func(*page) {}), errors.Join(errs...))
		},
	})
	c.Flags().DurationVar(&stall, "stall", 30*time.Second, "give up a server that sends less than 16 KiB within this")
	return c
}

func (p pulled) String() string {
	switch {
	case p.Pinned && !p.Fetched:
		return fmt.Sprintf("%s  %s, is there; no digest of it was known: pinned to sha256:%s", p.Name, tiering.FormatBytes(p.Size), p.SHA256)
	case p.Pinned:
		return fmt.Sprintf("%s  %s, fetched; no digest of it was known: pinned to sha256:%s", p.Name, tiering.FormatBytes(p.Size), p.SHA256)
	case p.Fetched:
		return fmt.Sprintf("%s  %s, fetched and verified", p.Name, tiering.FormatBytes(p.Size))
	}
	return fmt.Sprintf("%s  %s, is there", p.Name, tiering.FormatBytes(p.Size))
}

// pull gets one file, unless it is there.
func pull(cmd *cobra.Command, f *fetch.Fetcher, s *store.Store, m catalog.Model, file catalog.File) (pulled, error) {
	one := pulled{Model: m.Name, Name: file.Name, Size: file.Size, SHA256: file.SHA256}
	switch err := s.Check(file); {
	case err == nil:
		return one, nil
	case errors.Is(err, store.ErrUnpinned): // what somebody put there is not replaced
		pin, err := s.Adopt(file.Name)
		one.Size, one.SHA256, one.Pinned = pin.Size, pin.SHA256, err == nil
		return one, err
	}
	if len(file.URLs) == 0 {
		return one, fmt.Errorf("%s: the catalogue does not say where to get it; its source is %s", file.Name, m.Source)
	}
	var from []fetch.Source
	for _, u := range file.URLs {
		from = append(from, fetch.Source{URL: u})
	}
	pin, err := f.Fetch(cmd.Context(), s, file, from)
	one.Size, one.Fetched, one.Pinned = pin.Size, true, file.SHA256 == ""
	one.SHA256 = pin.SHA256
	return one, err
}

// remedy says what to do about an error that is of the directory.
func remedy(err error, s *store.Store) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: use sudo, or another directory with --dir (and name it in weftd's modelsDir)", err)
	}
	if errors.Is(err, store.ErrDiskFull) {
		return fmt.Errorf("%w: make room in %s, or use another directory with --dir", err, s.Path())
	}
	return err
}

// rateOf shows how a fetch gets on.
func rateOf(show *progress) func(f catalog.File, have, of int64) {
	var (
		mu      sync.Mutex
		name    string
		since   time.Time
		already int64
	)
	return func(f catalog.File, have, of int64) {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		if name != f.Name || have < already {
			name, since, already = f.Name, now, have
		}
		line := fmt.Sprintf("%s  %s", f.Name, tiering.FormatBytes(have))
		if of > 0 {
			line += fmt.Sprintf(" of %s, %d %%", tiering.FormatBytes(of), 100*have/of)
		}
		if d := now.Sub(since).Seconds(); d > 0.5 {
			line += fmt.Sprintf(", %s/s", tiering.FormatBytes(int64(float64(have-already)/d)))
		}
		show.step(line)
	}
}
