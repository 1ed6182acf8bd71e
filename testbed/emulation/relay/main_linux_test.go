package relay

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain also is the programs that tests run in namespaces: the test binary
// starts itself with a role.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(play(role, os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}
