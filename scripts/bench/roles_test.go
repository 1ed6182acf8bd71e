package main

import (
	"context"
	"os"
	"testing"
)

// TestMain lets the tests' program be a helper, as the command is.
func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) != "" {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func TestHelperEndsWithItsInput(t *testing.T) {
	for _, kind := range []string{"weft", "serf"} {
		v, err := startVictim(t.Context(), kind, "alone", "")
		if err != nil {
			t.Fatal(err)
		}
		if err := v.end(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestHelperEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	v, err := startHelper(ctx, "receiver", "", t.TempDir(), "nobody")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	var c counted
	if err := v.ask(ctx, order{}, &c); err != context.Canceled {
		t.Errorf("ask: %v, want %v", err, context.Canceled)
	}
	kill(v)
}
