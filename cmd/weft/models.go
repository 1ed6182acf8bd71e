package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/coordinator/api"
	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/models/store"
	"github.com/weft-mesh/weft/models/street/detector"
	"github.com/weft-mesh/weft/tiering"
)

// modelsDir is where weftd looks for models if its configuration says nothing
// else.
const modelsDir = "/var/lib/weft/models"

// library is the model directory that the models commands are about.
type library struct{ dir, catalogue string }

func (l *library) flags(c *cobra.Command) *cobra.Command {
	c.Flags().StringVar(&l.dir, "dir", cmp.Or(os.Getenv("WEFT_MODELS"), modelsDir), "model directory, weftd's `modelsDir` (default also from $WEFT_MODELS)")
	c.Flags().StringVar(&l.catalogue, "catalogue", "", "file of models besides those that Weft knows by itself, weftd's `catalogue`")
	return c
}

// open returns the directory and what is known of models there.
func (l *library) open(cmd *cobra.Command) (*store.Store, *catalog.Catalog, error) {
	base, err := knownModels(l.catalogue)
	if err != nil {
		return nil, nil, usageError{err}
	}
	s := store.New(l.dir, base, detector.Files())
	c, left, err := s.Catalogue()
	if err != nil {
		return nil, nil, usageError{err}
	}
	for _, err := range left {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning:", err)
	}
	return s, c, nil
}

// lookup returns the models of the names.
func lookup(c *catalog.Catalog, names []string) ([]catalog.Model, error) {
	var out []catalog.Model
	for _, name := range names {
		m, ok := c.Lookup(name)
		if !ok {
			return nil, wrongUsage("there is no model %s; known are %s (`weft models add FILE` adds others)", name, strings.Join(c.Names(), ", "))
		}
		out = append(out, *m)
	}
	return out, nil
}

func modelsCommand(env *environment) *cobra.Command {
	return group("models", "The detectors: list, get, check and add them, see what they cost",
		listModelsCommand(env), pullCommand(env), verifyCommand(env), addCommand(env), profilesCommand(env))
}

// listedModel is a model as it is here and in the mesh.
type listedModel struct {
	api.Model
	// Here is how its files are in the model directory of this machine: "yes"
	// (their digests are not computed), "no", "damaged", or "needs none".
	Here string `json:"here"`
}

func listModelsCommand(env *environment) *cobra.Command {
	var l library
	return l.flags(&cobra.Command{
		Use: "list", Short: "List the catalogue: what each model is, and where its files are", Args: exactly(0),
		Long: `List the catalogue: what each model is, whether its files are in the model
directory of this machine, and which nodes of the mesh have them, if one is
configured and answers.`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, c, err := l.open(cmd)
			if err != nil {
				return err
			}
			mesh, reached, err := meshModels(cmd.Context(), env)
			if err != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning: nothing is known of the mesh:", env.explain(err))
			}
			all := everywhere(s, c, mesh)
			return env.print(cmd.OutOrStdout(), all, func(p *page) { showModels(p, all, reached) })
		},
	})
}

