package gossip

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// memberlist's last probe outlives its Shutdown by a probe interval.
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probe"),
		// serf.Create leaves this behind when it fails; weftd ends then.
		goleak.IgnoreAnyFunction("github.com/hashicorp/serf/serf.(*serfQueries).stream"))
}
