package ns

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"testing"
)

func TestNamespaceIsApartAndGoes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("making network namespaces needs root")
	}
	name := fmt.Sprintf("weft-test-ns-%d", os.Getpid())
	if err := Create(name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Delete(name); err != nil {
			t.Error(err)
		}
	})
	if err := Create(name); !errors.Is(err, ErrExists) {
		t.Errorf("created twice: %v, want ErrExists", err)
	}
	var inside []net.Interface
	if err := Do(name, func() (err error) { inside, err = net.Interfaces(); return err }); err != nil {
		t.Fatal(err)
	}
	if len(inside) != 1 || inside[0].Flags&net.FlagLoopback == 0 || inside[0].Flags&net.FlagUp != 0 {
		t.Errorf("a new namespace has %v, want a loopback device that is down", inside)
	}
	outside, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	if len(outside) > 0 && outside[0].Flags&net.FlagUp == 0 {
		t.Errorf("after Do, this goroutine sees %v: it was left in the namespace", outside)
	}
	if names, err := List("weft-test-ns-"); err != nil || !slices.Contains(names, name) {
		t.Errorf("List = %v, %v, want %s among them", names, err, name)
	}
	if err := Delete(name); err != nil {
		t.Fatal(err)
	}
	if err := Do(name, func() error { return nil }); err == nil {
		t.Error("a deleted namespace can be entered")
	}
	if err := Delete(name); err != nil {
		t.Errorf("deleting what is not there: %v", err)
	}
}