// meshModels asks the mesh, if there is a configuration for one.
func meshModels(ctx context.Context, env *environment) (models []api.Model, reached bool, err error) {
	path, err := env.path()
	if err != nil {
		return nil, false, nil
	}
	if _, err := os.Stat(path); err != nil && env.file == "" {
		return nil, false, nil
	}
	c, _, err := env.connect()
	if err != nil {
		return nil, false, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	models, err = c.Models(ctx)
	return models, err == nil, err
}

// everywhere are the models that the mesh knows, or else this machine, and
// those that this machine has, by name.
func everywhere(s *store.Store, c *catalog.Catalog, mesh []api.Model) []listedModel {
	out := []listedModel{}
	for _, m := range mesh {
		out = append(out, listedModel{Model: m, Here: here(s, m.Model)})
	}
	for _, m := range c.Models() {
		at := here(s, m)
		known := slices.ContainsFunc(mesh, func(o api.Model) bool { return o.Name == m.Name })
		if !known && (len(mesh) == 0 || at == "yes" || at == "damaged") {
			out = append(out, listedModel{Model: api.Model{Model: m, Nodes: []string{}}, Here: at})
		}
	}
	slices.SortFunc(out, func(a, b listedModel) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func here(s *store.Store, m catalog.Model) string {
	there, whole := 0, true
	for _, f := range m.Files {
		info, err := fs.Stat(s.Files(), f.Name)
		if err == nil {
			there++
			whole = whole && (f.Size == 0 || info.Size() == f.Size)
		}
	}
	switch {
	case len(m.Files) == 0:
		return "needs none"
	case there == 0:
		return "no"
	case there < len(m.Files) || !whole:
		return "damaged"
	}
	return "yes"
}

func showModels(p *page, models []listedModel, mesh bool) {
	var rows [][]string
	for _, m := range models {
		var sizes []string
		for _, r := range m.Resolutions {
			sizes = append(sizes, fmt.Sprint(r))
		}
		size, nodes := "-", ""
		if n := m.Size(); n > 0 {
			size = tiering.FormatBytes(n)
		}
		if mesh {
			nodes = cmp.Or(strings.Join(slices.Sorted(slices.Values(m.Nodes)), ", "), "none")
			if len(m.Awaited) > 0 {
				nodes += "; to come: " + strings.Join(slices.Sorted(slices.Values(m.Awaited)), ", ")
			}
		}
		rows = append(rows, []string{m.Name, m.Family, strings.Join(sizes, " "), size, accuracy(m.Accuracy), m.Licence, m.Here, nodes})
	}
	p.table("MODEL|FAMILY|RESOLUTIONS|>SIZE|ACCURACY, AS PUBLISHED|LICENCE|HERE|NODES", rows)
}

// accuracy is the best of the published figures.
func accuracy(all []catalog.Accuracy) string {
	if len(all) == 0 {
		return "-"
	}
	a := slices.MaxFunc(all, func(a, b catalog.Accuracy) int { return cmp.Compare(a.Value, b.Value) })
	at := ""
	if a.Resolution > 0 {
		at = fmt.Sprintf(" at %d", a.Resolution)
	}
	return fmt.Sprintf("%s %.1f %%%s, %s", a.Metric, 100*a.Value, at, a.Dataset)
}

// checkedFile is how a file of a model is.
type checkedFile struct {
	Model string `json:"model"`
	Name  string `json:"name"`
	State string `json:"state"` // ok, unpinned, missing or damaged
	Why   string `json:"why,omitempty"`
}

func verifyCommand(env *environment) *cobra.Command {
	var l library
	return l.flags(&cobra.Command{
		Use: "verify [NAME…]", Short: "Compare the files in the model directory with the catalogue, by digest",
		Long: `Compare the files in the model directory with the catalogue, by digest: those of
the models named, or else of all models of which some file is there. Exits 1 if
one is missing or not as it should be.`,
		ValidArgsFunction: offerModels(&l),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, c, err := l.open(cmd)
			if err != nil {
				return err
			}
			models, err := lookup(c, args)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				models = slices.DeleteFunc(c.Models(), func(m catalog.Model) bool { return here(s, m) == "no" })
			}
			files := []checkedFile{}
			bad := map[string]bool{}
			for _, m := range models {
				for _, f := range m.Files {
					one := checked(s, m.Name, f)
					files = append(files, one)
					bad[m.Name] = bad[m.Name] || one.State == "missing" || one.State == "damaged"
				}
			}
			err = env.print(cmd.OutOrStdout(), files, func(p *page) { showChecked(p, s.Path(), files) })
			if err != nil {
				return err
			}
			var names []string
			for _, m := range models {
				if bad[m.Name] {
					names = append(names, m.Name)
				}
			}
			if len(names) > 0 {
				return fmt.Errorf("%s not to be used as they are: `weft models pull %s --dir %s` gets what is missing or damaged", count(len(names), "model"), strings.Join(names, " "), s.Path())
			}
			return nil
		},
	})
}

func checked(s *store.Store, model string, f catalog.File) checkedFile {
	one := checkedFile{Model: model, Name: f.Name, State: "ok"}
	err := s.Check(f)
	switch {
	case err == nil:
		return one
	case errors.Is(err, store.ErrUnpinned):
		one.State = "unpinned"
	case errors.Is(err, store.ErrMissing):
		one.State = "missing"
	default:
		one.State = "damaged"
	}
	one.Why = err.Error()
	return one
}

func showChecked(p *page, dir string, files []checkedFile) {
	if len(files) == 0 {
		p.linef("there are no models in %s; `weft models pull NAME` gets one", dir)
		return
	}
	var rows [][]string
	for _, f := range files {
		rows = append(rows, []string{f.Model, f.Name, f.State, strings.TrimPrefix(f.Why, f.Name+": ")})
	}
	p.table("MODEL|FILE|STATE|WHY", rows)
}

func addCommand(env *environment) *cobra.Command {
	var l library
	return l.flags(&cobra.Command{
		Use: "add FILE", Short: "Add models of your own, described in a catalogue file, to the model directory", Args: exactly(1),
		Long: `Add models of your own to the model directory, where weftd finds them. FILE has
the form of Weft's own catalogue (models/catalog/builtin.yaml); their files are
looked for beside it, and in the model directory. Nothing is put there before all
of it makes sense. What is added on every coordinator the whole mesh knows; the
nodes that need it get it from there by themselves.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			own, err := catalog.Load(args[0], data)
			if err != nil {
				return usageError{err}
			}
			s, _, err := l.open(cmd)
			if err != nil {
				return err
			}
			added, err := s.Add(own, filepath.Dir(args[0]))
			if err != nil {
				return err
			}
			return env.print(cmd.OutOrStdout(), added, func(p *page) {
				for _, m := range added {
					p.linef("added %s (%s) to %s", m.Name, tiering.FormatBytes(m.Size()), s.Path())
				}
			})
		},
	})
}

// offerModels makes the shell offer the names of models.
func offerModels(l *library) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		_, c, err := l.open(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c.Names(), cobra.ShellCompDirectiveNoFileComp
	}
}
