package machine_test

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/agent/machine"
)

const asMeek = "WEFT_TEST_GIVE_WAY"

// In a process of its own: there is no way back for who is not root.
func TestGiveWay(t *testing.T) {
	if os.Getenv(asMeek) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestGiveWay$")
		cmd.Env = append(os.Environ(), asMeek+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	runtime.LockOSThread()
	if err := machine.GiveWay(); err != nil {
		t.Fatal(err)
	}
	// The system call counts from 40 down.
	if n, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err != nil || 20-n != 19 {
		t.Errorf("nice is %d, %v", 20-n, err)
	}
	if b, err := os.ReadFile("/proc/self/oom_score_adj"); err != nil || strings.TrimSpace(string(b)) != "1000" {
		t.Errorf("%s, %v", b, err)
	}
}
