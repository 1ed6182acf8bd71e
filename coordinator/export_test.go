package coordinator

import (
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// NewInmem is New with a transport in memory, which a test can cut.
func NewInmem(cfg Config, m Membership, t *raft.InmemTransport) (*Coordinator, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return newCoordinator(cfg, m, nil, string(t.LocalAddr()), func(hclog.Logger) (transport, error) { return t, nil }), nil
}

// HandOver hands leadership to a coordinator, if this one leads.
func (c *Coordinator) HandOver(to string) error {
	return c.raft.Load().LeadershipTransferToServer(raft.ServerID(to), raft.ServerAddress(to)).Error()
}
