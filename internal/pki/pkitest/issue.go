package pkitest

import (
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/tiering"
)

// CA is the authority of a mesh named "test".
func CA(t testing.TB) *pki.CA {
	t.Helper()
	ca, err := pki.NewCA("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// Issue has the authority issue an identity on loopback. Coordinators are of the
// cloud, agents of the tier that their names say, or else of the edge.
func Issue(t testing.TB, ca *pki.CA, role pki.Role, name string) *pki.Identity {
	t.Helper()
	s := pki.Subject{Role: role, Name: name}
	switch role {
	case pki.Coordinator:
		s.Tier = tiering.Cloud
	case pki.Agent:
		said, _, _ := strings.Cut(name, "-")
		var err error
		if s.Tier, err = tiering.ParseTier(said); err != nil {
			s.Tier = tiering.Edge
		}
	}
	id, err := ca.Issue(s, []string{"127.0.0.1"}, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
