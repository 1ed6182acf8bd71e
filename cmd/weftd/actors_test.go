package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

func TestActorsStopInReverseOrder(t *testing.T) {
	for _, tc := range []struct {
		name string
		fail bool // one of them fails instead of being told to stop
	}{{"told to stop", false}, {"one fails", true}} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				boom := errors.New("boom")
				var stopped []string
				part := func(name string) actor {
					return actor{name, func(ctx context.Context) error {
						<-ctx.Done()
						stopped = append(stopped, name)
						return nil
					}}
				}
				actors := []actor{part("a"), part("b"), part("c")}
				if tc.fail {
					actors = append(actors, actor{"d", func(context.Context) error { return boom }})
				} else {
					cancel()
				}
				err := runAll(ctx, slog.New(slog.DiscardHandler), actors)
				if !slices.Equal(stopped, []string{"c", "b", "a"}) {
					t.Errorf("stopped in order %v", stopped)
				}
				if tc.fail != errors.Is(err, boom) {
					t.Error(err)
				}
			})
		})
	}
}

func TestAnActorThatHangsDoesNotHoldTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		release := make(chan struct{})
		defer close(release)
		ended := false
		err := runAll(ctx, slog.New(slog.DiscardHandler), []actor{
			{"good", func(ctx context.Context) error { <-ctx.Done(); ended = true; return nil }},
			{"stuck", func(context.Context) error { <-release; return nil }},
		})
		if !ended || err == nil || !strings.Contains(err.Error(), "stuck: did not stop") {
			t.Error(ended, err)
		}
	})
}
