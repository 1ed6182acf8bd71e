package main

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/coordinator"
)

func recoverCommand() *cobra.Command {
	var (
		file, peersFile, dataDir string
		level                    slog.Level
	)
	cmd := &cobra.Command{
		Use:   "recover --config FILE --peers FILE",
		Short: "Recover a mesh that has lost the majority of its coordinators for good",
		Long: `Recover a mesh that has lost the majority of its coordinators for good.

Stop weftd on every coordinator that survived, write one list of the survivors

  [{"id": "cloud-1", "address": "10.0.0.1:7948"}]

and run this with it on each of them; then start them again. Everything in
their logs counts as committed. docs/recovery.md goes through it step by step.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" || peersFile == "" {
				return fmt.Errorf("%w: --config FILE and --peers FILE are needed", errUsage)
			}
			over := overrides{dataDir: dataDir, level: level, levelSet: func() bool { return true }}
			cfg, lf, err := readConfig(cmd.Context(), file, over.apply)
			if err != nil {
				return err
			}
			if cfg.Expect == 0 {
				return fmt.Errorf("%w: %s is of a node that is no coordinator (`coordinator.enabled`)", errUsage, file)
			}
			peers, err := coordinator.ReadPeers(peersFile)
			if err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			done, err := coordinator.Recover(coordinator.Config{
				ID: cfg.Node.ID, Cluster: cfg.Mesh, DataDir: filepath.Join(cfg.DataDir, "raft"), Log: newLog(lf),
			}, peers)
			if errors.Is(err, coordinator.ErrPeers) {
				return fmt.Errorf("%w: %s: %w", errUsage, peersFile, err)
			}
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "recovered mesh %s (%s) up to entry %d: %d nodes, %d workflows\n", cfg.Mesh, done.Cluster, done.Entry, done.Nodes, done.Workflows)
			fmt.Fprintf(out, "kept what was there in %s\n", done.Backup)
			for _, p := range done.Peers {
				what := "votes"
				if p.NonVoter {
					what = "does not vote"
				}
				fmt.Fprintf(out, "  %s at %s %s\n", p.ID, p.Address, what)
			}
			fmt.Fprintln(out, "run this with the same list on each of them, then start weftd there; new coordinators join by themselves")
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&file, "config", "c", "", "configuration file")
	f.StringVar(&peersFile, "peers", "", "the coordinators that survived, in JSON")
	f.StringVar(&dataDir, "data-dir", "", "where state is kept (overrides dataDir)")
	f.TextVar(&level, "log-level", slog.LevelWarn, "debug, info, warn or error")
	return cmd
}
