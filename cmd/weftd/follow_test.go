package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weft-mesh/weft/internal/logtest"
)

func TestGossipKeyFilesAreFollowed(t *testing.T) {
	line := func(b byte) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32)) + "\n" }
	file := filepath.Join(t.TempDir(), "gossip.key")
	write := func(content string, mode os.FileMode) {
		t.Helper()
		if err := errors.Join(os.WriteFile(file, []byte(content), 0o600), os.Chmod(file, mode)); err != nil {
			t.Fatal(err)
		}
	}
	write(line(1), 0o600)
	keys, err := readKeys(file)
	if err != nil {
		t.Fatal(err)
	}
	var log logtest.Book
	now, used := make(chan os.Signal), make(chan [][]byte, 1)
	f := &keyFollower{
		file: file, seen: keys, now: now, log: log.Logger(),
		use: func(k [][]byte) error { used <- k; return nil },
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.run(ctx) }()
	look := func() { now <- syscall.SIGHUP; now <- syscall.SIGHUP }
	look()
	write(line(2)+line(1), 0o600)
	look()
	if got := <-used; len(got) != 2 || got[0][0] != 2 || got[1][0] != 1 {
		t.Errorf("it uses %v", got)
	}
	for content, want := range map[string]string{"": "is empty", "garbage\n": "holds no gossip key", line(3)[:20] + "\n": "holds no gossip key"} {
		write(content, 0o600)
		look()
		if !strings.Contains(log.String(), want) {
			t.Errorf("nothing about %q: %s", want, log.String())
		}
	}
	write(line(3), 0o640)
	look()
	if !strings.Contains(log.String(), "chmod 600") {
		t.Errorf("it says %s", log.String())
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	look()
	if got := <-used; len(got) != 1 || got[0][0] != 3 {
		t.Errorf("it uses %v", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
